#pragma once
// `redline generate`: text from a prompt, streamed as it comes, then what it cost.

#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "ops/catalog.h"

namespace rl::app {

struct GenerateOptions {
  std::string model;
  std::string prompt;
  std::string file;  // the prompt from a file instead
  std::int64_t max_tokens = 128;
  float temperature = 0;
  std::int32_t top_k = 0;
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  std::uint64_t seed = 0;
  std::vector<std::string> stop;
  bool ignore_eos = false;
  std::int64_t ctx = 0;                      // tokens of context; 0: what prompt and answer need
  std::string format = "bf16";               // engine::format_from
  std::string kv_cache = "auto";             // engine::kv_cache_type_from
  std::map<std::string, std::string> force;  // op -> variant
  bool json = false;
};

// Text goes to `out` piece by piece, and the figures to standard error; or, with json, one object to `out`: prompt_n,
// prompt_ms, predicted_n, predicted_ms, ttft_ms, tpot_ms, tokens_per_second, bytes_per_token, read_bandwidth_share,
// fits_in_cache (the share is then of another level, and can exceed 1), finish_reason, text, ids, path, ...
// (docs/cli.md). bandwidth measures the machine's by the name of a probe and is called after
// generation; if it fails, the share is left out. Errors: usage, those of loading, invalid_input for the prompt or
// parameters, io.
Status cmd_generate(const GenerateOptions& options, const ops::Backend& backend,
                    const std::function<Result<BytesPerSecond>(const char* probe)>& bandwidth, std::FILE* out);

}  // namespace rl::app
