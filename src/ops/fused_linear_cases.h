#pragma once
// Cases of fused_linear; each is run in all of kFusedTypes.

#include "ops/case.h"
#include "quant/packed_weight.h"

namespace rl::ops {

struct FusedLinearCase {
  enum class After { nothing, silu_mul, rope_append };
  const char* name;
  unsigned tags;
  std::int64_t tokens, cols;
  bool norm;
  After after = After::nothing;
  std::int64_t rows = 0;                               // with nothing after: of W; with silu_mul: half of them
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;  // with rope_append
  bool bias = false, accumulate = false;
  std::int64_t picked = 0;  // > 0: the norm picks that many rows of `tokens`, as for the head
};

struct FusedTypes {
  DType activation;
  quant::Format format;
  bool codes = false;  // x is codes, written by the norm if there is one; else a W8A8 product quantises
  DType cache = activation;
};
inline constexpr FusedTypes kFusedTypes[] = {
    {DType::bf16, quant::Format::bf16},
    {DType::f16, quant::Format::f16},
    {DType::bf16, quant::Format::int8, true},
    {DType::bf16, quant::Format::fp8, true, DType::f8_e4m3},
    {DType::f16, quant::Format::fp8, true},
    {DType::bf16, quant::Format::int8},
    {DType::f16, quant::Format::fp8_tensor},
    {DType::bf16, quant::Format::int8_wo},
    {DType::bf16, quant::Format::fp8_wo, false, DType::f8_e4m3},
    {DType::f16, quant::Format::int8_wo},
    {DType::f16, quant::Format::fp8_wo},
};

inline constexpr FusedLinearCase kFusedLinearCases[] = {
    {"norm", kQuick | kSanitize, 1, 64, true, FusedLinearCase::After::nothing, 40},
    {"norm.bias", kQuick | kSanitize, 3, 176, true, FusedLinearCase::After::nothing, 72, 0, 0, 0, true},
    {"norm.accumulate", kQuick | kSanitize, 2, 176, true, FusedLinearCase::After::nothing, 33, 0, 0, 0, false, true},
    {"norm.picked", kQuick | kSanitize, 9, 96, true, FusedLinearCase::After::nothing, 100, 0, 0, 0, false, false, 3},
    {"silu_mul", kQuick | kSanitize, 1, 96, false, FusedLinearCase::After::silu_mul, 24},
    {"norm.silu_mul", kQuick | kSanitize, 4, 144, true, FusedLinearCase::After::silu_mul, 40},
    {"rope", kQuick | kSanitize, 1, 96, false, FusedLinearCase::After::rope_append, 0, 3, 1, 16},
    {"norm.rope", kQuick | kSanitize, 4, 144, true, FusedLinearCase::After::rope_append, 0, 4, 2, 48},
    {"norm.rope.bias", kQuick | kSanitize, 2, 272, true, FusedLinearCase::After::rope_append, 0, 2, 2, 32, true},
    {"silu_mul.eight", kQuick | kSanitize, 8, 96, false, FusedLinearCase::After::silu_mul, 24},
    {"rope.six", kQuick | kSanitize, 6, 96, false, FusedLinearCase::After::rope_append, 0, 3, 1, 16},
    {"silu_mul.batch.eight", kQuick | kSanitize, 8, 256, false, FusedLinearCase::After::silu_mul, 40},
    {"rope.batch.five", kQuick | kSanitize, 5, 128, false, FusedLinearCase::After::rope_append, 0, 3, 1, 16, true},
    {"silu_mul.batch", kQuick | kSanitize, 13, 128, false, FusedLinearCase::After::silu_mul, 40},
    {"rope.batch", kQuick | kSanitize, 20, 64, false, FusedLinearCase::After::rope_append, 0, 4, 2, 48, true},
    {"rope.batch.most", kQuick, 32, 192, false, FusedLinearCase::After::rope_append, 0, 3, 1, 80},
    {"demo.qkv", kQuick, 1, kDemo.hidden, true, FusedLinearCase::After::rope_append, 0, kDemo.heads, kDemo.kv_heads,
     kDemo.head_dim},
    {"demo.gate_up", kQuick, 3, kDemo.hidden, true, FusedLinearCase::After::silu_mul, kDemo.ffn},
    {"demo.head", kQuick, 2, kDemo.hidden, true, FusedLinearCase::After::nothing, kDemo.vocab},
    {"llama-3.2-1b.qkv", kQuick, 4, kLlama1b.hidden, true, FusedLinearCase::After::rope_append, 0, kLlama1b.heads,
     kLlama1b.kv_heads, kLlama1b.head_dim},
    {"llama-3-8b.qkv", kLong, 1, kLlama8b.hidden, true, FusedLinearCase::After::rope_append, 0, kLlama8b.heads,
     kLlama8b.kv_heads, kLlama8b.head_dim},
    {"llama-3-8b.gate_up", kLong, 2, kLlama8b.hidden, true, FusedLinearCase::After::silu_mul, kLlama8b.ffn},
    {"llama-3-8b.gate_up.eight", kLong, 8, kLlama8b.hidden, false, FusedLinearCase::After::silu_mul, kLlama8b.ffn},
    {"llama-3.2-1b.gate_up.batch", kLong, 16, kLlama1b.hidden, false, FusedLinearCase::After::silu_mul, kLlama1b.ffn},
    {"llama-3-8b.qkv.batch", kLong, 32, kLlama8b.hidden, false, FusedLinearCase::After::rope_append, 0, kLlama8b.heads,
     kLlama8b.kv_heads, kLlama8b.head_dim},
    {"llama-3-8b.gate_up.batch", kLong, 23, kLlama8b.hidden, false, FusedLinearCase::After::silu_mul, kLlama8b.ffn},
    {"rope.batch.rows", kLong, 12, 128, false, FusedLinearCase::After::rope_append, 0, 40, 40, 160, true},
    {"silu_mul.batch.tiles", kLong, 30, 128, false, FusedLinearCase::After::silu_mul, 20000, 0, 0, 0, true},
    {"widest_norm", kLong, 3, 8192, true, FusedLinearCase::After::silu_mul, 1000},
};

}  // namespace rl::ops
