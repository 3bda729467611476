#pragma once
// The check of fused products: the bits that the ops they stand for give one after the other, each by the variant that
// the catalogue would choose; those have their own checks against the oracle (check_variant.h).

#include "selftest/check_variant.h"

namespace rl::selftest {

namespace detail {

inline std::vector<TensorRef> outputs(const ops::FusedLinearArgs& args) {
  if (args.silu_mul) return {args.silu_mul->out};
  if (!args.rope_append) return {args.product.out};
  const ops::RopeAppendArgs& rope = *args.rope_append;
  TensorRef q = args.product.out;
  q.shape[1] = rope.heads * rope.head_dim;
  return {q, rope.cache.k, rope.cache.v};
}

// Rows that may have gaps.
inline bool same_rows(const TensorRef& a, const TensorRef& b) {
  const std::int64_t row = a.elements() / a.shape[0] * size_of(a.dtype), stride = a.strides[0] * size_of(a.dtype);
  for (std::int64_t r = 0; r < a.shape[0]; ++r)
    if (std::memcmp(a.as<const char>() + r * stride, b.as<const char>() + r * stride, static_cast<std::size_t>(row)) !=
        0)
      return false;
  return true;
}

// One op of a chain, by the first variant that supports it.
template <class Args>
Status launch_first(std::span<const ops::Variant<Args>> variants, const Args& args, const Target& target) {
  RL_ASSIGN(const auto* const variant, ops::choose(variants, args, target.arch));
  const Bytes size = variant->workspace(args);
  MemoryResource& memory = target.device != nullptr ? target.device->memory() : host_memory();
  Buffer workspace;
  if (size.count > 0) {
    RL_ASSIGN(workspace, Buffer::make(memory, size));
  }
  RL_TRY(variant->launch(args, workspace.data(), target.stream));
  return target.stream.synchronize();
}

inline Status launch_parts(const ops::Catalog& catalog, const ops::FusedLinearArgs& args, const Target& target) {
  if (args.norm) RL_TRY(launch_first(catalog.rms_norm, *args.norm, target));
  RL_TRY(launch_first(catalog.linear, args.product, target));
  if (args.silu_mul) RL_TRY(launch_first(catalog.silu_mul, *args.silu_mul, target));
  if (args.rope_append) RL_TRY(launch_first(catalog.rope_append, *args.rope_append, target));
  return ok();
}

inline std::string name_of(const ops::FusedTypes& types) {
  return fmt::format("{} x {}{}, cache {}", rl::name_of(types.activation), name_of(types.format),
                     types.codes ? " as codes" : "", rl::name_of(types.cache));
}

}  // namespace detail

inline Report check_fused(const ops::Variant<ops::FusedLinearArgs>& variant, const ops::Catalog& catalog,
                          const Target& target, unsigned tags) {
  Report report;
  const auto check = [&](const ops::FusedLinearCase& c, const ops::FusedTypes& types) -> Status {
    RL_ASSIGN(const auto fused, ops::make_inputs(c, types));
    RL_TRY(ops::validate(fused.args));
    if (!variant.supports(fused.args, target.arch)) return ok();
    ++report.checked;
    RL_TRY(detail::launch(variant, fused.args, fused.memory, target));
    RL_TRY(fused.memory.check_guards());
    RL_ASSIGN(const auto parts, ops::make_inputs(c, types));
    if (target.device == nullptr) {
      RL_TRY(detail::launch_parts(catalog, parts.args, target));
    } else {
      RL_ASSIGN(const ops::CaseMirror there, ops::CaseMirror::make(*target.device, target.stream, parts.memory));
      RL_TRY(detail::launch_parts(catalog, there.there(parts.args), target));
      RL_TRY(there.bring_back(target.stream));
    }
    const std::vector<TensorRef> got = detail::outputs(fused.args), expected = detail::outputs(parts.args);
    for (std::size_t i = 0; i < got.size(); ++i)
      report.expect(detail::same_rows(got[i], expected[i]),
                    fmt::format("output {} has other bits than the ops one after the other", i));
    return ok();
  };
  for (const ops::FusedLinearCase& c : ops::kFusedLinearCases)
    for (const ops::FusedTypes& types : ops::kFusedTypes) {
      if ((c.tags & tags) == 0) continue;
      if (report.seen++ % target.parts != target.part) continue;
      report.context = variant.name + detail::trace(c, detail::name_of(types));
      if (const Status done = check(c, types); !done) report.expect(done);
    }
  return report;
}

}  // namespace rl::selftest
