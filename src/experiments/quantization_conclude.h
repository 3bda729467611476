#pragma once
// What the rows and comparisons of the experiment `quantization` say: hypotheses, headline, charts.

#include <string>
#include <string_view>

#include "record/record.h"

namespace rl::experiments {

// Names in the record that the measuring and the concluding side share.
inline constexpr const char* kBaseline = "bf16";     // of quality, and of speed on a CPU
inline constexpr const char* kGpuBaseline = "fp16";  // of speed on a GPU: the plan's words
inline constexpr const char* kPlanShape = "synthetic:llama-2-7b";
inline constexpr const char *kPrefill = "time of a 512-token prefill", *kDecoding = "time of a decoded token at 512";
inline constexpr const char *kMaxKld = "max_kld_allowed", *kMaxPplLoss = "ppl_loss_allowed";
std::string format_at(std::string_view format, std::string_view shape);  // "fp8, given": a side of a comparison

void conclude_formats(record::Experiment& record);

}  // namespace rl::experiments
