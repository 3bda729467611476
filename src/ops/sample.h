#pragma once
// sample: the next token of each row of logits. The order of the filters is that of the field (transformers, vLLM):
// repetition penalty, temperature, top-k, top-p, min-p, then a draw from what is left. The random number is a function
// of (seed, counter) alone, so a sequence's tokens do not depend on its neighbours in the batch.
//
// Exactly, with l the row's logits as floats:
//   1. each token in the history, once: l = l / penalty if l > 0, else l * penalty, in float.
//   2. a NaN among them, or no finite one: the result is -1.
//   3. candidates are the tokens with l > -infinity, by descending l, equal ones by ascending id.
//      temperature 0: the first of them.
//   4. w = exp((l - l_first) / temperature), in double; 1 where l = l_first.
//   5. top_k: the first k. top_p: the fewest from the front whose sum of w reaches top_p times the sum of all left by
//      top_k, at least one. min_p: those with w >= min_p. Sums run in the candidates' order, in double.
//   6. u = num::uniform(seed, counter) in [0, 1): the first candidate whose sum of w, its own included, exceeds u times
//      the sum of all that are left.

#include <cstdint>

#include "base/result.h"
#include "tensor/tensor.h"

namespace rl::ops {

// One row's wishes. Plain values that a kernel reads.
struct SampleRow {
  float temperature = 0;         // 0: the largest logit after the penalty, the lowest id among equals
  std::int32_t top_k = 0;        // 0: off
  float top_p = 1;               // 1: off; else the smallest set of most likely tokens whose probability reaches top_p
  float min_p = 0;               // 0: off; else tokens of at least min_p times the largest probability
  float repetition_penalty = 1;  // 1: off; of tokens in the history: logit / penalty if positive, else logit * penalty
  std::uint64_t seed = 0;
  std::uint64_t counter = 0;  // index of the token within its request
  // Its part of SampleArgs::history; ids outside the vocabulary count for nothing.
  std::int32_t history_begin = 0, history_end = 0;
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
