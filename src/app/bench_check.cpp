#include "app/bench_check.h"

#include <cmath>

#include "lab/engine_load.h"

namespace rl::app {
namespace {

constexpr std::int64_t kTokens = 24;

template <class Args>
std::string plain_of(std::span<const ops::Variant<Args>> variants) {
  for (const ops::Variant<Args>& variant : variants)
    if (std::string_view(variant.name).ends_with(".simple")) return variant.name;
  return variants.back().name;
}

Result<std::vector<float>> logits_of(engine::Engine& engine, std::span<const TokenId> ids, std::int64_t chunk) {
  std::vector<float> all;
  RL_TRY(engine.score(
      ids,
      [&](std::int64_t, const TensorRef& logits) -> Status {
        all.insert(all.end(), logits.as<const float>(), logits.as<const float>() + logits.elements());
        return ok();
      },
      chunk));
  return all;
}

double distance(const std::vector<float>& found, const std::vector<float>& plain) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    error += std::pow(double{found[i]} - double{plain[i]}, 2);
    norm += std::pow(double{plain[i]}, 2);
  }
  return std::sqrt(error / norm);
}

// Eight values of a layer are rounded to the activations' type, with relative errors of up to u that are as independent
// as rounding is, in both engines: 2 u sqrt(8 layers). Activations of 8 bits move to a neighbouring code where they lie
// near its border, which four times as much allows for.
double allowed_for(const model::ModelConfig& config, const engine::NumberFormat& format) {
  double u = 0x1p-24;
  if (format.precision == engine::Precision::bf16) u = 0x1p-9;
  if (format.precision == engine::Precision::f16) u = 0x1p-12;
  const double rounding = 2 * u * std::sqrt(8.0 * static_cast<double>(config.layers));
  const bool sixteen = quant::scales_of(format.weights.layers) == quant::Scales::none;
  return std::max(sixteen ? rounding : 4 * rounding, 1e-3);
}

}  // namespace

std::string LogitsCheck::text() const {
  return fmt::format(
      "logits checked against {}: {} tokens, relative difference {} in prefill and {} in decode steps ({} allowed)",
      plain, tokens, format_significant(prefill, 2), format_significant(decode, 2), format_significant(allowed, 2));
}

Result<LogitsCheck> check_logits(engine::Engine& engine, const ops::Backend& backend, MemoryResource& memory,
                                 const engine::NumberFormat& format, std::uint64_t seed) {
  LogitsCheck check{.tokens = std::min(kTokens, engine.options().max_context),
                    .allowed = allowed_for(engine.config(), format)};
  engine::EngineOptions options = engine.options();
  options.graphs = false;
  options.max_seqs = 1;
  options.max_context = check.tokens;
  options.step_tokens = check.tokens;
  options.kv_memory = {};
  options.force["linear"] = plain_of(backend.catalog.linear);
  options.force["attention"] = plain_of(backend.catalog.attention);
  check.plain = options.force["attention"] + ", " + options.force["linear"];
  RL_ASSIGN(const auto plain_engine, engine::Engine::make_beside(engine, backend, memory, options));
  const std::vector<TokenId> ids = lab::random_ids(check.tokens, engine.config().vocab, seed);
  RL_ASSIGN(const std::vector<float> plain, logits_of(*plain_engine, ids, check.tokens));
  RL_ASSIGN(const std::vector<float> prefill, logits_of(engine, ids, check.tokens));
  RL_ASSIGN(const std::vector<float> decode, logits_of(engine, ids, 1));
  check.prefill = distance(prefill, plain);
  check.decode = distance(decode, plain);
  if (check.prefill <= check.allowed && check.decode <= check.allowed) return check;
  return Error{.kind = ErrorKind::internal,
               .what = "the logits of the steps to be timed are not those of plain variants",
               .rule = "bench.logits",
               .expected = fmt::format("a relative difference of at most {}", format_significant(check.allowed, 2)),
               .found = check.text()};
}

}  // namespace rl::app
