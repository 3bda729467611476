// Experiment 1.1: what flash attention is worth against standard attention, in time and in memory.
//
// Both variants compute the same op on the same inputs. Standard keeps the score matrix [heads, queries, keys] in
// memory; flash keeps a tile of it. Each point is checked against the oracle first, then timed A/B interleaved; memory
// is what the allocator counted.

#include "experiments/attention_case.h"
#include "experiments/list.h"
#include "lab/conclude.h"
#include "measure/fit.h"

namespace rl::experiments {
namespace {

using lab::Estimate;

constexpr double kLongSequence = 2048;  // "long sequences" of the plan: at least this many tokens
constexpr double kLeastExtra = 256;     // bytes: an allocation of cudaMalloc's, to which none at all is rounded up
constexpr double kInfinity = std::numeric_limits<double>::infinity();

const lab::Info& attention_info() {
  static const lab::Info info{
      .id = "attention",
      .title = "Flash attention",
      .plan = "1.1",
      .question = "What is flash attention worth against standard attention, in time and in memory?",
      .baseline = "standard attention: the score matrix in memory, softmax over it, then the product with V",
      .expected = "2-4x, 10-20x less mem",
      .axes = {{"seq",
                "tokens of the sequence",
                {"256", "512", "1024", "2048"},
                {"128", "256", "512", "1024", "2048", "4096", "8192"},
                {"512", "1024", "2048", "4096", "8192", "16384", "32768", "65536", "131072"}},
               {"batch", "sequences", {"1"}, {"1", "4"}},
               {"heads", "query heads, as many KV heads", {"4"}, {"8", "16"}, {"16", "32"}},
               {"head_dim", "elements of a head", {"64"}, {"64", "128"}, {"128"}},
               {"causal", "each token sees only those before it", {"no", "yes"}, {"no", "yes"}}},
      .hypotheses = {{.id = "attention.speed",
                      .claim = "2-4x speedup for long sequences",
                      .metric = "time, standard / flash",
                      .where = "seq >= 2048; geometric mean over points",
                      .expected = {2, 4}},
                     {.id = "attention.memory",
                      .claim = "10-20 times memory reduction for attention layers",
                      .metric = "memory with Q, K, V and O, standard / flash",
                      .where = "seq >= 2048; geometric mean over points",
                      .expected = {10, 20}},
                     {.id = "attention.extra_memory",
                      .claim = "10-20 times memory reduction for attention layers",
                      .metric = "memory beyond Q, K, V and O (256 B if less), standard / flash",
                      .where = "seq >= 2048; geometric mean over points",
                      .expected = {10, 20}},
                     {.id = "attention.time_growth",
                      .claim = "Better scaling with sequence length",
                      .metric = "growth exponent of time, standard - flash",
                      .where = "over seq",
                      .expected = {0, kInfinity}},
                     {.id = "attention.memory_growth",
                      .claim = "Better scaling with sequence length",
                      .metric = "growth exponent of memory, standard - flash",
                      .where = "over seq",
                      .expected = {0, kInfinity}}},
      .expected_quick = {8},
      .expected_full = {470},
      .expected_gpu = {50},
      .runs_model = false};
  return info;
}

record::Metric counted(std::string name, std::string unit, record::Better better, double value) {
  return {.name = std::move(name), .unit = std::move(unit), .better = better, .value = value, .statistic = "count"};
}

class AttentionExperiment final : public lab::Experiment {
 public:
  const lab::Info& info() const override { return attention_info(); }

  // The standard axes vary one thing at a time around one sequence of the fewest heads; batch and heads only at one
  // length.
  bool wanted(const lab::Point& point, const lab::Context& context) const override {
    if (!context.full()) return true;
    const bool centre = point.number("batch") == 1 && point.number("heads") == (context.on_gpu() ? 16 : 8);
    return centre || (point.number("seq") == 1024 && point.number("head_dim") == 128);
  }

  Status measure(lab::Context& context, const lab::Point& point, record::Experiment& record) override {
    const AttentionShape shape{.batch = point.number("batch"),
                               .heads = point.number("heads"),
                               .head_dim = point.number("head_dim"),
                               .seq = point.number("seq"),
                               .causal = point.text("causal") == "yes"};
    // Numbers are drawn once for both kinds of mask: of long sequences that takes longer than attention does.
    if (!inputs_ || !inputs_->has_numbers_of(shape)) {
      inputs_.reset();
      auto made = AttentionCase::make(context, shape);
      if (!made && made.error().kind == ErrorKind::out_of_memory) {
        for (const char* variant : {"standard", "flash"})
          add_unfit(record, point, variant, "Q, K, V and O do not fit: " + made.error().what);
        return ok();
      }
      RL_ASSIGN(inputs_, std::move(made));
    }
    AttentionCase& inputs = *inputs_;
    inputs.set_causal(shape.causal);
    RL_ASSIGN(AttentionRun flash, AttentionRun::make(context, inputs, "flash"));
    RL_TRY(flash.check(context));
    const measure::Task flash_task{.name = "flash", .run = [&] { return flash.run(); }};
    RL_ASSIGN(std::optional<AttentionRun> standard, make_standard(context, inputs, shape, point, record));
    if (!standard) {
      RL_ASSIGN(const record::Metric time, measure::run(context.plan(), flash_task));
      add_row(context, record, point, "flash", flash, inputs, time);
      return ok();
    }
    RL_TRY(standard->check(context));
    RL_ASSIGN(
        const measure::PairResult pair,
        measure::run_pair(context.plan(), {.name = "standard", .run = [&] { return standard->run(); }}, flash_task));
    add_row(context, record, point, "standard", *standard, inputs, pair.a);
    add_row(context, record, point, "flash", flash, inputs, pair.b);

    record::Comparison comparison = pair.comparison;
    comparison.baseline = "standard, " + point.label();
    comparison.candidate = "flash, " + point.label();
    record.comparisons.push_back(comparison);
    return ok();
  }

  bool concludes_from_record() const override { return true; }

  Status conclude(lab::Context&, record::Experiment& record) override {
    inputs_.reset();
    points_ = measured_points(record);
    std::vector<Estimate> speed, memory, extra;
    for (const Measured& point : points_) {
      if (point.seq < kLongSequence) continue;
      speed.push_back(point.speed);
      memory.push_back(exactly(point.memory[0] / point.memory[1]));
      extra.push_back(exactly(point.extra[0] / std::max(point.extra[1], kLeastExtra)));
    }
    const auto mean_speed = lab::geometric_mean(speed), mean_memory = lab::geometric_mean(memory);
    constexpr std::string_view kNoneLong = "no valid point with seq >= 2048";
    lab::conclude_hypothesis(record, "attention.speed", mean_speed, kNoneLong);
    lab::conclude_hypothesis(record, "attention.memory", mean_memory, kNoneLong);
    lab::conclude_hypothesis(record, "attention.extra_memory", lab::geometric_mean(extra), kNoneLong);
    conclude_growth(
        record, "attention.time_growth", &Measured::time, [](const Measured& point) { return point.speed; }, "time");
    conclude_growth(
        record, "attention.memory_growth", &Measured::memory,
        [](const Measured& point) { return exactly(point.memory[0] / point.memory[1]); }, "memory");
    headline(record, mean_speed, mean_memory);
    charts(record);
    return ok();
  }

 private:
  struct Measured {
    double seq = 0;
    std::string series;                                  // everything but seq
    Estimate speed;                                      // time, standard / flash
    double time[2] = {}, memory[2] = {}, extra[2] = {};  // standard, flash
  };

  // The points with both variants' rows and their comparison.
  static std::vector<Measured> measured_points(const record::Experiment& record) {
    std::map<std::string, const record::Row*> rows;  // "flash, batch 1, seq 256, ..."
    for (const record::Row& row : record.rows)
      if (row.validity.valid) rows[lab::Point(row.axes).label()] = &row;
    std::vector<Measured> points;
    for (const record::Comparison& comparison : record.comparisons) {
      const auto standard = rows.find("variant " + comparison.baseline),
                 flash = rows.find("variant " + comparison.candidate);
      if (standard == rows.end() || flash == rows.end()) continue;
      const record::Row& row = *standard->second;
      const auto pair = [&](const char* metric, double(&values)[2]) {
        values[0] = lab::value_of(row, metric);
        values[1] = lab::value_of(*flash->second, metric);
        return std::isfinite(values[0] + values[1]);
      };
      const auto axis = [&](const char* name) { return lab::axis_of(row, name); };
      Measured point{.seq = static_cast<double>(lab::number_of(row, "seq").value_or(0)),
                     .series = fmt::format("batch {}, heads {}, head_dim {}, {}causal", axis("batch"), axis("heads"),
                                           axis("head_dim"), axis("causal") == "yes" ? "" : "not "),
                     .speed = {comparison.ratio, comparison.ci95}};
      if (point.seq > 0 && pair("time", point.time) && pair("layer_bytes", point.memory) &&
          pair("workspace_bytes", point.extra))
        points.push_back(std::move(point));
    }
    return points;
  }

  // Standard attention with its score matrix; nothing where that does not fit the memory, which is a result: a row
  // says so, and longer sequences are not tried.
  Result<std::optional<AttentionRun>> make_standard(lab::Context& context, const AttentionCase& inputs,
                                                    const AttentionShape& shape, const lab::Point& point,
                                                    record::Experiment& record) {
    const double scores = static_cast<double>(shape.batch * shape.heads) * std::pow(static_cast<double>(shape.seq), 2);
    if (scores > too_many_scores_) return std::optional<AttentionRun>();
    auto made = AttentionRun::make(context, inputs, "standard");
    if (made) return std::optional<AttentionRun>(std::move(*made));
    if (made.error().rule != "attention.memory") return std::move(made).error();
    too_many_scores_ = std::min(scores, too_many_scores_);
    add_unfit(record, point, "standard", made.error().what);
    return std::optional<AttentionRun>();
  }

  static void add_unfit(record::Experiment& record, const lab::Point& point, const char* variant, std::string why) {
    record::Row row{.axes = point.values(), .note = std::move(why)};
    row.axes.insert(row.axes.begin(), {"variant", variant});
    record.rows.push_back(std::move(row));
  }

  // " Its scores did not fit the memory from 65536 tokens on."
  static std::string unfit_sentence(const record::Experiment& record) {
    std::int64_t shortest = std::numeric_limits<std::int64_t>::max();
    for (const record::Row& row : record.rows)
      if (row.validity.valid && lab::axis_of(row, "variant") == "standard" && !lab::find_metric(row, "time"))
        shortest = std::min(shortest, lab::number_of(row, "seq").value_or(shortest));
    if (shortest == std::numeric_limits<std::int64_t>::max()) return "";
    return fmt::format(" Standard attention's scores did not fit the memory from {} tokens on.", shortest);
  }

  static Estimate exactly(double value) { return {value, {value, value}}; }

  static void add_row(lab::Context& context, record::Experiment& record, const lab::Point& point, const char* variant,
                      const AttentionRun& run, const AttentionCase& inputs, const record::Metric& time) {
    record::Row row{.axes = point.values(), .path = {run.variant()}};
    row.axes.insert(row.axes.begin(), {"variant", variant});
    row.metrics.push_back(time);
    const double flops = ops::flops(inputs.host_args());
    row.metrics.push_back(measure::rate_of(time, "arithmetic_rate", "FLOP/s", flops));
    if (const auto peak = context.ceiling("matrix_rate_bf16"))
      row.metrics.push_back(measure::rate_of(time, "share_of_matrix_rate", "1", flops / peak->value));
    const double workspace = static_cast<double>(run.workspace().count);
    row.metrics.push_back(counted("workspace_bytes", "B", record::Better::lower, workspace));
    row.metrics.push_back(
        counted("layer_bytes", "B", record::Better::lower, workspace + static_cast<double>(inputs.bytes().count)));
    row.note = run.checked();
    record.rows.push_back(std::move(row));
  }

  // How much faster standard grows than flash: the slope of log(standard / flash) over log(seq), fitted within each
  // series, then the mean over series. The slope is a weighted sum of the log ratios, so its bounds are that sum of
  // their bounds; how well a power law describes the points is no part of the interval (the exponents by themselves are
  // noted).
  void conclude_growth(record::Experiment& record, std::string_view id, double (Measured::*values)[2],
                       const std::function<Estimate(const Measured&)>& ratio, std::string_view what) {
    std::map<std::string, std::vector<const Measured*>> series;
    for (const Measured& point : points_) series[point.series].push_back(&point);
    std::vector<Estimate> slopes;
    for (const auto& [name, members] : series) {
      if (members.size() < 3) continue;
      std::vector<double> x, y[2];
      double mean_x = 0, spread = 0;
      for (const Measured* point : members) {
        x.push_back(point->seq);
        for (int variant : {0, 1}) y[variant].push_back((point->*values)[variant]);
        mean_x += std::log(point->seq) / static_cast<double>(members.size());
      }
      for (const double seq : x) spread += std::pow(std::log(seq) - mean_x, 2);
      Estimate slope;
      for (const Measured* point : members) {
        const Estimate measured = ratio(*point);
        const double weight = (std::log(point->seq) - mean_x) / spread;
        const double bounds[2] = {weight * std::log(measured.interval.low), weight * std::log(measured.interval.high)};
        slope.value += weight * std::log(measured.value);
        slope.interval.low += std::min(bounds[0], bounds[1]);
        slope.interval.high += std::max(bounds[0], bounds[1]);
      }
      slopes.push_back(slope);
      const measure::PowerFit standard = measure::fit_power(x, y[0]), flash = measure::fit_power(x, y[1]);
      record.notes.push_back(
          fmt::format("{} grows with seq^{:.2f} (standard, R2 {:.3f}) and seq^{:.2f} (flash, R2 {:.3f}): {}", what,
                      standard.exponent, standard.r_squared, flash.exponent, flash.r_squared, name));
    }
    std::optional<Estimate> mean;
    for (const Estimate& slope : slopes) {
      if (!mean) mean.emplace();
      const double share = 1 / static_cast<double>(slopes.size());
      mean->value += share * slope.value;
      mean->interval.low += share * slope.interval.low;
      mean->interval.high += share * slope.interval.high;
    }
    lab::conclude_hypothesis(record, id, mean, "a fit needs three lengths");
  }

  void headline(record::Experiment& record, const std::optional<Estimate>& speed,
                const std::optional<Estimate>& memory) {
    record.outcome = lab::overall(record);
    if (!speed || !memory) {
      record.measured = "no long sequence";
      record.meaning = "The plan speaks of long sequences; this run measured none that is valid.";
      record.advice = "Measure longer ones: `redline experiment attention --seq 2048..4096`.";
      return;
    }
    record.measured =
        fmt::format("{}x, {}x less mem", format_significant(speed->value, 2), format_significant(memory->value, 2));
    record.meaning = fmt::format(
        "At 2,048 tokens and more flash attention takes {} of standard attention's time (95% interval {} to {}) and {} "
        "of its memory.{}",
        percent(1 / speed->value), percent(1 / speed->interval.high), percent(1 / speed->interval.low),
        percent(1 / memory->value), unfit_sentence(record));
    const bool faster = speed->interval.low > 1, less = memory->value > 1;
    record.advice =
        faster && less
            ? fmt::format(
                  "Use flash attention{}: it wins in time and in memory; the engine does by default.",
                  record.outcome == record::Outcome::refuted ? ", though it gives less than the plan expects" : "")
        : less ? "Use flash attention where memory is short; it is not faster here beyond doubt."
               : "Standard attention is as good here; choose by memory at your longest context.";
  }

  static std::string percent(double share) { return format_significant(100 * share, 2) + "%"; }

  static void charts(record::Experiment& record) {
    // Drawn at the first point's other values.
    std::vector<std::pair<std::string, std::string>> where;
    const record::Row* first = nullptr;
    for (const record::Row& row : record.rows)
      if (row.validity.valid && first == nullptr) first = &row;
    if (first == nullptr) return;
    for (const auto& [axis, value] : first->axes)
      if (axis != "variant" && axis != "seq") where.emplace_back(axis, value);
    record.charts.push_back({.title = "Time of one attention layer",
                             .x = "seq",
                             .y = "time",
                             .series = "variant",
                             .where = where,
                             .log_x = true,
                             .log_y = true});
    record.charts.push_back({.title = "Memory of one attention layer, Q, K, V and O included",
                             .x = "seq",
                             .y = "layer_bytes",
                             .series = "variant",
                             .where = where,
                             .log_x = true,
                             .log_y = true});
    record.charts.push_back({.title = "Arithmetic rate",
                             .x = "seq",
                             .y = "arithmetic_rate",
                             .series = "variant",
                             .where = where,
                             .log_x = true});
  }

  std::optional<AttentionCase> inputs_;  // of the last point
  std::vector<Measured> points_;
  double too_many_scores_ = kInfinity;  // of heads x queries x keys: so many did not fit
};

}  // namespace

lab::Entry attention() {
  return {.info = attention_info(),
          .make = []() -> std::unique_ptr<lab::Experiment> { return std::make_unique<AttentionExperiment>(); }};
}

}  // namespace rl::experiments
