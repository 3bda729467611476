#pragma once
// What a user asks of the engine, and what comes back.

#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/units.h"

namespace rl::engine {

struct SamplingParams {
  float temperature = 0;  // 0: greedy
  std::int32_t top_k = 0;
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  std::uint64_t seed = 0;
};
Status validate(const SamplingParams& params);  // errors: invalid_input, rule "sampling.<field>"

struct Request {
  std::vector<TokenId> prompt;
  SamplingParams sampling;
  std::int64_t max_tokens = 128;    // generated; ends earlier at the context's end
  std::vector<TokenId> stop_ids;    // end of generation, usually the model's eos; empty: none
  std::optional<Seconds> deadline;  // of the monotonic clock: what is not done then ends with FinishReason::timeout
};

enum class FinishReason { stop, length, cancelled, timeout, error };
const char* name_of(FinishReason reason);

struct TokenEvent {
  RequestId request;
  TokenId token = -1;                    // -1: none with this event (cancelled, timeout, error)
  std::int64_t index = 0;                // of the token within the request
  Seconds time;                          // when the engine had it (monotonic clock)
  std::optional<FinishReason> finished;  // set on a request's last event; a stop token is reported with it
};

}  // namespace rl::engine
