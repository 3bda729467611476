#include "experiments/quantization_conclude.h"

#include <fmt/ranges.h>

#include "lab/conclude.h"

namespace rl::experiments {
namespace {

using lab::Estimate;

Estimate exactly(double value) { return {value, {value, value}}; }

class Formats {
 public:
  void conclude(record::Experiment& record) {
    read(record);
    conclude_speed(record, "quantization.fp8_speed", "fp8");
    conclude_speed(record, "quantization.int8_speed", "int8");
    conclude_quality(record);
    conclude_savings(record, "quantization.fp8_memory", "fp8", false);
    conclude_savings(record, "quantization.int8_memory", "int8", false);
    conclude_savings(record, "quantization.int8_memory_of_fp32", "int8", true);
    headline(record);
    charts(record);
  }

 private:
  struct Measured {
    std::string shape, format;
    double weight_bytes = 0;
    std::optional<Estimate> perplexity_ratio, kld;
    std::optional<Estimate> speed, decode;  // over 16 bits
  };

  // What the rows and comparisons say.
  void read(const record::Experiment& record) {
    measured_.clear();
    for (const record::Row& row : record.rows) {
      const std::string *format = lab::find_axis(row, "format"), *shape = lab::find_axis(row, "shape");
      const record::Metric* bytes = lab::find_metric(row, "weight_bytes");
      if (format == nullptr || shape == nullptr || bytes == nullptr || !row.validity.valid) continue;
      const auto estimate = [&](const char* name) -> std::optional<Estimate> {
        const record::Metric* metric = lab::find_metric(row, name);
        if (metric == nullptr) return std::nullopt;
        return Estimate{metric->value, metric->ci95.value_or(record::Interval{metric->value, metric->value})};
      };
      Measured m{.shape = *shape,
                 .format = *format,
                 .weight_bytes = bytes->value,
                 .perplexity_ratio = estimate("perplexity_ratio"),
                 .kld = estimate("mean_kld")};
      if (!m.perplexity_ratio) m.kld.reset();  // quality is both
      for (const record::Comparison& comparison : record.comparisons)
        if (comparison.candidate == format_at(*format, *shape))
          (comparison.metric == kPrefill ? m.speed : m.decode) = Estimate{comparison.ratio, comparison.ci95};
      if (const record::Metric* limit = lab::find_metric(row, kMaxKld)) limits_.max_kld = limit->value;
      if (const record::Metric* limit = lab::find_metric(row, kMaxPplLoss)) limits_.max_ppl_loss = limit->value;
      measured_.push_back(std::move(m));
    }
  }

  // The format at the shape that is judged: the plan's own, else the run's model, else whatever there is.
  const Measured* find(std::string_view format, const std::function<bool(const Measured&)>& has) const {
    for (const char* shape : {kPlanShape, record::kOwnModel, ""})
      for (const Measured& measured : measured_)
        if (measured.format == format && (*shape == '\0' || measured.shape == shape) && has(measured)) return &measured;
    return nullptr;
  }
  const Measured* find_speed(std::string_view format) const {
    return find(format, [](const Measured& m) { return m.speed.has_value(); });
  }
  const Measured* find_quality(std::string_view format) const {
    return find(format, [](const Measured& m) { return m.kld.has_value(); });
  }
  const Measured* at(std::string_view format, const Measured& like) const {
    for (const Measured& measured : measured_)
      if (measured.format == format && measured.shape == like.shape) return &measured;
    return nullptr;
  }

  void conclude_speed(record::Experiment& record, std::string_view id, const char* format) const {
    const Measured* measured = find_speed(format);
    const bool there = find(format, [](const Measured&) { return true; }) != nullptr;
    if (measured != nullptr || !there)
      return lab::conclude_hypothesis(record, id, measured ? measured->speed : std::nullopt, "no valid row");
    for (record::Hypothesis& hypothesis : record.hypotheses)
      if (hypothesis.id == id)
        hypothesis.reason =
            "this machine has no instructions for the format: its speed is never judged by an emulation";
  }

  void conclude_quality(record::Experiment& record) const {
    for (record::Hypothesis& hypothesis : record.hypotheses) {
      if (hypothesis.id == "quantization.fp8_perplexity") hypothesis.expected.low = 1 / (1 + limits_.max_ppl_loss);
      if (hypothesis.id == "quantization.fp8_kld")
        hypothesis.where = fmt::format("format fp8; minimal: {} nats", limits_.max_kld);
    }
    const Measured *fp8 = find_quality("fp8"), *int8 = find_quality("int8");
    const bool quality = std::ranges::any_of(measured_, [](const Measured& m) { return m.kld.has_value(); });
    const char* none = quality ? "no valid row" : "no quality was measured: the notes say why";
    std::optional<Estimate> perplexity, kld, degradation;
    const auto over = [](const Estimate& a, const Estimate& b) {
      return Estimate{a.value / b.value, {a.interval.low / b.interval.high, a.interval.high / b.interval.low}};
    };
    if (fp8 && fp8->kld) {
      perplexity = over(exactly(1), *fp8->perplexity_ratio);
      kld = over(exactly(limits_.max_kld), *fp8->kld);
      if (int8 && int8->kld) degradation = over(*int8->kld, *fp8->kld);
    }
    lab::conclude_hypothesis(record, "quantization.fp8_perplexity", perplexity, none);
    lab::conclude_hypothesis(record, "quantization.fp8_kld", kld, none);
    lab::conclude_hypothesis(record, "quantization.int8_degradation", degradation, none);
  }

  void conclude_savings(record::Experiment& record, std::string_view id, const char* format, bool of_fp32) const {
    std::optional<Estimate> saved;
    const auto base_of = [&](const Measured& m) {
      if (of_fp32) return at("fp32", m);
      const Measured* const bf16 = at(kBaseline, m);
      return bf16 != nullptr ? bf16 : at(kGpuBaseline, m);
    };
    if (const Measured* small = find(format, [&](const Measured& m) { return base_of(m) != nullptr; }))
      saved = exactly(1 - small->weight_bytes / base_of(*small)->weight_bytes);
    lab::conclude_hypothesis(record, id, saved, "no valid row of both formats");
  }

  bool within(const Measured& m) const {
    return m.kld->value <= limits_.max_kld && m.perplexity_ratio->value <= 1 + limits_.max_ppl_loss;
  }

  bool within_for_certain(const Measured& m) const {
    return m.kld->interval.high <= limits_.max_kld && m.perplexity_ratio->interval.high <= 1 + limits_.max_ppl_loss;
  }

  // "fp8 1.5x, int8 1.2x" of prefill, or that they are emulated.
  std::string headline_speeds() const {
    std::vector<std::string> parts;
    for (const char* format : {"fp8", "int8"}) {
      if (const Measured* m = find_speed(format))
        parts.push_back(fmt::format("{} {}x", format, format_significant(m->speed->value, 2)));
      else if (find(format, [](const Measured&) { return true; }))
        parts.push_back(fmt::format("{} emulated", format));
    }
    return parts.empty() ? "no valid row" : fmt::format("{}", fmt::join(parts, ", "));
  }

  // " Against 16 bits at synthetic:llama-2-7b prefill and decode are: fp8 1.5 and 1.6 times as fast."
  std::string speed_sentence() const {
    std::vector<std::string> parts;
    const Measured* shape = nullptr;
    for (const char* format : {"fp8", "int8"})
      if (const Measured* m = find_speed(format); m != nullptr && m->decode) {
        shape = m;
        parts.push_back(fmt::format("{} {} and {} times as fast", format, format_significant(m->speed->value),
                                    format_significant(m->decode->value)));
      }
    if (parts.empty()) return "";
    return fmt::format(" Against 16 bits a 512-token prefill and decode are{}: {}.",
                       shape->shape == record::kOwnModel ? "" : fmt::format(" at {}", shape->shape),
                       fmt::join(parts, ", "));
  }

  // What the smallest format costs in time, where it is slower than 16 bits, and which one within the limits does not.
  std::string price_of(std::string_view format) const {
    const Measured* const own = find_speed(format);
    if (own == nullptr) return "; here it saves memory, not time: this processor only emulates it";
    if (own->speed->interval.high >= 1) return "";
    const Measured* fastest = nullptr;
    for (const Measured& m : measured_) {
      const Measured* const quality = find_quality(m.format);
      if (m.shape != own->shape || !m.speed || quality == nullptr || !within(*quality)) continue;
      if (fastest == nullptr || m.speed->value > fastest->speed->value) fastest = &m;
    }
    const double longer = 1 / own->speed->value;
    std::string text = longer < 1.1 ? fmt::format("; a prefill takes {}% longer in it than in 16 bits",
                                                  format_significant(100 * (longer - 1), 2))
                                    : fmt::format("; a prefill takes {} times as long in it as in 16 bits",
                                                  format_significant(longer, 2));
    if (fastest != nullptr && fastest->speed->interval.low > 1)
      text += fmt::format(", the fastest is {0}: `--format {0}`", fastest->format);
    return text;
  }

  void headline(record::Experiment& record) const {
    record.outcome = lab::overall(record);
    record.measured = headline_speeds();
    const Measured* base = find_quality(kBaseline);
    const Measured* best = nullptr;  // the smallest within the limits
    std::vector<std::string> outside, unsure;
    bool quality = false;
    for (const Measured& m : measured_) {
      quality |= m.kld.has_value();
      if (!m.kld || m.format == kBaseline) continue;
      if (!within(m))
        outside.push_back(m.format);
      else if (!within_for_certain(m))
        unsure.push_back(m.format);
      if (!within(m) || !base || m.weight_bytes >= base->weight_bytes) continue;
      if (best == nullptr || std::pair(m.weight_bytes, m.kld->value) < std::pair(best->weight_bytes, best->kld->value))
        best = &m;
    }
    const std::string limits = fmt::format("mean KLD {} and perplexity +{}%", limits_.max_kld,
                                           format_significant(100 * limits_.max_ppl_loss, 2));
    if (!quality) {
      record.meaning =
          "Bytes and native speed of the formats are measured; the quality of random weights means nothing." +
          speed_sentence();
      record.advice = "Measure quality on a trained model: `redline experiment quantization -m MODEL`.";
    } else if (best != nullptr) {
      record.meaning = fmt::format(
          "{} saves {}% of the weights' bytes at a mean KLD of {:.1e} and a perplexity {:+.2f}%; {} within {}{}.{}",
          best->format, format_significant(100 * (1 - best->weight_bytes / base->weight_bytes), 2), best->kld->value,
          100 * (best->perplexity_ratio->value - 1),
          outside.empty() ? std::string("all formats stay") : fmt::format("all but {} stay", fmt::join(outside, ", ")),
          limits,
          unsure.empty() ? "" : fmt::format(", though 95% intervals of {} reach beyond", fmt::join(unsure, ", ")),
          speed_sentence());
      record.advice = fmt::format("Within your limits the smallest is {0}: `--format {0}`{1}.", best->format,
                                  price_of(best->format));
    } else {
      record.meaning = fmt::format("No smaller format stays within {}.{}", limits, speed_sentence());
      record.advice = "Keep 16 bits, or raise --max-kld and --max-ppl-loss if the loss is fine for you.";
    }
  }

  static void charts(record::Experiment& record) {
    const auto bars = [&](const char* title, const char* y, bool log_y = false) {
      record.charts.push_back({.title = title, .x = "format", .y = y, .series = "shape", .log_y = log_y, .bars = true});
    };
    bars("Bytes of the weights", "weight_bytes");
    bars("Time of a 512-token prefill", "prefill_time");
    bars("Time of a decoded token, one sequence at 512 tokens", "decode_token_time");
    bars("Mean KL divergence from bf16, nats", "mean_kld", true);
    bars("Perplexity over bf16's, percent", "perplexity_increase");
  }

  std::vector<Measured> measured_;
  lab::Limits limits_;
};

}  // namespace

std::string format_at(std::string_view format, std::string_view shape) { return fmt::format("{}, {}", format, shape); }

void conclude_formats(record::Experiment& record) { Formats().conclude(record); }

}  // namespace rl::experiments
