#pragma once
// Cases of linear, and the combinations of types each is run with.

#include "ops/case.h"
#include "quant/packed_weight.h"
#include "tensor/dtype.h"

namespace rl::ops {

struct LinearCase {
  const char* name;
  unsigned tags;
  std::int64_t tokens, rows, cols;
  bool bias = false, accumulate = false;
  std::int64_t x_stride = 0;                      // between rows of x; 0: cols
  std::int64_t check_tokens = 0, check_rows = 0;  // how many the oracle computes; 0: all
};

struct LinearTypes {
  DType x;
  quant::Format format;
  DType out;
};

inline constexpr LinearTypes kLinearTypes[] = {
    {DType::f32, quant::Format::f32, DType::f32},
    {DType::f32, quant::Format::bf16, DType::f32},
    {DType::f32, quant::Format::f16, DType::f32},
    {DType::f32, quant::Format::int8, DType::f32},
    {DType::bf16, quant::Format::bf16, DType::bf16},
    {DType::bf16, quant::Format::bf16, DType::f32},
    {DType::bf16, quant::Format::f16, DType::bf16},
    {DType::bf16, quant::Format::int8, DType::bf16},
    {DType::bf16, quant::Format::int8, DType::f32},
    {DType::bf16, quant::Format::f32, DType::f32},
    {DType::f32, quant::Format::bf16, DType::bf16},
    {DType::bf16, quant::Format::fp8, DType::bf16},
    {DType::bf16, quant::Format::fp8, DType::f32},
    {DType::f32, quant::Format::fp8, DType::f32},
    {DType::bf16, quant::Format::fp8_tensor, DType::f32},
    {DType::bf16, quant::Format::fp8_block, DType::f32},
    {DType::bf16, quant::Format::fp8_block, DType::bf16},
    {DType::bf16, quant::Format::int8_wo, DType::f32},
    {DType::bf16, quant::Format::fp8_wo, DType::f32},
    {DType::f32, quant::Format::fp8_wo, DType::bf16},
    {DType::f16, quant::Format::f16, DType::f16},
    {DType::f16, quant::Format::f16, DType::f32},
    {DType::f16, quant::Format::int8, DType::f16},
    {DType::f16, quant::Format::fp8, DType::f16},
    {DType::f16, quant::Format::bf16, DType::f32},
    // x comes as codes.
    {DType::i8, quant::Format::int8, DType::bf16},
    {DType::i8, quant::Format::int8, DType::f32},
    {DType::f8_e4m3, quant::Format::fp8, DType::bf16},
    {DType::f8_e4m3, quant::Format::fp8_tensor, DType::f32},
    {DType::f8_e4m3, quant::Format::fp8_block, DType::f32},
    {DType::f8_e4m3, quant::Format::fp8, DType::f16},
};

// Accumulation is in f32 only.
constexpr bool takes(const LinearCase& c, const LinearTypes& types) { return !c.accumulate || types.out == DType::f32; }

inline constexpr LinearCase kLinearCases[] = {
    {"one", kQuick | kSanitize, 1, 1, 1},
    {"decode_odd", kQuick | kSanitize, 1, 67, 37},
    {"odd", kQuick | kSanitize, 5, 131, 97},
    {"below_tile", kQuick | kSanitize, 15, 63, 31},
    {"tile", kQuick | kSanitize, 16, 64, 32},
    {"above_tile", kQuick | kSanitize, 17, 65, 33},
    {"short_cols", kQuick | kSanitize, 3, 128, 3},
    {"bias", kQuick | kSanitize, 4, 96, 64, true},
    {"accumulate", kQuick | kSanitize, 4, 96, 64, false, true},
    {"bias_accumulate", kQuick | kSanitize, 33, 70, 50, true, true},
    {"strided_x", kQuick | kSanitize, 6, 80, 48, true, false, 61},
    {"batch", kQuick | kSanitize, 21, 37, 192},
    {"batch.bias_accumulate", kQuick | kSanitize, 64, 70, 128, true, true},
    {"batch.strided_x", kQuick | kSanitize, 9, 83, 64, false, false, 72},
    {"tiles.bias_accumulate", kQuick | kSanitize, 130, 144, 48, true, true, 0, 9, 0},
    {"tiles.strided_x", kQuick | kSanitize, 140, 16, 144, false, false, 176, 20, 0},
    {"demo.qkv", kQuick, 1, kDemo.qkv_rows(), kDemo.hidden},
    {"demo.qkv.prefill", kQuick, 70, kDemo.qkv_rows(), kDemo.hidden, false, false, 0, 9, 0},
    {"demo.gate_up", kQuick, 3, 2 * kDemo.ffn, kDemo.hidden},
    {"demo.down", kQuick, 13, kDemo.hidden, kDemo.ffn, false, true},
    {"demo.head", kQuick, 1, kDemo.vocab, kDemo.hidden},
    {"odd_vocab", kQuick, 2, 4099, 64},
    {"llama-3.2-1b.qkv", kQuick, 1, kLlama1b.qkv_rows(), kLlama1b.hidden, false, false, 0, 0, 200},
    {"llama-3.2-1b.out", kQuick, 9, kLlama1b.hidden, kLlama1b.hidden, false, true, 0, 3, 100},
    {"llama-3.2-1b.gate_up", kLong, 64, 2 * kLlama1b.ffn, kLlama1b.hidden, false, false, 0, 4, 200},
    {"llama-3.2-1b.down", kLong, 64, kLlama1b.hidden, kLlama1b.ffn, false, true, 0, 4, 200},
    {"llama-3.2-1b.head", kLong, 1, kLlama1b.vocab, kLlama1b.hidden, false, false, 0, 0, 400},
    {"llama-3-8b.out.batch", kLong, 33, kLlama8b.hidden, kLlama8b.hidden, false, true, 0, 3, 200},
    {"llama-3-8b.qkv.batch", kLong, 64, kLlama8b.qkv_rows(), kLlama8b.hidden, false, false, 0, 3, 200},
    {"llama-3-8b.gate_up.batch", kLong, 16, 2 * kLlama8b.ffn, kLlama8b.hidden, false, false, 0, 3, 200},
    {"llama-3-8b.head.batch", kLong, 40, kLlama8b.vocab, kLlama8b.hidden, false, false, 0, 2, 300},
    {"llama-3-8b.qkv", kLong, 128, kLlama8b.qkv_rows(), kLlama8b.hidden, false, false, 0, 4, 200},
    {"llama-3-8b.gate_up", kLong, 1, 2 * kLlama8b.ffn, kLlama8b.hidden, false, false, 0, 0, 200},
    {"llama-3-8b.gate_up.prefill", kLong, 300, 2 * kLlama8b.ffn, kLlama8b.hidden, false, false, 0, 4, 50},
    {"llama-3-8b.down", kLong, 512, kLlama8b.hidden, kLlama8b.ffn, false, true, 0, 4, 100},
};

}  // namespace rl::ops
