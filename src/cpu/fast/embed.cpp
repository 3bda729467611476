// embed: rows of the table, converted to float. A row of a panel64 table is spread over its panel, 4 bytes in every
// 256: its pieces are gathered side by side first.

#include "cpu/fast/simd_rows.h"
#include "cpu/fast/variants.h"

namespace rl::cpu {
namespace {

using quant::Format;

void widen(const SmallOps& kernels, const quant::PackedWeight& table, std::int64_t row, const void* in, std::int64_t n,
           float* out) {
  switch (table.format) {
    case Format::f32:
      std::memcpy(out, in, static_cast<std::size_t>(n) * sizeof(float));
      return;
    case Format::bf16:
      return kernels.widen_bf16(static_cast<const std::uint16_t*>(in), n, out);
    case Format::f16:
      return kernels.widen_f16(static_cast<const num::fp16*>(in), n, out);
    case Format::int8:
      return kernels.widen_int8(static_cast<const std::int8_t*>(in), n, table.scales[row], out);
    default:
      RL_CHECK_MSG(false, "ops::validate lets no other table in");
  }
}

void embed_row(const SmallOps& kernels, const quant::PackedWeight& table, std::int64_t row, float* out) {
  const std::int64_t element_bytes = size_of(quant::element_type(table.format));
  const auto* const data = static_cast<const char*>(table.data);
  if (table.layout == quant::Layout::row_major)
    return widen(kernels, table, row, data + row * table.padded_cols * element_bytes, table.cols, out);

  constexpr std::int64_t kPanelRows = 64, kGroupBytes = 4, kGroups = 256;
  const std::int64_t group_cols = kGroupBytes / element_bytes;  // neighbours in one row of a panel
  const char* const panel = data + row / kPanelRows * kPanelRows * table.padded_cols * element_bytes;
  for (std::int64_t col = 0; col < table.cols; col += kGroups * group_cols) {
    const std::int64_t cols = std::min(kGroups * group_cols, table.cols - col);
    char gathered[kGroups * kGroupBytes];
    const char* from = panel + (col / group_cols * kPanelRows + row % kPanelRows) * kGroupBytes;
    for (std::int64_t i = 0; i < (cols + group_cols - 1) / group_cols; ++i, from += kPanelRows * kGroupBytes)
      std::memcpy(gathered + i * kGroupBytes, from, kGroupBytes);
    widen(kernels, table, row, gathered, cols, out + col);
  }
}

Status launch(const ops::EmbedArgs& args, void*, Stream& stream) {
  const SmallOps& kernels = small_ops(stream);
  const auto* const ids = args.ids.as<const std::int32_t>();
  const std::int64_t hidden = args.table.cols;
  for_rows(stream, args.ids.shape[0], hidden, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i)
      embed_row(kernels, args.table, ids[i], args.out.as<float>() + i * hidden);
  });
  return ok();
}

constexpr ops::Variant<ops::EmbedArgs> kVariants[] = {
    {"embed/cpu.simd", kRowFacts, supports_any_cpu, no_workspace, launch}};

}  // namespace

std::span<const ops::Variant<ops::EmbedArgs>> embed_variants() { return kVariants; }

}  // namespace rl::cpu
