// silu_mul, a row at a time.

#include "cpu/fast/simd_rows.h"
#include "cpu/fast/variants.h"

namespace rl::cpu {
namespace {

Status launch(const ops::SiluMulArgs& args, void*, Stream& stream) {
  const SmallOps& kernels = small_ops(stream);
  const std::int64_t ffn = args.out.shape[1], bytes = ffn * size_of(args.out.dtype);
  const auto* const gate_up = static_cast<const char*>(args.gate_up.data);
  auto* const out = static_cast<char*>(args.out.data);
  for_rows(stream, args.out.shape[0], ffn, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const char* const gate = gate_up + 2 * i * bytes;
      kernels.silu_mul(gate, gate + bytes, ffn, out + i * bytes, number_of(args.out.dtype));
    }
  });
  return ok();
}

Status supports(const ops::SiluMulArgs& args, const Arch& arch) {
  if (args.scales) return no_codes();
  return supports_any_cpu(args, arch);
}

constexpr ops::Variant<ops::SiluMulArgs> kVariants[] = {
    {"silu_mul/cpu.simd", kRowFacts, supports, no_workspace, launch}};

}  // namespace

std::span<const ops::Variant<ops::SiluMulArgs>> silu_mul_variants() { return kVariants; }

}  // namespace rl::cpu
