#pragma once
// The lists of variants, best first, by the files that make them; catalog.cpp puts them together.

#include <span>

#include "cuda/kernels/rows/rows.h"
#include "ops/catalog.h"

namespace rl::cuda {

std::span<const ops::Variant<ops::LinearArgs>> linear_variants();
std::span<const ops::Variant<ops::FusedLinearArgs>> fused_linear_variants();
std::span<const ops::Variant<ops::AttentionArgs>> attention_variants();
std::span<const ops::Variant<ops::EmbedArgs>> embed_variants();
std::span<const ops::Variant<ops::RmsNormArgs>> rms_norm_variants();
std::span<const ops::Variant<ops::RopeAppendArgs>> rope_append_variants();
std::span<const ops::Variant<ops::SiluMulArgs>> silu_mul_variants();
std::span<const ops::Variant<ops::SampleArgs>> sample_variants();
std::span<const ops::Variant<ops::FeedArgs>> feed_variants();
std::span<const ops::Variant<ops::DeliverArgs>> deliver_variants();

// What the kernels of these ops take; products that take the ops in want it as well.
RmsNormParams norm_params(const ops::RmsNormArgs& args);
RopeAppendParams rope_params(const ops::RopeAppendArgs& args);

template <class Args>
Bytes no_workspace(const Args&) {
  return {};
}

// Parts of supports(): success if `holds`, else the reason.
inline Status need(bool holds, const char* why) {
  if (holds) return ok();
  return Error{.kind = ErrorKind::unsupported, .what = why};
}
inline Status need_cuda(const Arch& arch, int version = 80) {
  RL_TRY(need(arch.family == Arch::Family::cuda, "runs on a GPU only"));
  return need(arch.version >= version, "needs a newer compute capability");
}

}  // namespace rl::cuda
