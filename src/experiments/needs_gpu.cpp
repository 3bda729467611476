// The plan's experiments about things that only a GPU has. What they ask and what the plan expects is
// here, so that every report shows it beside the reason why they did not run.

#include "experiments/list.h"

namespace rl::experiments {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// An experiment that says why it cannot run and has nothing to measure with.
class Unavailable final : public lab::Experiment {
 public:
  using Reason = Error (*)(const lab::Context& context);
  Unavailable(const lab::Info& info, Reason reason) : info_(info), reason_(reason) {}
  const lab::Info& info() const override { return info_; }
  Status available(const lab::Context& context) const override { return reason_(context); }
  Status measure(lab::Context& context, const lab::Point&, record::Experiment&) override { return reason_(context); }
  Status conclude(lab::Context& context, record::Experiment&) override { return reason_(context); }

 private:
  const lab::Info& info_;
  Reason reason_;
};

const lab::Info& tensor_cores_info() {
  static const lab::Info info{
      .id = "tensor-cores",
      .title = "Tensor core use",
      .plan = "4.2",
      .question = "How busy are the matrix units, by format and phase?",
      .baseline = "the highest rate of the matrix units that a probe reaches, by format",
      .expected = "",
      .axes = {},
      .hypotheses = {{.id = "tensor-cores.busy",
                      .claim = "Ensure maximum utilization of Tensor Cores",
                      .metric = "share of the cycles in which the matrix units are busy, by the GPU's counters",
                      .where = "prefill of at least 1,024 tokens",
                      .expected = {0.5, kInfinity}}},
      .expected_quick = {0},
      .expected_full = {0}};
  return info;
}

Error no_tensor_cores(const lab::Context& context) {
  const bool cpu = context.backend.device->info().arch.family == Arch::Family::cpu;
  return {.kind = ErrorKind::unsupported,
          .what = cpu ? "tensor cores are a GPU's" : "reading the GPU's counters is not built yet",
          .hint = cpu ? "use a machine with an NVIDIA GPU; for a CPU's matrix rate see the rows of `redline experiment "
                        "baseline` (share_of_matrix_rate)"
                      : "see the share of the matrix rate in the rows of `redline experiment baseline`"};
}

template <const lab::Info& (*info)(), Unavailable::Reason reason>
lab::Entry entry() {
  return {.info = info(),
          .make = []() -> std::unique_ptr<lab::Experiment> { return std::make_unique<Unavailable>(info(), reason); }};
}

}  // namespace

lab::Entry tensor_cores() { return entry<tensor_cores_info, no_tensor_cores>(); }

}  // namespace rl::experiments
