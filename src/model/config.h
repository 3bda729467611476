#pragma once
// ModelConfig: one form for what config.json says, whichever spelling it uses.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/ids.h"
#include "base/result.h"

namespace rl::model {

enum class Family { llama, mistral, qwen2, qwen3 };
const char* name_of(Family family);

struct RopeConfig {
  enum class Type { none, linear, llama3 } type = Type::none;
  double theta = 10000;
  double factor = 1;                        // linear, llama3
  double low_freq_factor = 1;               // llama3
  double high_freq_factor = 4;              // llama3
  std::int64_t original_max_positions = 0;  // llama3
};

struct ModelConfig {
  Family family = Family::llama;
  std::int64_t hidden = 0, ffn = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, vocab = 0;
  std::int64_t max_positions = 0;
  double rms_norm_eps = 1e-6;
  RopeConfig rope;
  std::int64_t sliding_window = 0;  // 0: none
  bool tied_head = false;
  bool qkv_bias = false;  // Qwen2; Llama with attention_bias
  bool out_bias = false;  // Llama with attention_bias
  bool qk_norm = false;   // Qwen3
  std::optional<TokenId> bos;
  std::vector<TokenId> eos;
  std::string declared_dtype;         // "bfloat16" or empty; informational: each tensor's own type counts
  std::vector<std::string> warnings;  // what is odd in the file but changes nothing here: for the log

  std::int64_t parameters() const;  // of the weights, a tied head once
};

// Reads config.json (and generation_config.json for end tokens, if present). Errors: invalid_input with rule, field and
// offset; unsupported for a family or a field value that would change the result and is not implemented, by name.
Result<ModelConfig> read_config(const FileSet& files);

// Sizes that no weights can have, or that no engine could hold: what a generated or edited config is checked for, and
// read_config too. Errors: invalid_input with rule config.* and the field's name.
Status check_config(const ModelConfig& config);

// config.json in the spelling of transformers 4, which 5 and other engines read as well.
std::string write_config(const ModelConfig& config);

// Angle per position of each pair of elements (i, i + head_dim/2), [head_dim / 2]: theta^(-2i/head_dim), scaled as the
// config asks. linear: Chen et al., "Extending context window ... via positional interpolation", 2023. llama3: the
// formula of Llama 3.1's reference code (`apply_scaling`), as in transformers' modeling_rope_utils.
std::vector<double> rope_frequencies(const ModelConfig& config);

// cos and sin tables [positions, head_dim / 2], angles computed in double.
struct RopeTables {
  std::vector<float> cos, sin;
};
RopeTables rope_tables(const ModelConfig& config, std::int64_t positions);

}  // namespace rl::model
