#pragma once
// Cases of sample. Each row gets its own seed and counter.

#include "ops/case.h"

namespace rl::ops {

enum class LogitKind {
  normal,        // a normal distribution, of deviation 3
  ties,          // only a few distinct values: the order among equals decides
  flat,          // all equal
  masked,        // most are -infinity
  nan,           // row 0 holds one NaN
  none_finite,   // row 0 is -infinity throughout
  with_infinity  // row 0 holds one +infinity
};

struct SampleCase {
  const char* name;
  unsigned tags;
  std::int64_t rows, vocab;
  LogitKind logits = LogitKind::normal;
  float temperature = 0;
  std::int32_t top_k = 0;
  float top_p = 1, min_p = 0, repetition_penalty = 1;
  std::int32_t history = 0;  // tokens of history per row, some of them repeated
};

inline constexpr SampleCase kSampleCases[] = {
    {"greedy.one", kQuick | kSanitize, 1, 1},
    {"greedy.odd", kQuick | kSanitize, 5, 1003},
    {"greedy.ties", kQuick | kSanitize, 6, 517, LogitKind::ties},
    {"greedy.flat", kQuick | kSanitize, 2, 65, LogitKind::flat},
    {"greedy.nan", kQuick | kSanitize, 3, 200, LogitKind::nan},
    {"greedy.none_finite", kQuick | kSanitize, 3, 200, LogitKind::none_finite},
    {"greedy.infinity", kQuick | kSanitize, 3, 200, LogitKind::with_infinity},
    {"greedy.penalty", kQuick | kSanitize, 8, 333, LogitKind::ties, 0, 0, 1, 0, 1.3f, 40},
    {"temperature", kQuick | kSanitize, 16, 1003, LogitKind::normal, 0.8f},
    {"temperature.high", kQuick | kSanitize, 16, 129, LogitKind::normal, 100},
    {"temperature.tiny", kQuick | kSanitize, 4, 129, LogitKind::normal, 1e-30f},
    {"temperature.nan", kQuick | kSanitize, 3, 129, LogitKind::nan, 1},
    {"temperature.none_finite", kQuick | kSanitize, 3, 129, LogitKind::none_finite, 1},
    {"temperature.infinity", kQuick | kSanitize, 3, 129, LogitKind::with_infinity, 1},
    {"temperature.flat", kQuick | kSanitize, 32, 257, LogitKind::flat, 1},
    {"top_k_1", kQuick | kSanitize, 8, 511, LogitKind::ties, 1, 1},
    {"top_k", kQuick | kSanitize, 16, 1003, LogitKind::normal, 1, 40},
    {"top_k.ties", kQuick | kSanitize, 16, 513, LogitKind::ties, 1, 10},
    {"top_k_beyond_vocab", kQuick | kSanitize, 8, 31, LogitKind::normal, 1, 1000},
    {"top_p", kQuick | kSanitize, 16, 1003, LogitKind::normal, 1, 0, 0.9f},
    {"top_p.tiny", kQuick | kSanitize, 4, 100, LogitKind::normal, 1, 0, 1e-6f},
    {"top_p.flat", kQuick | kSanitize, 16, 64, LogitKind::flat, 1, 0, 0.5f},
    {"min_p", kQuick | kSanitize, 16, 1003, LogitKind::normal, 1, 0, 1, 0.05f},
    {"masked", kQuick | kSanitize, 8, 1003, LogitKind::masked, 1, 0, 0.95f},
    {"all_filters", kQuick | kSanitize, 16, 1003, LogitKind::normal, 0.7f, 50, 0.9f, 0.02f, 1.1f, 64},
    {"demo", kQuick, 4, kDemo.vocab, LogitKind::normal, 0.8f, 40, 0.95f, 0, 1.1f, 128},
    {"llama-3.greedy", kQuick, 2, kLlama8b.vocab},
    {"llama-3", kQuick, 2, kLlama8b.vocab, LogitKind::normal, 0.8f, 0, 0.95f},
    {"llama-3.hot", kQuick, 2, kLlama8b.vocab, LogitKind::normal, 4, 0, 0.99f},
    {"llama-3.top_k", kQuick, 2, kLlama8b.vocab, LogitKind::normal, 0.8f, 40, 0.95f},
    {"llama-3.min_p", kQuick, 2, kLlama8b.vocab, LogitKind::normal, 1.2f, 3000, 0.9f, 0.1f},
    {"llama-3.no_filter", kQuick, 2, kLlama8b.vocab, LogitKind::normal, 1},
    {"llama-3.ties", kQuick, 2, kLlama8b.vocab, LogitKind::ties, 2, 5000, 0.9f},
    {"llama-3.flat", kQuick, 2, kLlama8b.vocab, LogitKind::flat, 1, 0, 0.5f},
    {"llama-3.batch", kLong, 64, kLlama8b.vocab, LogitKind::normal, 0.8f, 40, 0.95f, 0.01f, 1.1f, 500},
};

}  // namespace rl::ops
