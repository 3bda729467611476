#include "app/cmd_quality.h"

#include <nlohmann/json.hpp>

#include "app/open_model.h"
#include "quality/assess.h"
#include "quality/perplexity.h"
#include "telemetry/host.h"

namespace rl::app {
namespace {

using nlohmann::json;

constexpr std::int64_t kFewTokens = 8192;  // below, the standard errors are wide: said to the reader

Result<std::unique_ptr<engine::Engine>> make_engine(const model::ModelSource& source, const OpenBackend& open,
                                                    const std::string& format, const std::string& kv_cache,
                                                    std::int64_t context, std::int64_t seqs) {
  RL_ASSIGN(const engine::NumberFormat chosen, engine::format_from(format));
  RL_ASSIGN(const engine::KvCacheType cache, engine::kv_cache_type_from(kv_cache));
  return engine::Engine::make(source, open.backend, open.device->memory(),
                              {.precision = chosen.precision,
                               .weights = chosen.weights,
                               .kv_cache = cache,
                               .max_context = std::min(context, source.config.max_positions),
                               .max_seqs = seqs,
                               .prefix_reuse = false});
}

// "bf16", or "bf16, fp8 KV".
std::string with_cache(const std::string& format, const std::string& kv_cache) {
  return kv_cache == "auto" ? format : fmt::format("{}, {} KV", format, kv_cache);
}

// Doubles that JSON can hold: no NaN, no infinity.
json number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

json to_json(const std::string& format, const quality::Assessment& a) {
  const quality::Divergence& d = a.divergence;
  json layers = json::array();
  for (const quality::LayerError& layer : a.layers)
    layers.push_back({{"layer", layer.layer}, {"relative_error", layer.relative}, {"snr_db", number(layer.snr_db())}});
  return {{"format", format},
          {"tokens", d.tokens},
          {"mean_ppl_base", number(d.ppl_base.value)},
          {"mean_ppl_base_se", number(d.ppl_base.se)},
          {"mean_ppl_q", number(d.ppl.value)},
          {"mean_ppl_q_se", number(d.ppl.se)},
          {"mean_ln_ppl_ratio", number(d.ln_ppl_ratio.value)},
          {"mean_ln_ppl_ratio_se", number(d.ln_ppl_ratio.se)},
          {"mean_ppl_ratio", number(d.ppl_ratio.value)},
          {"mean_ppl_ratio_se", number(d.ppl_ratio.se)},
          {"mean_kld", number(d.kld.value)},
          {"mean_kld_se", number(d.kld.se)},
          {"max_kld", number(d.max_kld)},
          {"p999_kld", number(d.p999_kld)},
          {"p99_kld", number(d.p99_kld)},
          {"p95_kld", number(d.p95_kld)},
          {"p90_kld", number(d.p90_kld)},
          {"median_kld", number(d.median_kld)},
          {"min_kld", number(d.min_kld)},
          {"mean_dp", number(d.dp.value)},
          {"mean_dp_se", number(d.dp.se)},
          {"rms_dp", number(d.rms_dp.value)},
          {"rms_dp_se", number(d.rms_dp.se)},
          {"same_top_p", number(d.same_top.value)},
          {"same_top_p_se", number(d.same_top.se)},
          {"outputs", a.consistency.outputs.size()},
          {"identical_outputs", number(a.consistency.identical())},
          {"mean_first_difference", number(a.consistency.first_difference())},
          {"output_tokens", a.consistency.tokens},
          {"layers", layers}};
}

// "1.00021 ±0.00018", "8.7e-05 ±1.7e-06".
std::string with_error(const quality::Mean& mean, bool scientific = false) {
  return scientific ? fmt::format("{:.2e} ±{:.1e}", mean.value, mean.se)
                    : fmt::format("{:.5f} ±{:.5f}", mean.value, mean.se);
}

void print_table(std::FILE* out, const std::vector<std::pair<std::string, quality::Assessment>>& rows) {
  constexpr const char* kRow = "{:<16}{:>18}{:>20}{:>14}{:>16}\n";
  fmt::print(out, "\n");
  fmt::print(out, fmt::runtime(kRow), "format", "perplexity ratio", "mean KLD", "99% KLD", "same top");
  for (const auto& [format, a] : rows) {
    const quality::Divergence& d = a.divergence;
    fmt::print(out, fmt::runtime(kRow), format, with_error(d.ppl_ratio), with_error(d.kld, true),
               fmt::format("{:.2e}", d.p99_kld), fmt::format("{:.2f}%", 100 * d.same_top.value));
  }
  fmt::print(out, "\n");
  fmt::print(out, fmt::runtime(kRow), "format", "true token's p", "worst layer", "same outputs", "first differs");
  for (const auto& [format, a] : rows) {
    const auto worst = std::ranges::max_element(a.layers, {}, &quality::LayerError::relative);
    fmt::print(out, fmt::runtime(kRow), format, fmt::format("rms change {:.2f}%", 100 * a.divergence.rms_dp.value),
               worst->relative > 0 ? fmt::format("{}: {:.1f} dB", worst->layer, worst->snr_db()) : "none",
               fmt::format("{:.0f}% of {}", 100 * a.consistency.identical(), a.consistency.outputs.size()),
               fmt::format("{:.1f} of {}", a.consistency.first_difference(), a.consistency.tokens));
  }
}

Status compare_formats(const QualityOptions& options, const OpenBackend& open, const model::ModelSource& source,
                       const quality::Text& text, std::FILE* out) {
  const quality::AssessPlan plan{.window = options.window, .tokens = options.tokens, .prompts = options.prompts};
  for (const std::string& format : options.formats) RL_TRY(engine::format_from(format));  // before any work
  RL_TRY(engine::kv_cache_type_from(options.kv_cache));
  const auto make = [&](const std::string& format, const std::string& kv_cache) {
    return make_engine(source, open, format, kv_cache, quality::context_needed(plan), quality::seqs_needed(plan));
  };
  constexpr const char* kBaselineCache = "auto";
  RL_ASSIGN(const std::unique_ptr<engine::Engine> base, make(options.baseline, kBaselineCache));
  std::vector<std::pair<std::string, quality::Assessment>> rows;
  RL_ASSIGN(quality::Assessment floor, quality::assess(*base, *base, text, plan));
  rows.emplace_back(options.baseline, std::move(floor));
  for (const std::string& format : options.formats) {
    if (format == options.baseline && options.kv_cache == kBaselineCache) continue;
    RL_ASSIGN(const std::unique_ptr<engine::Engine> candidate, make(format, options.kv_cache));
    RL_ASSIGN(quality::Assessment assessment, quality::assess(*base, *candidate, text, plan));
    rows.emplace_back(with_cache(format, options.kv_cache), std::move(assessment));
  }

  const std::string name = telemetry::scrub(source.name), file = telemetry::scrub(text.name);
  const quality::Divergence& d = rows.front().second.divergence;
  if (options.json) {
    json formats = json::array();
    for (const auto& [format, assessment] : rows) formats.push_back(to_json(format, assessment));
    const json all = {
        {"model", name},      {"text", file},      {"window", options.window}, {"baseline", options.baseline},
        {"tokens", d.tokens}, {"formats", formats}};
    fmt::print(out, "{}\n", all.dump(2));
    return ok();
  }
  fmt::print(out, "{} in {}: perplexity {}\n{} tokens of {}, windows of {}; every format beside it, in lockstep\n",
             name, options.baseline, with_error(d.ppl_base), d.tokens, file, options.window);
  print_table(out, rows);
  fmt::print(out, "\nThe first row is the baseline against itself: the noise floor of every column.\n");
  if (d.tokens < kFewTokens)
    fmt::print(out, "Only {} tokens were scored (8,192 is a fair number): the errors say how far to trust this.\n",
               d.tokens);
  return ok();
}

Status perplexity_alone(const QualityOptions& options, const OpenBackend& open, const model::ModelSource& source,
                        const quality::Text& text, std::FILE* out) {
  RL_ASSIGN(const std::unique_ptr<engine::Engine> engine,
            make_engine(source, open, options.format, options.kv_cache, options.window, 1));
  std::span<const TokenId> ids = text.ids;
  if (options.tokens > 0) ids = ids.first(std::min(ids.size(), static_cast<std::size_t>(options.tokens)));
  RL_ASSIGN(const quality::Perplexity result,
            quality::perplexity(*engine, ids, {.window = options.window, .bos = text.bos, .progress = {}}));
  const std::string name = telemetry::scrub(source.name), file = telemetry::scrub(text.name);
  if (options.json) {
    const json all = {{"model", name},
                      {"text", file},
                      {"format", options.format},
                      {"kv_cache", options.kv_cache},
                      {"window", options.window},
                      {"tokens", result.tokens},
                      {"mean_nll", result.mean_nll()},
                      {"mean_ppl", result.ppl()},
                      {"mean_ppl_se", number(result.standard_error())}};
    fmt::print(out, "{}\n", all.dump());
    return ok();
  }
  fmt::print(out, "perplexity {:.5f} +/- {:.5f}\n{} tokens of {}, windows of {}, {} in {}\n", result.ppl(),
             result.standard_error(), result.tokens, file, options.window, name,
             with_cache(options.format, options.kv_cache));
  return ok();
}

}  // namespace

Status cmd_quality(const QualityOptions& options, std::FILE* out) {
  RL_ASSIGN(const OpenBackend open, open_backend(options.device));
  RL_ASSIGN(const model::ModelSource source, open_model(options.model));
  RL_ASSIGN(const quality::Text text, quality::read_text(source, options.text));
  return options.formats.empty() ? perplexity_alone(options, open, source, text, out)
                                 : compare_formats(options, open, source, text, out);
}

}  // namespace rl::app
