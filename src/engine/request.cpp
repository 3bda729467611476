#include "engine/request.h"

namespace rl::engine {

const char* name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::cancelled:
      return "cancelled";
    case FinishReason::timeout:
      return "timeout";
    case FinishReason::error:
      return "error";
  }
  return "?";
}

namespace {

Error out_of_range(const char* field, double found, const char* expected) {
  return Error{.kind = ErrorKind::invalid_input,
               .what = fmt::format("{} is out of range", field),
               .rule = fmt::format("sampling.{}", field),
               .field = field,
               .expected = expected,
               .found = fmt::format("{}", found)};
}

}  // namespace

Status validate(const SamplingParams& params) {
  // Written so that a NaN fails.
  if (!(params.temperature >= 0 && params.temperature <= 100))
    return out_of_range("temperature", params.temperature, "0 (greedy) to 100");
  if (params.top_k < 0) return out_of_range("top_k", params.top_k, "0 (off) or more");
  if (!(params.top_p > 0 && params.top_p <= 1)) return out_of_range("top_p", params.top_p, "above 0, at most 1 (off)");
  if (!(params.min_p >= 0 && params.min_p <= 1)) return out_of_range("min_p", params.min_p, "0 (off) to 1");
  if (!(params.repetition_penalty > 0 && params.repetition_penalty <= 100))
    return out_of_range("repetition_penalty", params.repetition_penalty, "above 0, at most 100; 1 is off");
  return ok();
}

}  // namespace rl::engine
