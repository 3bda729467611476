#include "quant/pack.h"

#include "base/checked.h"
#include "device/memory.h"
#include "num/fp8.h"
#include "num/int8.h"

namespace rl::quant {
namespace {

constexpr std::int64_t kPanelRows = 64;
constexpr std::int64_t kColPad = 32;

// Columns of one row that lie side by side in a panel: 4 bytes' worth.
constexpr std::int64_t group_of(Format format) { return 4 / size_of(element_type(format)); }

// The conversions below are those of num/convert.h written without branches, so that the compiler turns loops over them
// into vector code; a test compares every code.
float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  const std::uint32_t quiet_nan = (bits >> 16) | 0x40;
  return static_cast<std::uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? quiet_nan : rounded);
}

// The exponent is re-biased by an exact multiplication with 2^112, which also normalises subnormals (Fabian Giesen,
// "half to float done quic", 2012).
float from_f16(std::uint16_t half) {
  const float magnitude = std::bit_cast<float>(std::uint32_t{half & 0x7FFFU} << 13) * 0x1p112f;
  const std::uint32_t special = (half & 0x7C00U) == 0x7C00U ? 0x7F800000U : 0U;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | special |
                              (std::uint32_t{half & 0x8000U} << 16));
}

// The same author's float_to_half_rtne: subnormals by adding 0.5, whose last bit is 2^-24, so that the addition itself
// rounds to nearest even; normal numbers by the carry trick of to_bf16.
std::uint16_t to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7FFFFFFF;
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3F000000;
  const std::uint32_t normal = (magnitude - (112U << 23) + 0xFFF + ((magnitude >> 13) & 1)) >> 13;
  const std::uint32_t nan = 0x7E00 | ((magnitude >> 13) & 0x3FF);
  std::uint32_t half = magnitude < (113U << 23) ? subnormal : normal;
  half = magnitude >= (143U << 23) ? 0x7C00U : half;  // 65536 and more; 65520 and more round up to it above
  half = magnitude > 0x7F800000 ? nan : half;
  return static_cast<std::uint16_t>(half | ((bits >> 16) & 0x8000));
}

// e4m3 likewise: subnormals, whose last place is 2^-9, by adding 2^14; saturating.
std::uint8_t to_e4m3(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7FFFFFFF;
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0x1p14f) - 0x46800000;
  const std::uint32_t normal = (magnitude - (120U << 23) + 0x7FFFF + ((magnitude >> 20) & 1)) >> 20;
  std::uint32_t code = magnitude < (121U << 23) ? subnormal : normal;
  code = code > 0x7E ? 0x7E : code;
  code = code | ((bits >> 24) & 0x80);
  return static_cast<std::uint8_t>(magnitude > 0x7F800000 ? 0x7F : code);
}

// num::quantize_fp8, without branches.
void quantize_fp8(std::uint8_t* out, const float* values, float scale, std::int64_t n) {
  if (!(scale > 0)) {
    std::memset(out, 0, static_cast<std::size_t>(n));
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) out[i] = to_e4m3(values[i] / scale);
}

// Elements [0, n) of a source row as floats.
void read_row(float* out, const void* source, DType type, std::int64_t n) {
  if (type == DType::f32) {
    std::memcpy(out, source, static_cast<std::size_t>(n) * 4);
    return;
  }
  const auto* codes = static_cast<const std::uint16_t*>(source);
  if (type == DType::bf16)
    for (std::int64_t i = 0; i < n; ++i) out[i] = from_bf16(codes[i]);
  else
    for (std::int64_t i = 0; i < n; ++i) out[i] = from_f16(codes[i]);
}

// num::quantize_int8, without branches.
void quantize(std::int8_t* out, const float* values, float scale, std::int64_t n) {
  if (!(scale > 0)) {
    std::memset(out, 0, static_cast<std::size_t>(n));
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    float ratio = values[i] / scale;
    ratio = ratio < 127.0f ? ratio : 127.0f;
    ratio = ratio > -127.0f ? ratio : -127.0f;
    out[i] = static_cast<std::int8_t>(std::bit_cast<std::uint32_t>(ratio + 0x1.8p23f));  // rounds to the low bits
  }
}

// Elements [0, n) of a source row in the weight's format. `floats` has room for n values.
void convert_row(void* out, Format format, float scale, const void* source, DType type, std::int64_t n, float* floats) {
  if (element_type(format) == type) {
    std::memcpy(out, source, static_cast<std::size_t>(n * size_of(type)));
    return;
  }
  const auto* values = static_cast<const float*>(source);
  if (type != DType::f32) {
    float* const converted = format == Format::f32 ? static_cast<float*>(out) : floats;
    read_row(converted, source, type, n);
    values = converted;
  }
  auto* const codes = static_cast<std::uint16_t*>(out);
  switch (format) {
    case Format::f32:
      break;
    case Format::bf16:
      for (std::int64_t i = 0; i < n; ++i) codes[i] = to_bf16(values[i]);
      break;
    case Format::f16:
      for (std::int64_t i = 0; i < n; ++i) codes[i] = to_f16(values[i]);
      break;
    case Format::int8:
    case Format::int8_wo:
      quantize(static_cast<std::int8_t*>(out), values, scale, n);
      break;
    case Format::fp8:
    case Format::fp8_tensor:
    case Format::fp8_wo:
    case Format::fp8_block:  // a block's columns at a time
      quantize_fp8(static_cast<std::uint8_t*>(out), values, scale, n);
      break;
  }
}

using Words = std::uint32_t __attribute__((vector_size(16), aligned(4), may_alias));

// Four rows of four 32-bit words become four columns. in: row stride in words; out: column stride in words.
void transpose_4x4(std::uint32_t* out, std::int64_t out_stride, const std::uint32_t* in, std::int64_t in_stride) {
  const auto row = [&](std::int64_t i) { return *reinterpret_cast<const Words*>(in + i * in_stride); };
  const Words a = row(0), b = row(1), c = row(2), d = row(3);
  const Words ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Words cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const auto column = [&](std::int64_t i) -> Words& { return *reinterpret_cast<Words*>(out + i * out_stride); };
  column(0) = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
  column(1) = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
  column(2) = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
  column(3) = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

// The scale of the elements from (row, col) to the end of their block of 128 columns; 0 where the format has none.
float scale_at(const PackedWeight& weight, std::int64_t row, std::int64_t col) {
  switch (scales_of(weight.format)) {
    case Scales::none:
      return 0;
    case Scales::rows:
      return weight.scales[row];
    case Scales::blocks:
      return weight.scales[row / num::kFp8Block * ceil_div(weight.cols, num::kFp8Block) + col / num::kFp8Block];
  }
  return 0;
}

// Packs `rows` rows of one panel, from row `in_panel` of it on. Works through blocks of at most kBlockCols columns of
// all rows, so that each cache line of the panel is completed while it is in the cache.
struct PanelPacker {
  static constexpr std::int64_t kBlockCols = 128;
  static constexpr std::int64_t kMaxBlockWords = kBlockCols;  // f32; narrower formats use less
  alignas(64) std::uint32_t block[kPanelRows][kMaxBlockWords];
  alignas(64) float floats[kBlockCols];

  void pack(const PackedWeight& weight, std::int64_t panel, std::int64_t in_panel, std::int64_t rows,
            const std::byte* source, std::int64_t row_bytes, DType type) {
    const std::int64_t group = group_of(weight.format);
    auto* const words = static_cast<std::uint32_t*>(weight.data) + panel * weight.padded_cols / group * kPanelRows;
    for (std::int64_t col = 0; col < weight.cols; col += kBlockCols) {
      const std::int64_t cols = std::min(kBlockCols, weight.cols - col);
      const std::int64_t groups = ceil_div(cols, group);
      for (std::int64_t r = 0; r < rows; ++r) {
        block[r][groups - 1] = 0;  // the last group may be padded
        convert_row(block[r], weight.format, scale_at(weight, panel * kPanelRows + in_panel + r, col),
                    source + r * row_bytes + col * size_of(type), type, cols, floats);
      }
      std::uint32_t* const out = words + col / group * kPanelRows + in_panel;
      const std::int64_t whole_rows = rows / 4 * 4, whole_groups = groups / 4 * 4;
      for (std::int64_t g = 0; g < whole_groups; g += 4)
        for (std::int64_t r = 0; r < whole_rows; r += 4)
          transpose_4x4(out + g * kPanelRows + r, kPanelRows, &block[r][g], kMaxBlockWords);
      for (std::int64_t g = 0; g < groups; ++g)
        for (std::int64_t r = g < whole_groups ? whole_rows : 0; r < rows; ++r) out[g * kPanelRows + r] = block[r][g];
    }
  }
};

// The largest magnitude's bits among n elements from `source`.
std::uint32_t largest_magnitude(const void* source, DType type, std::int64_t n_all) {
  constexpr std::int64_t kBlock = 1024;
  float floats[kBlock];
  std::uint32_t largest = 0;
  for (std::int64_t col = 0; col < n_all; col += kBlock) {
    const std::int64_t n = std::min(kBlock, n_all - col);
    read_row(floats, static_cast<const std::byte*>(source) + col * size_of(type), type, n);
    for (std::int64_t i = 0; i < n; ++i) largest = std::max(largest, num::magnitude_bits(floats[i]));
  }
  return largest;
}

float scale_of(Format format, std::uint32_t largest) {
  return element_type(format) == DType::i8 ? num::int8_scale(largest) : num::fp8_scale(largest);
}

std::int64_t scale_count(Format format, std::int64_t rows, std::int64_t cols, std::int64_t padded_rows) {
  switch (scales_of(format)) {
    case Scales::none:
      return 0;
    case Scales::rows:
      return padded_rows;
    case Scales::blocks:
      return ceil_div(rows, num::kFp8Block) * ceil_div(cols, num::kFp8Block);
  }
  return 0;
}

}  // namespace

Result<PackedSize> packed_size(Format format, Layout layout, std::int64_t rows, std::int64_t cols) {
  const auto refuse = [&](const char* what) {
    return Error{.kind = ErrorKind::invalid_input,
                 .what = what,
                 .rule = "weight.size",
                 .found = fmt::format("[{}, {}]", rows, cols)};
  };
  if (rows <= 0 || cols <= 0) return refuse("a weight's rows and cols must be positive");
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max() - kPanelRows;
  PackedSize size{.padded_rows = rows, .padded_cols = cols};
  if (layout == Layout::panel64) {
    if (rows > kMax || cols > kMax) return refuse("a weight's size overflows");
    size.padded_rows = round_up(rows, kPanelRows);
    size.padded_cols = round_up(cols, kColPad);
  }
  const std::int64_t factors[] = {size.padded_rows, size.padded_cols, size_of(element_type(format))};
  const auto data = checked_product(factors);
  const auto scales = checked_mul(scale_count(format, rows, cols, size.padded_rows), std::int64_t{sizeof(float)});
  if (!data || !scales || *data > kMax - 2 * kAlignment || *scales > kMax - 2 * kAlignment - *data)
    return refuse("a weight's size overflows");
  size.data = Bytes{round_up(*data, kAlignment)};
  size.scales = Bytes{round_up(*scales, kAlignment)};
  return size;
}

void pack_rows(const PackedWeight& weight, std::int64_t first_row, const TensorRef& source) {
  RL_CHECK(source.rank == 2 && source.shape[1] == weight.cols && source.contiguous());
  RL_CHECK(source.dtype == DType::f32 || source.dtype == DType::bf16 || source.dtype == DType::f16);
  RL_CHECK(first_row >= 0 && first_row + source.shape[0] <= weight.rows);
  RL_CHECK((weight.scales != nullptr) == (scales_of(weight.format) != Scales::none));
  const std::int64_t rows = source.shape[0], row_bytes = weight.cols * size_of(source.dtype);
  const auto* const data = static_cast<const std::byte*>(source.data);
  if (weight.scales && !scales_span_rows(weight.format))
    for (std::int64_t r = 0; r < rows; ++r)
      weight.scales[first_row + r] =
          scale_of(weight.format, largest_magnitude(data + r * row_bytes, source.dtype, weight.cols));

  if (weight.layout == Layout::panel64) {
    PanelPacker packer;
    for (std::int64_t r = 0; r < rows;) {
      const std::int64_t panel = (first_row + r) / kPanelRows, in_panel = (first_row + r) % kPanelRows;
      const std::int64_t n = std::min(rows - r, kPanelRows - in_panel);
      packer.pack(weight, panel, in_panel, n, data + r * row_bytes, row_bytes, source.dtype);
      r += n;
    }
    return;
  }
  constexpr std::int64_t kBlock = 1024;
  float floats[kBlock];
  const std::int64_t block = scales_of(weight.format) == Scales::blocks ? num::kFp8Block : kBlock;
  const std::int64_t element = size_of(element_type(weight.format));
  for (std::int64_t r = 0; r < rows; ++r) {
    auto* const out = static_cast<std::byte*>(weight.data) + (first_row + r) * weight.padded_cols * element;
    for (std::int64_t col = 0; col < weight.cols; col += block)
      convert_row(out + col * element, weight.format, scale_at(weight, first_row + r, col),
                  data + r * row_bytes + col * size_of(source.dtype), source.dtype, std::min(block, weight.cols - col),
                  floats);
  }
}

void begin_scales(const PackedWeight& weight) {
  RL_CHECK(scales_span_rows(weight.format));
  std::fill_n(weight.scales, scale_count(weight.format, weight.rows, weight.cols, weight.padded_rows), 0.0f);
}

void observe_rows(const PackedWeight& weight, std::int64_t first_row, const TensorRef& source) {
  RL_CHECK(scales_span_rows(weight.format));
  const std::int64_t row_bytes = weight.cols * size_of(source.dtype);
  const auto* const data = static_cast<const std::byte*>(source.data);
  for (std::int64_t r = 0; r < source.shape[0]; ++r) {
    const std::byte* const row = data + r * row_bytes;
    if (scales_of(weight.format) == Scales::rows) {
      weight.scales[first_row + r] = std::bit_cast<float>(largest_magnitude(row, source.dtype, weight.cols));
      continue;
    }
    float* const blocks = weight.scales + (first_row + r) / num::kFp8Block * ceil_div(weight.cols, num::kFp8Block);
    for (std::int64_t col = 0; col < weight.cols; col += num::kFp8Block) {
      const std::uint32_t found = largest_magnitude(row + col * size_of(source.dtype), source.dtype,
                                                    std::min(num::kFp8Block, weight.cols - col));
      // Rows of one block may be another thread's. Bits of magnitudes order as the magnitudes do.
      std::atomic_ref<std::uint32_t> largest(*reinterpret_cast<std::uint32_t*>(&blocks[col / num::kFp8Block]));
      std::uint32_t known = largest.load(std::memory_order_relaxed);
      while (known < found && !largest.compare_exchange_weak(known, found, std::memory_order_relaxed)) {}
    }
  }
}

void finish_scales(const PackedWeight& weight) {
  RL_CHECK(scales_span_rows(weight.format));
  const std::int64_t n = scale_count(weight.format, weight.rows, weight.cols, weight.padded_rows);
  const auto bits = [&](std::int64_t i) { return std::bit_cast<std::uint32_t>(weight.scales[i]); };
  if (weight.format == Format::fp8_tensor) {
    std::uint32_t largest = 0;
    for (std::int64_t i = 0; i < weight.rows; ++i) largest = std::max(largest, bits(i));
    std::fill_n(weight.scales, weight.rows, scale_of(weight.format, largest));
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) weight.scales[i] = scale_of(weight.format, bits(i));
}

void zero_padding(const PackedWeight& weight) {
  const std::int64_t element = size_of(element_type(weight.format));
  if (scales_of(weight.format) == Scales::rows)
    for (std::int64_t r = weight.rows; r < weight.padded_rows; ++r) weight.scales[r] = 0;
  auto* const data = static_cast<std::byte*>(weight.data);
  if (weight.layout == Layout::row_major) {
    for (std::int64_t r = 0; r < weight.padded_rows; ++r) {
      const std::int64_t from = r < weight.rows ? weight.cols : 0;
      std::memset(data + (r * weight.padded_cols + from) * element, 0,
                  static_cast<std::size_t>((weight.padded_cols - from) * element));
    }
    return;
  }
  const std::int64_t group = group_of(weight.format), groups = weight.padded_cols / group;
  const std::int64_t full_groups = weight.cols / group;  // those without a padded column
  for (std::int64_t panel = 0; panel < weight.padded_rows / kPanelRows; ++panel) {
    const std::int64_t rows = std::min(kPanelRows, weight.rows - panel * kPanelRows);  // real rows of this panel
    for (std::int64_t g = 0; g < groups; ++g) {
      std::byte* const line = data + (panel * groups + g) * kPanelRows * 4;
      std::memset(line + rows * 4, 0, static_cast<std::size_t>((kPanelRows - rows) * 4));
      if (g < full_groups) continue;
      const std::int64_t real = std::max<std::int64_t>(0, weight.cols - g * group) * element;  // bytes of the group
      for (std::int64_t r = 0; r < rows; ++r) std::memset(line + r * 4 + real, 0, static_cast<std::size_t>(4 - real));
    }
  }
}

void unpack_row(const PackedWeight& weight, std::int64_t row, float* out) {
  RL_CHECK(row >= 0 && row < weight.rows);
  const auto convert = [&](const std::byte* element, float scale) {
    std::uint16_t code = 0;
    float value = 0;
    switch (weight.format) {
      case Format::f32:
        std::memcpy(&value, element, sizeof value);
        return value;
      case Format::bf16:
        std::memcpy(&code, element, sizeof code);
        return from_bf16(code);
      case Format::f16:
        std::memcpy(&code, element, sizeof code);
        return from_f16(code);
      case Format::int8:
      case Format::int8_wo:
        return static_cast<float>(static_cast<std::int8_t>(*element)) * scale;
      case Format::fp8:
      case Format::fp8_tensor:
      case Format::fp8_block:
      case Format::fp8_wo:
        return num::to_float(num::fp8_e4m3{static_cast<std::uint8_t>(*element)}) * scale;
    }
    return value;
  };
  const std::int64_t element = size_of(element_type(weight.format)), group = group_of(weight.format);
  const auto* const data = static_cast<const std::byte*>(weight.data);
  if (weight.layout == Layout::row_major) {
    for (std::int64_t c = 0; c < weight.cols; ++c)
      out[c] = convert(data + (row * weight.padded_cols + c) * element, scale_at(weight, row, c));
    return;
  }
  const std::byte* const panel = data + row / kPanelRows * kPanelRows * weight.padded_cols * element;
  for (std::int64_t c = 0; c < weight.cols; ++c)
    out[c] = convert(panel + (c / group * kPanelRows + row % kPanelRows) * 4 + c % group * element,
                     scale_at(weight, row, c));
}

}  // namespace rl::quant
