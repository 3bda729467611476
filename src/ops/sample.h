#pragma once
// sample: the next token of each row of logits. The order of the filters is that of the field (transformers, vLLM):
// repetition penalty, temperature, top-k, top-p, min-p, then a draw from what is left. The random number is a function
// of (seed, counter) alone, so a sequence's tokens do not depend on its neighbours in the batch.

#include <cstdint>

#include "base/result.h"
#include "tensor/tensor.h"

namespace rl::ops {

// One row's wishes. Plain values that a kernel reads.
struct SampleRow {
  float temperature = 0;         // 0: the largest logit, the lowest id among equals; the filters below do not apply
  std::int32_t top_k = 0;        // 0: off
  float top_p = 1;               // 1: off; else the smallest set of most likely tokens whose probability reaches top_p
  float min_p = 0;               // 0: off; else tokens of at least min_p times the largest probability
  float repetition_penalty = 1;  // 1: off; of tokens in the history: logit / penalty if positive, else logit * penalty
  std::uint64_t seed = 0;
  std::uint64_t counter = 0;                        // index of the token within its request
  std::int32_t history_begin = 0, history_end = 0;  // its part of SampleArgs::history
};

struct SampleArgs {
  TensorRef logits;                // f32 [rows, vocab]; not changed
  const SampleRow* row = nullptr;  // [rows]
  TensorRef history;               // i32 [n]: prompt and generated tokens of the rows that need them, or null
  TensorRef out;                   // i32 [rows]; -1 where a row's logits hold a NaN or no finite value
};

Status validate(const SampleArgs& args);
double flops(const SampleArgs& args);
double bytes(const SampleArgs& args);

}  // namespace rl::ops
