#pragma once
// The lists of variants of this room, best first; catalog.cpp joins each with cpu/ref's.

#include <span>

#include "cpu/fast/number.h"
#include "ops/catalog.h"

namespace rl::cpu {

// Of an activation: ops::validate lets f32, bf16 and f16 in.
constexpr Number number_of(DType type) {
  return type == DType::f32 ? Number::f32 : type == DType::bf16 ? Number::bf16 : Number::f16;
}

std::span<const ops::Variant<ops::LinearArgs>> linear_variants();
std::span<const ops::Variant<ops::LinearArgs>> emulated_linear_variants();
std::span<const ops::Variant<ops::AttentionArgs>> attention_variants();
std::span<const ops::Variant<ops::RmsNormArgs>> rms_norm_variants();
std::span<const ops::Variant<ops::RopeAppendArgs>> rope_append_variants();
std::span<const ops::Variant<ops::EmbedArgs>> embed_variants();
std::span<const ops::Variant<ops::SiluMulArgs>> silu_mul_variants();
std::span<const ops::Variant<ops::SampleArgs>> sample_variants();
std::span<const ops::Variant<ops::FeedArgs>> feed_variants();
std::span<const ops::Variant<ops::DeliverArgs>> deliver_variants();

}  // namespace rl::cpu
