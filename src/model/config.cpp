#include "model/config.h"

#include <numbers>

#include "base/checked.h"
#include "model/json.h"

namespace rl::model {

const char* name_of(Family family) {
  switch (family) {
    case Family::llama:
      return "llama";
    case Family::mistral:
      return "mistral";
    case Family::qwen2:
      return "qwen2";
    case Family::qwen3:
      return "qwen3";
  }
  return "?";
}

std::int64_t ModelConfig::parameters() const {
  const std::int64_t q = heads * head_dim, kv = kv_heads * head_dim;
  std::int64_t layer = hidden * (q + 2 * kv) + q * hidden + 3 * hidden * ffn + 2 * hidden;
  if (qkv_bias) layer += q + 2 * kv;
  if (out_bias) layer += hidden;
  if (qk_norm) layer += 2 * head_dim;
  return layers * layer + vocab * hidden * (tied_head ? 1 : 2) + hidden;
}

namespace {

// Far above any model that was published (largest: hidden 16384, ffn 53248, 126 layers, vocabulary 262144), far below
// what would overflow a product of four of them.
constexpr std::int64_t kMaxHidden = 1 << 18, kMaxFfn = 1 << 20, kMaxLayers = 4096, kMaxHeads = 1 << 14,
                       kMaxHeadDim = 4096, kMaxVocab = 1 << 24, kMaxPositions = std::int64_t{1} << 40;

Error bad(std::string_view rule, std::string what, std::string field, std::string expected, std::string found) {
  return {.kind = ErrorKind::invalid_input,
          .what = std::move(what),
          .rule = std::string(rule),
          .field = std::move(field),
          .expected = std::move(expected),
          .found = std::move(found)};
}

Status check_size(const char* field, std::int64_t value, std::int64_t most) {
  if (value >= 1 && value <= most) return ok();
  return bad("config.range", fmt::format("{} out of range", field), field, fmt::format("from 1 to {}", most),
             std::to_string(value));
}

Status check_rope(const RopeConfig& rope) {
  const auto positive = [](double x) { return std::isfinite(x) && x > 0; };
  const auto number = [](double x) { return fmt::format("{}", x); };
  if (!positive(rope.theta))
    return bad("config.rope_theta", "rope_theta must be positive", "rope_theta", "> 0", number(rope.theta));
  if (rope.type == RopeConfig::Type::none) return ok();
  if (!positive(rope.factor))
    return bad("config.rope_factor", "the rope scaling factor must be positive", "factor", "> 0", number(rope.factor));
  if (rope.type == RopeConfig::Type::linear) return ok();
  if (!positive(rope.low_freq_factor))
    return bad("config.rope_factor", "low_freq_factor must be positive", "low_freq_factor", "> 0",
               number(rope.low_freq_factor));
  if (!(std::isfinite(rope.high_freq_factor) && rope.high_freq_factor > rope.low_freq_factor))
    return bad("config.rope_factor", "high_freq_factor must be above low_freq_factor", "high_freq_factor",
               fmt::format("> {}", rope.low_freq_factor), number(rope.high_freq_factor));
  return check_size("original_max_position_embeddings", rope.original_max_positions, kMaxPositions);
}

}  // namespace

Status check_config(const ModelConfig& c) {
  RL_TRY(check_size("hidden_size", c.hidden, kMaxHidden));
  RL_TRY(check_size("intermediate_size", c.ffn, kMaxFfn));
  RL_TRY(check_size("num_hidden_layers", c.layers, kMaxLayers));
  RL_TRY(check_size("num_attention_heads", c.heads, kMaxHeads));
  RL_TRY(check_size("num_key_value_heads", c.kv_heads, kMaxHeads));
  RL_TRY(check_size("head_dim", c.head_dim, kMaxHeadDim));
  RL_TRY(check_size("vocab_size", c.vocab, kMaxVocab));
  RL_TRY(check_size("max_position_embeddings", c.max_positions, kMaxPositions));
  if (c.kv_heads > c.heads || c.heads % c.kv_heads != 0)
    return bad("config.kv_heads", "query heads do not divide among the kv heads", "num_key_value_heads",
               fmt::format("a divisor of {} (num_attention_heads)", c.heads), std::to_string(c.kv_heads));
  if (c.head_dim % 2 != 0)
    return bad("config.head_dim", "head_dim must be even: RoPE turns pairs", "head_dim", "an even number",
               std::to_string(c.head_dim));
  if (!(std::isfinite(c.rms_norm_eps) && c.rms_norm_eps >= 0 && c.rms_norm_eps < 1))
    return bad("config.rms_norm_eps", "rms_norm_eps out of range", "rms_norm_eps", "from 0 to 1",
               fmt::format("{}", c.rms_norm_eps));
  if (c.sliding_window < 0 || c.sliding_window > kMaxPositions)
    return bad("config.range", "sliding_window out of range", "sliding_window",
               fmt::format("from 1 to {}", kMaxPositions), std::to_string(c.sliding_window));
  const auto in_vocab = [&](TokenId id) { return id >= 0 && id < c.vocab; };
  if (c.bos && !in_vocab(*c.bos))
    return bad("config.token_id", "token outside the vocabulary", "bos_token_id", fmt::format("below {}", c.vocab),
               std::to_string(*c.bos));
  for (const TokenId id : c.eos)
    if (!in_vocab(id))
      return bad("config.token_id", "token outside the vocabulary", "eos_token_id", fmt::format("below {}", c.vocab),
                 std::to_string(id));
  return check_rope(c.rope);
}

std::vector<double> rope_frequencies(const ModelConfig& config) {
  const RopeConfig& rope = config.rope;
  std::vector<double> frequencies(static_cast<std::size_t>(config.head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    double frequency = std::pow(rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
    if (rope.type == RopeConfig::Type::linear) frequency /= rope.factor;
    if (rope.type == RopeConfig::Type::llama3) {
      // Wavelengths up to original/high stay, those above original/low are stretched by factor, between them linearly.
      const double turns = static_cast<double>(rope.original_max_positions) * frequency / (2 * std::numbers::pi);
      const double smooth =
          std::clamp((turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0.0, 1.0);
      frequency = (1 - smooth) * frequency / rope.factor + smooth * frequency;
    }
    frequencies[i] = frequency;
  }
  return frequencies;
}

RopeTables rope_tables(const ModelConfig& config, std::int64_t positions) {
  const std::vector<double> frequencies = rope_frequencies(config);
  RopeTables tables;
  tables.cos.reserve(frequencies.size() * static_cast<std::size_t>(positions));
  tables.sin.reserve(tables.cos.capacity());
  for (std::int64_t position = 0; position < positions; ++position)
    for (const double frequency : frequencies) {
      tables.cos.push_back(static_cast<float>(std::cos(static_cast<double>(position) * frequency)));
      tables.sin.push_back(static_cast<float>(std::sin(static_cast<double>(position) * frequency)));
    }
  return tables;
}

}  // namespace rl::model
