// Experiment 4.1: energy per token of prefill and decode, and which power limit gives the most tokens per joule.
//
// Energy is what the processor's own counters say over the same work that is timed: each sample is one run of the load,
// with the counter and the clock read before and after it. The limit is changed in shares of the one found at the
// start, which comes back whatever happens (telemetry/energy.h).

#include "experiments/power.h"

#include <fmt/ranges.h>

#include "experiments/list.h"
#include "lab/conclude.h"
#include "lab/engine_load.h"

namespace rl::experiments {
namespace {

constexpr const char* kPresent = "100";
constexpr Seconds kShortest{0.02};  // of a sample: the counters are renewed each millisecond
constexpr Seconds kIdle{1};         // of the look at the idle machine
constexpr Seconds kQuickSettle{2};  // at most, after a limit was changed; in full mode the limit's own window

const lab::Info& power_info() {
  static const lab::Info info{.id = "power",
                              .title = "Power limits",
                              .plan = "4.1",
                              .question = "Which power limit or clock gives the most work per joule?",
                              .baseline = "the same work at the power limit found at the start",
                              .expected = "20-30% more per watt",
                              .axes = {{"phase", "of inference", {"prefill", "decode"}, {"prefill", "decode"}},
                                       {"limit",
                                        "percent of the power limit found at the start",
                                        {kPresent, "80", "60"},
                                        {kPresent, "90", "80", "70", "60", "50"}}},
                              .hypotheses = {{.id = "power.efficiency",
                                              .claim = "20-30% better performance per watt with tuning",
                                              .metric = "tokens per joule, best other power limit / present limit",
                                              .where = "geometric mean over prefill and decode",
                                              .expected = {1.2, 1.3}}},
                              .expected_quick = {25},
                              .expected_full = {600}};
  return info;
}

record::Metric counted(std::string name, std::string unit, double value) {
  return {.name = std::move(name), .unit = std::move(unit), .value = value, .statistic = "count"};
}

class PowerExperiment final : public lab::Experiment {
 public:
  explicit PowerExperiment(PowerParts parts) : parts_(std::move(parts)) {}
  const lab::Info& info() const override { return power_info(); }

  Status available(const lab::Context& context) const override {
    RL_TRY(open_sensor(context.backend.device->info(), parts_.powercap));
    return ok();
  }

  Status begin(lab::Context& context, record::Experiment& record) override {
    RL_ASSIGN(sensor_, open_sensor(context.backend.device->info(), parts_.powercap));
    if (auto limits = telemetry::PowerLimits::open(parts_.powercap)) {
      limits_ = std::move(*limits);
      record.notes.push_back(
          fmt::format("The power limit was {} W when the run began, and was set back to it at the end; it holds on "
                      "average over {}.",
                      format_significant(limits_->original_watts()), format_seconds(limits_->window())));
    } else {
      record.notes.push_back(fmt::format("No other power limit could be tried: {} ({}). To do: {}.",
                                         limits.error().what, limits.error().found, limits.error().hint));
    }
    const Seconds start = parts_.now();
    RL_ASSIGN(const Joules before, sensor_->read());
    parts_.sleep(kIdle);
    RL_ASSIGN(const Joules after, sensor_->read());
    record.notes.push_back(
        fmt::format("{}; idle before the first load: {} W. Memory, disks and fans are not in it.", sensor_->name(),
                    format_significant((after.count - before.count) / (parts_.now() - start).count)));
    return ok();
  }

  Status measure(lab::Context& context, const lab::Point& point, record::Experiment& record) override {
    const std::int64_t percent = point.number("limit");
    if (percent < 1 || percent > 100)
      return Error{.kind = ErrorKind::usage,
                   .what = "a power limit is a share of the present one",
                   .field = "limit",
                   .expected = "1 to 100 (percent)",
                   .found = point.text("limit")};
    if (!limits_ && point.text("limit") != kPresent) return ok();  // begin() noted why
    if (limits_) {
      RL_TRY(limits_->set(static_cast<double>(percent) / 100));
      parts_.sleep(context.full() ? limits_->window() : std::min(limits_->window(), kQuickSettle));
    }
    RL_ASSIGN(const PowerLoad load, load_of(context, point.text("phase")));

    RL_ASSIGN(const EnergyMetrics found, measure_energy(context.plan(), *sensor_, parts_.now, load.task, load.tokens));
    record::Row row{.axes = point.values(), .path = engine_ ? engine_->path() : std::vector<std::string>()};
    row.metrics = {found.tokens_per_joule, found.per_token, found.power, found.throughput, found.time};
    if (limits_) row.metrics.push_back(counted("power_limit", "W", limits_->watts()));
    if (Seconds{found.time.value} < kShortest)
      row.validity.warnings.push_back(
          fmt::format("a sample takes {}: too short for a counter that is renewed each millisecond",
                      format_seconds({found.time.value})));
    record.rows.push_back(std::move(row));
    return ok();
  }

  Status conclude(lab::Context&, record::Experiment& record) override {
    engine_.reset();
    Status restored = limits_ ? limits_->restore() : ok();
    limits_.reset();
    if (!restored) return restored;

    std::vector<lab::Estimate> gains;
    std::vector<std::string> best;
    std::string present;
    for (const char* phase : {"prefill", "decode"}) {
      const record::Metric* base = nullptr;
      const record::Metric* most = nullptr;
      std::string limit;
      for (const record::Row& row : record.rows) {
        if (!row.validity.valid || lab::axis_of(row, "phase") != phase) continue;
        const record::Metric* metric = lab::find_metric(row, "tokens_per_joule");
        const std::string& here = lab::axis_of(row, "limit");
        if (metric == nullptr || !metric->ci95 || metric->samples.size() < measure::kLeastSamples) continue;
        if (here == kPresent) {
          base = metric;
        } else if (most == nullptr || metric->value > most->value) {
          most = metric;
          limit = here;
        }
      }
      if (base != nullptr)
        present += fmt::format("{}{} {} tok/J", present.empty() ? "" : ", ", phase, format_significant(base->value, 2));
      if (base == nullptr || most == nullptr) continue;
      gains.push_back(
          {most->value / base->value, {most->ci95->low / base->ci95->high, most->ci95->high / base->ci95->low}});
      best.push_back(fmt::format("{} at {}% of the limit ({}x)", phase, limit, format_significant(gains.back().value)));
    }
    const auto gain = lab::geometric_mean(gains);
    lab::conclude_hypothesis(record, "power.efficiency", gain,
                             "no phase was measured at another power limit and at the present one; the notes say why");
    record.outcome = lab::overall(record);
    if (present.empty()) {
      record.measured = "no valid row";
      record.meaning = "No row at the present power limit is valid.";
      record.advice = "See the rows' reasons.";
    } else if (!gain) {
      record.measured = "present limit only";
      record.meaning = fmt::format("At the present power limit a joule gives: {}.", present);
      record.advice = "To compare power limits, let the program change them; the notes say how.";
    } else {
      record.measured = fmt::format("{}x tokens per joule", format_significant(gain->value));
      record.meaning =
          fmt::format("Most tokens per joule: {}. At the present limit: {}.", fmt::join(best, ", "), present);
      record.advice = gain->interval.low > 1
                          ? "Set the lower limit where energy or heat counts; the throughput rows show what it costs."
                          : "Leave the power limit as it is: no lower one surely gives more per joule.";
    }
    record.charts.push_back(
        {.title = "Tokens per joule by power limit", .x = "limit", .y = "tokens_per_joule", .series = "phase"});
    record.charts.push_back({.title = "Throughput by power limit", .x = "limit", .y = "throughput", .series = "phase"});
    return ok();
  }

 private:
  Result<PowerLoad> load_of(lab::Context& context, const std::string& phase) {
    if (phase != "prefill" && phase != "decode")
      return Error{.kind = ErrorKind::usage,
                   .what = "there is no such phase",
                   .field = "phase",
                   .expected = "prefill or decode",
                   .found = phase};
    if (parts_.load) return parts_.load(context, phase);
    constexpr std::int64_t kPrompt = 1024;
    constexpr lab::DecodeLoad kDecode{.depth = 128, .seqs = 1, .steps = 64};
    if (!engine_) {
      const engine::EngineOptions options{
          .max_context = std::max(kPrompt + 1, kDecode.context()), .max_seqs = 1, .prefix_reuse = false};
      RL_ASSIGN(engine_, engine::Engine::make(context.model, context.backend, context.memory, options));
    }
    if (phase == "prefill")
      return PowerLoad{lab::prefill_task(*engine_, kPrompt, context.seed, phase), static_cast<double>(kPrompt)};
    return PowerLoad{lab::decode_task(*engine_, kDecode, context.seed, phase), static_cast<double>(kDecode.steps)};
  }

  PowerParts parts_;
  std::unique_ptr<telemetry::RaplSensor> sensor_;
  std::unique_ptr<telemetry::PowerLimits> limits_;  // null: they cannot be set
  std::unique_ptr<engine::Engine> engine_;
};

}  // namespace

std::unique_ptr<lab::Experiment> make_power(PowerParts parts) {
  return std::make_unique<PowerExperiment>(std::move(parts));
}

lab::Entry power() {
  return {.info = power_info(), .make = []() -> std::unique_ptr<lab::Experiment> { return make_power(); }};
}

}  // namespace rl::experiments
