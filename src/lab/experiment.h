#pragma once
// What an experiment is: a question with a named baseline, hypotheses, axes, a correctness gate before any timing,
// interleaved measurement, and verdicts computed from the results. One file in experiments/ each, all of this shape.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "lab/point.h"
#include "lab/weights.h"
#include "measure/measure.h"
#include "model/model.h"
#include "ops/catalog.h"
#include "ops/oracle.h"
#include "record/record.h"
#include "telemetry/cpu_time.h"

namespace rl::lab {

enum class Mode { quick, full };

// What the user allows: an optimisation to cost in quality, and others to take of the machine.
struct Limits {
  double max_kld = 0.01;       // mean KL divergence to the baseline's distribution, nats per token
  double max_ppl_loss = 0.01;  // share by which the perplexity may rise
  // Share of the processors' time that other processes may take while speed is measured: above it rows are invalid.
  double max_foreign_load = 0.25;
};

// What a run gives every experiment.
struct Context {
  const ops::Backend& backend;
  const ops::Oracle& oracle;
  CountingResource& memory;  // the device's, counted: every experiment allocates from it
  const model::ModelSource& model;
  Mode mode = Mode::quick;
  std::uint64_t seed = 1;
  Limits limits = {};
  double effort = 1;   // of the time that measurements may take; tests, which judge no number, use less
  AxisOverrides axes;  // --seq 128..4096
  std::function<void(const std::string& what, int done, int all)> progress;  // may be empty
  // What this process and others use of the processors: telemetry::read_cpu_time. Empty: foreign load is not judged.
  std::function<std::optional<telemetry::CpuTime>()> cpu_time = {};

  bool full() const { return mode == Mode::full; }
  bool on_gpu() const;
  AxisSet axis_set() const;
  measure::Plan plan() const;  // of one measurement in this mode
  // A time of this mode, scaled by effort. On a GPU a full run has `gpu`: it takes more samples in a second there.
  Seconds time(Seconds quick, Seconds full_mode, Seconds gpu) const;
  // An engine with the run's model, whose weights all experiments share.
  Result<std::unique_ptr<engine::Engine>> engine(const engine::EngineOptions& options);
  // Whether the model has room for what a point asks: `room` tokens of context. If not, the record notes that `what`
  // was left out; where the user gave the values of `axis`, it is an error (usage).
  Result<bool> has_room(std::string_view axis, const std::string& what, std::int64_t room,
                        record::Experiment& record) const;

  // A ceiling of the machine by the name of its probe ("read_bandwidth"), measured once per run. Errors: unsupported.
  Result<record::Metric> ceiling(const std::string& probe);
  std::map<std::string, record::Metric> measured_ceilings = {};  // by ceiling()
  // Whose quality is measured where the run's model has drawn weights, which have none; null: then none is.
  const model::ModelSource* trained = nullptr;
  Weights weights = {};
};

struct Info {
  std::string id, title;
  std::string plan;      // section of the experiment plan
  std::string question;  // one sentence
  std::string baseline;  // what every ratio refers to
  std::string expected;  // the plan's words for the headline, at most 24 characters; empty: it names no figure
  std::vector<Axis> axes;
  std::vector<record::Hypothesis> hypotheses;  // id, claim, metric, where, expected
  // Time it takes, for the progress line and `--dry-run`: quick and full on 2 cores with the demo model, full on a GPU
  // with an 8B shape (0: as `full`).
  Seconds expected_quick, expected_full, expected_gpu = {};
  // Whether it runs the model on the weights that all experiments share: if not, those that earlier ones left loaded
  // are given back before it.
  bool runs_model = true;
  // What is measured is speed: foreign load makes rows with a time or a rate invalid. false: quality or memory, and
  // times beside them are not judged.
  bool speed_rows = true;
};

class Experiment {
 public:
  virtual ~Experiment() = default;
  virtual const Info& info() const = 0;
  // The axes on this machine, with the names of info().axes: a device can offer other values.
  virtual std::vector<Axis> axes(const Context&) const { return info().axes; }
  // Whether a point of the cross product belongs to the standard axes of the context's mode and device (asked only
  // where no axis was overridden).
  virtual bool wanted(const Point&, const Context&) const { return true; }
  // Why this machine cannot run it, or success.
  virtual Status available(const Context&) const { return ok(); }
  virtual Status begin(Context&, record::Experiment&) { return ok(); }
  // One point: gate, then measurement; adds rows and comparisons. An error becomes an invalid row, and the next point
  // runs.
  virtual Status measure(Context&, const Point&, record::Experiment&) = 0;
  // Hypotheses, charts, headline, meaning and advice, from the rows.
  virtual Status conclude(Context&, record::Experiment&) = 0;
  // Whether conclude() of a new object, given the rows and comparisons alone, concludes the same; of the context it
  // then uses nothing but the model's name. `redline verify` concludes such a record again.
  virtual bool concludes_from_record() const { return false; }
};

// A row of the plan: built (make is set) or not yet.
struct Entry {
  Info info;
  std::unique_ptr<Experiment> (*make)() = nullptr;
};

}  // namespace rl::lab
