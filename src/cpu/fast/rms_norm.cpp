// rms_norm, a row at a time: sum of squares in float over 4 vectors, then one more pass over the row, which is in L1.

#include "cpu/fast/simd_rows.h"
#include "cpu/fast/variants.h"

namespace rl::cpu {
namespace {

Status launch(const ops::RmsNormArgs& args, void*, Stream& stream) {
  const SmallOps& kernels = small_ops(stream);
  const std::int64_t hidden = args.x.shape[1];
  const auto* const x = args.x.as<const float>();
  const auto* const weight = args.weight.as<const float>();
  const std::int32_t* const picked = args.rows ? args.rows.as<const std::int32_t>() : nullptr;
  auto* const out = static_cast<char*>(args.out.data);
  for_rows(stream, args.out.shape[0], hidden, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t row = picked ? picked[i] : i;
      kernels.rms_norm(x + row * hidden, weight, hidden, args.eps, out + i * hidden * size_of(args.out.dtype),
                       number_of(args.out.dtype));
    }
  });
  return ok();
}

Status supports(const ops::RmsNormArgs& args, const Arch& arch) {
  if (args.scales) return no_codes();
  return supports_any_cpu(args, arch);
}

constexpr ops::Variant<ops::RmsNormArgs> kVariants[] = {
    {"rms_norm/cpu.simd", kRowFacts, supports, no_workspace, launch}};

}  // namespace

std::span<const ops::Variant<ops::RmsNormArgs>> rms_norm_variants() { return kVariants; }

}  // namespace rl::cpu
