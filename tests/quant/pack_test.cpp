#include "quant/pack.h"

#include <random>
#include <thread>

#include "check/result.h"
#include "num/convert.h"
#include "num/fp8.h"
#include "num/int8.h"
#include "tensor/buffer.h"

namespace rl::quant {
namespace {

constexpr Format kFormats[] = {Format::f32, Format::bf16, Format::f16, Format::int8};
constexpr Layout kLayouts[] = {Layout::row_major, Layout::panel64};

// A weight whose memory was filled with 0xFF: whatever is not written shows.
struct Weight {
  PoisoningResource memory{host_memory()};
  Buffer data, scales;
  PackedWeight packed;

  Weight(Format format, Layout layout, std::int64_t rows, std::int64_t cols) {
    const auto size = packed_size(format, layout, rows, cols);
    RL_CHECK(size.has_value());
    data = Buffer::make(memory, size->data).value();
    if (size->scales.count > 0) scales = Buffer::make(memory, size->scales).value();
    packed = {.format = format,
              .layout = layout,
              .rows = rows,
              .cols = cols,
              .padded_rows = size->padded_rows,
              .padded_cols = size->padded_cols,
              .data = data.data(),
              .scales = scales ? scales.as<float>() : nullptr};
  }
  // As unpack_row, from the layout's definition in packed_weight.h.
  const std::byte* element(std::int64_t row, std::int64_t col) const {
    const std::int64_t bytes = size_of(element_type(packed.format)), k = 4 / bytes;
    const std::int64_t index = packed.layout == Layout::row_major
                                   ? row * packed.padded_cols + col
                                   : ((row / 64 * (packed.padded_cols / k) + col / k) * 64 + row % 64) * k + col % k;
    return data.as<const std::byte>() + index * bytes;
  }
};

std::uint32_t bits_at(const std::byte* element, std::int64_t bytes) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, element, static_cast<std::size_t>(bytes));
  return bits;
}

std::vector<float> random_floats(std::size_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& value : values) value = normal(generator);
  return values;
}

// The code a float must become, by num/convert.h.
std::uint32_t code_of(Format format, float value, float scale) {
  switch (format) {
    case Format::f32:
      return std::bit_cast<std::uint32_t>(value);
    case Format::bf16:
      return num::from_float<num::bf16>(value).bits;
    case Format::f16:
      return num::from_float<num::fp16>(value).bits;
    case Format::int8:
      return static_cast<std::uint8_t>(num::quantize_int8(value, scale));
    default:
      return num::quantize_fp8(value, scale).bits;
  }
  return 0;
}

TEST(PackedSize, PadsAndRefusesWhatOverflows) {
  ASSERT_VALUE(const PackedSize panel, packed_size(Format::int8, Layout::panel64, 65, 33));
  EXPECT_EQ(panel.padded_rows, 128);
  EXPECT_EQ(panel.padded_cols, 64);
  EXPECT_EQ(panel.data, Bytes{128 * 64});
  EXPECT_EQ(panel.scales, Bytes{512});
  ASSERT_VALUE(const PackedSize rows, packed_size(Format::f32, Layout::row_major, 3, 5));
  EXPECT_EQ(rows.padded_cols, 5);
  EXPECT_EQ(rows.data, Bytes{256});
  EXPECT_EQ(rows.scales, Bytes{0});
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  const std::pair<std::int64_t, std::int64_t> bad[] = {
      {0, 1},    {1, 0},        {-1, 4}, {kMax, 1}, {1, kMax}, {std::int64_t{1} << 32, std::int64_t{1} << 31},
      {kMax, 2}, {kMax - 63, 1}};
  for (const auto& [r, c] : bad)
    for (const Layout layout : kLayouts) {
      const auto size = packed_size(Format::f32, layout, r, c);
      ASSERT_FALSE(size) << r << "x" << c;
      EXPECT_EQ(size.error().kind, ErrorKind::invalid_input);
      EXPECT_EQ(size.error().rule, "weight.size");
    }
}

struct Shape {
  std::int64_t rows, cols;
};
constexpr Shape kShapes[] = {{1, 1}, {64, 32}, {65, 33}, {130, 97}, {63, 127}, {128, 1100}, {7, 130}};

// Three calls at odd rows, as for q, k and v, must fill a weight as the definition says, and touch nothing else.
TEST(Pack, PutsEveryElementWhereTheLayoutSays) {
  for (const auto [rows, cols] : kShapes)
    for (const Format format : kFormats)
      for (const Layout layout : kLayouts)
        for (const DType source : {DType::f32, DType::bf16, DType::f16}) {
          SCOPED_TRACE(
              fmt::format("{}x{} {} {} from {}", rows, cols, name_of(format), name_of(layout), name_of(source)));
          const std::vector<float> random = random_floats(static_cast<std::size_t>(rows * cols), 1);
          std::vector<std::uint16_t> halves(random.size());
          std::vector<float> values(random.size());  // what the source holds
          for (std::size_t i = 0; i < random.size(); ++i) {
            const auto bf16 = num::from_float<num::bf16>(random[i]);
            const auto f16 = num::from_float<num::fp16>(random[i]);
            halves[i] = source == DType::bf16 ? bf16.bits : f16.bits;
            values[i] = source == DType::f32    ? random[i]
                        : source == DType::bf16 ? num::to_float(bf16)
                                                : num::to_float(f16);
          }
          Weight weight(format, layout, rows, cols);
          const std::int64_t cuts[] = {0, rows / 3, rows / 3 + std::min<std::int64_t>(5, rows - rows / 3), rows};
          for (const int part : {2, 0, 1}) {
            const std::int64_t first = cuts[part], n = cuts[part + 1] - first;
            void* const data = source == DType::f32 ? static_cast<void*>(values.data() + first * cols)
                                                    : static_cast<void*>(halves.data() + first * cols);
            pack_rows(weight.packed, first, tensor(data, source, {n, cols}));
          }
          const std::int64_t bytes = size_of(element_type(format));
          std::vector<float> row(static_cast<std::size_t>(cols));
          for (std::int64_t r = 0; r < rows; ++r) {
            float absmax = 0;
            for (std::int64_t c = 0; c < cols; ++c) absmax = std::max(absmax, std::fabs(values[r * cols + c]));
            if (format == Format::int8) {
              ASSERT_EQ(weight.packed.scales[r], absmax / 127.0f);
            }
            unpack_row(weight.packed, r, row.data());
            for (std::int64_t c = 0; c < cols; ++c) {
              const std::uint32_t code = code_of(format, values[r * cols + c], absmax / 127.0f);
              ASSERT_EQ(bits_at(weight.element(r, c), bytes), code) << r << ", " << c;
              const float back = format == Format::f32    ? values[r * cols + c]
                                 : format == Format::bf16 ? num::to_float(num::bf16{static_cast<std::uint16_t>(code)})
                                 : format == Format::f16
                                     ? num::to_float(num::fp16{static_cast<std::uint16_t>(code)})
                                     : static_cast<float>(static_cast<std::int8_t>(code)) * weight.packed.scales[r];
              ASSERT_EQ(row[static_cast<std::size_t>(c)], back);
            }
          }
          zero_padding(weight.packed);
          for (std::int64_t r = 0; r < weight.packed.padded_rows; ++r) {
            if (weight.packed.scales && r >= rows) {
              ASSERT_EQ(weight.packed.scales[r], 0);
            }
            for (std::int64_t c = 0; c < weight.packed.padded_cols; ++c) {
              const bool padding = r >= rows || c >= cols;
              const std::uint32_t expected =
                  padding ? 0
                          : code_of(format, values[r * cols + c], weight.packed.scales ? weight.packed.scales[r] : 0);
              ASSERT_EQ(bits_at(weight.element(r, c), bytes), expected) << r << ", " << c;
            }
          }
        }
}

TEST(Pack, LeavesOtherRowsAlone) {
  for (const Format format : kFormats) {
    Weight weight(format, Layout::panel64, 128, 64);
    const std::vector<float> values = random_floats(3 * 64, 2);
    pack_rows(weight.packed, 62, tensor(values.data(), {3, 64}));
    const std::int64_t bytes = size_of(element_type(format));
    const std::uint32_t untouched = bytes == 4 ? 0xFFFFFFFF : bytes == 2 ? 0xFFFF : 0xFF;
    for (std::int64_t r = 0; r < 128; ++r) {
      if (r >= 62 && r < 65) continue;
      for (std::int64_t c = 0; c < 64; ++c) ASSERT_EQ(bits_at(weight.element(r, c), bytes), untouched) << r;
    }
  }
}

// The vector code of pack.cpp against num/convert.h: every 16-bit code, and floats around every place where rounding or
// the kind of number changes.
TEST(Pack, ConvertsAsNumDoes) {
  std::vector<float> values;
  for (std::uint32_t exponent = 0; exponent < 256; ++exponent)
    for (const std::uint32_t mantissa :
         {0U, 1U, 0xFFFU, 0x1000U, 0x1001U, 0x2FFFU, 0x3000U, 0x3001U, 0x7FFFU, 0x8000U, 0x8001U, 0x17FFFU, 0x18000U,
          0x400000U, 0x7FEFFFU, 0x7FF000U, 0x7FFFFFU, 0x123456U})
      for (const std::uint32_t sign : {0U, 0x80000000U})
        values.push_back(std::bit_cast<float>(sign | exponent << 23 | mantissa));
  const std::vector<float> random = random_floats(1 << 12, 3);
  for (const float value : random) values.push_back(value * 0x1p-20f);
  const auto n = static_cast<std::int64_t>(values.size());
  for (const Format format : {Format::bf16, Format::f16}) {
    Weight weight(format, Layout::row_major, 1, n);
    pack_rows(weight.packed, 0, tensor(values.data(), {1, n}));
    for (std::int64_t i = 0; i < n; ++i)
      ASSERT_EQ(bits_at(weight.element(0, i), 2), code_of(format, values[i], 0))
          << name_of(format) << " of " << std::bit_cast<std::uint32_t>(values[i]);
  }
  std::vector<std::uint16_t> codes(1 << 16);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint16_t>(i);
  for (const DType source : {DType::bf16, DType::f16}) {
    Weight weight(Format::f32, Layout::row_major, 1, 1 << 16);
    pack_rows(weight.packed, 0, tensor(codes.data(), source, {1, 1 << 16}));
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const float expected =
          source == DType::bf16 ? num::to_float(num::bf16{codes[i]}) : num::to_float(num::fp16{codes[i]});
      ASSERT_EQ(weight.data.as<std::uint32_t>()[i], std::bit_cast<std::uint32_t>(expected))
          << name_of(source) << " " << i;
    }
  }
}

TEST(Pack, Int8RoundsTiesToEvenAndTakesZeroRows) {
  // absmax 127: scale 1, so that the values are the codes before rounding.
  const float values[2][8] = {{127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -126.5f, -127}, {0, 0, 0, 0, 0, 0, 0, 0}};
  const int expected[8] = {127, 0, 2, 2, 0, -2, -126, -127};
  for (const Layout layout : kLayouts) {
    Weight weight(Format::int8, layout, 2, 8);
    pack_rows(weight.packed, 0, tensor(&values[0][0], {2, 8}));
    EXPECT_EQ(weight.packed.scales[0], 1.0f);
    float row[8];
    unpack_row(weight.packed, 0, row);
    for (int i = 0; i < 8; ++i) EXPECT_EQ(row[i], static_cast<float>(expected[i])) << i;
    unpack_row(weight.packed, 1, row);
    for (int i = 0; i < 8; ++i) EXPECT_EQ(row[i], 0.0f);
    EXPECT_EQ(weight.packed.scales[1], 0.0f);
  }
}

// Scales of rows, of the matrix, of blocks of 128 x 128, also where rows of a block come in pieces and from two
// threads.
TEST(Pack, Fp8CodesAndScales) {
  constexpr std::int64_t kRows = 200, kCols = 300;
  std::vector<float> values = random_floats(kRows * kCols, 7);
  for (std::int64_t i = 0; i < kRows * kCols; ++i) values[i] *= 1 + static_cast<float>(i / kCols % 7);
  values[5 * kCols + 7] = 40;
  for (const Layout layout : kLayouts)
    for (const Format format : {Format::fp8, Format::fp8_wo, Format::int8_wo, Format::fp8_tensor, Format::fp8_block}) {
      SCOPED_TRACE(name_of(format));
      const bool int8 = element_type(format) == DType::i8;
      Weight weight(format, layout, kRows, kCols);
      const auto in_parts = [&](const auto& f) {
        const auto part = [&](std::int64_t begin, std::int64_t end) {
          f(weight.packed, begin, tensor(values.data() + begin * kCols, {end - begin, kCols}));
        };
        std::thread other([&] { part(100, kRows); });
        part(0, 100);
        other.join();
      };
      if (scales_span_rows(format)) {
        begin_scales(weight.packed);
        in_parts(observe_rows);
        finish_scales(weight.packed);
      }
      in_parts(pack_rows);
      zero_padding(weight.packed);
      const auto absmax = [&](std::int64_t r0, std::int64_t r1, std::int64_t c0, std::int64_t c1) {
        float largest = 0;
        for (std::int64_t r = r0; r < std::min(r1, kRows); ++r)
          for (std::int64_t c = c0; c < std::min(c1, kCols); ++c)
            largest = std::max(largest, std::fabs(values[r * kCols + c]));
        return largest;
      };
      const bool blocks = format == Format::fp8_block;
      std::map<std::pair<std::int64_t, std::int64_t>, float> scales;  // of row or block
      const auto scale_of = [&](std::int64_t r, std::int64_t c) {
        const auto [row, col] = blocks ? std::pair(r / 128 * 128, c / 128 * 128) : std::pair(r, std::int64_t{0});
        float& scale = scales[{row, col}];
        if (scale == 0)
          scale = (format == Format::fp8_tensor ? absmax(0, kRows, 0, kCols)
                   : blocks                     ? absmax(row, row + 128, col, col + 128)
                                                : absmax(r, r + 1, 0, kCols)) /
                  (int8 ? 127.0f : 448.0f);
        return scale;
      };
      std::vector<float> row(kCols);
      for (std::int64_t r = 0; r < kRows; ++r) {
        unpack_row(weight.packed, r, row.data());
        for (std::int64_t c = 0; c < kCols; ++c) {
          const float scale = scale_of(r, c);
          ASSERT_EQ(weight.packed.scales[blocks ? r / 128 * 3 + c / 128 : r], scale) << r << ", " << c;
          const std::uint32_t code = int8 ? static_cast<std::uint8_t>(num::quantize_int8(values[r * kCols + c], scale))
                                          : num::quantize_fp8(values[r * kCols + c], scale).bits;
          ASSERT_EQ(bits_at(weight.element(r, c), 1), code) << r << ", " << c;
          const float back = int8 ? static_cast<float>(static_cast<std::int8_t>(code))
                                  : num::to_float(num::fp8_e4m3{static_cast<std::uint8_t>(code)});
          ASSERT_EQ(row[static_cast<std::size_t>(c)], back * scale);
        }
      }
    }
}

// Every bf16 value and its neighbours in float, among them ties, subnormals, what saturates, infinities and NaN.
TEST(Pack, Fp8RoundsAsNumDoes) {
  std::vector<float> values;
  for (std::uint32_t high = 0; high < 0x10000; high += 3)
    for (const std::uint32_t low : {0x0000u, 0x0001u, 0x7FFFu, 0x8000u, 0x8001u})
      values.push_back(std::bit_cast<float>(high << 16 | low));
  const std::int64_t n = std::ssize(values);
  Weight weight(Format::fp8_tensor, Layout::row_major, 1, n);
  weight.packed.scales[0] = 1;
  pack_rows(weight.packed, 0, tensor(values.data(), {1, n}));
  for (std::int64_t i = 0; i < n; ++i)
    ASSERT_EQ(bits_at(weight.element(0, i), 1), num::from_float<num::fp8_e4m3>(values[i]).bits) << values[i];
}

TEST(Pack, Int8KeepsNanVisible) {
  std::vector<float> values(2000, 1.0f);
  values[3] = std::numeric_limits<float>::quiet_NaN();
  Weight weight(Format::int8, Layout::panel64, 1, 2000);
  pack_rows(weight.packed, 0, tensor(values.data(), {1, 2000}));
  EXPECT_TRUE(std::isnan(weight.packed.scales[0]));
}

TEST(Pack, ThreadsOnDisjointRowsAgreeWithOne) {
  constexpr std::int64_t kRows = 300, kCols = 260;
  const std::vector<float> values = random_floats(kRows * kCols, 4);
  for (const Format format : kFormats) {
    Weight alone(format, Layout::panel64, kRows, kCols), together(format, Layout::panel64, kRows, kCols);
    pack_rows(alone.packed, 0, tensor(values.data(), {kRows, kCols}));
    const auto part = [&](std::int64_t begin, std::int64_t end) {
      pack_rows(together.packed, begin, tensor(values.data() + begin * kCols, {end - begin, kCols}));
    };
    std::thread other([&] { part(0, 101); });
    part(101, kRows);
    other.join();
    zero_padding(alone.packed);
    zero_padding(together.packed);
    EXPECT_EQ(std::memcmp(alone.data.data(), together.data.data(), static_cast<std::size_t>(alone.data.size().count)),
              0);
  }
}

}  // namespace
}  // namespace rl::quant
