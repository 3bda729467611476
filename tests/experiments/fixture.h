#pragma once
// The demo model on two threads of the CPU backend, and a run of one experiment at chosen axes.

#include "check/result.h"
#include "cpu/fast/cpu_device.h"
#include "cpu/fast/probes.h"
#include "cpu/ref/ref.h"
#include "experiments/list.h"
#include "lab/conclude.h"
#include "lab/recompute.h"
#include "lab/runner.h"

namespace rl::experiments {

class ExperimentsTest : public testing::Test {
 protected:
  ExperimentsTest() {
    auto found = model::find_model("demo");
    RL_CHECK(found.has_value());
    model_ = std::move(*found);
  }
  Result<record::Experiment> run(const char* id, lab::AxisOverrides axes) {
    lab::Context context{.backend = backend_,
                         .oracle = oracle_,
                         .memory = memory_,
                         .model = model_,
                         .effort = 0.1,
                         .axes = std::move(axes)};
    return lab::run_experiment(*find(id), context);
  }
  // Every summary and conclusion of the record follows from its samples.
  void expect_recomputable(const record::Experiment& record) {
    lab::Context context{.backend = backend_, .oracle = oracle_, .memory = memory_, .model = model_};
    const record::Run run{.seed = context.seed, .model = {.name = model_.name}};
    const lab::Recomputation again = lab::recompute(run, record, find(record.id), context);
    EXPECT_EQ(again.concluded, 1);
    EXPECT_GT(again.metrics, 0);
    for (const record::Finding& finding : again.findings) ADD_FAILURE() << finding.where << " " << finding.what;
  }

  std::unique_ptr<Device> device_ = cpu::make_device({.threads = 2, .isa_limit = {}});
  ops::Backend backend_{.name = "cpu", .device = device_.get(), .catalog = cpu::catalog(), .probes = cpu::probes()};
  ops::Oracle oracle_{.check_attention = cpu::ref::check_attention};
  CountingResource memory_{device_->memory()};
  model::ModelSource model_;
};

}  // namespace rl::experiments
