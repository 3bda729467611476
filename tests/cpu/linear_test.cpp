// Every linear variant of cpu/fast that this processor runs against cpu/ref: every quick case and combination of types,
// with one, two and three threads.

#include "ops/linear.h"

#include "check/result.h"
#include "cpu/fast/cpu_device.h"
#include "cpu/fast/linear_kernels.h"
#include "cpu/fast/variants.h"
#include "cpu/ref/ref.h"
#include "num/fp8.h"
#include "num/int8.h"
#include "ops/case_inputs.h"
#include "ops/compare.h"
#include "ops/tolerance.h"
#include "tensor/element.h"

namespace rl::cpu {
namespace {

// Workspace of exactly the size a variant asks for, NaN before, with a band behind it that must not change.
struct Workspace {
  static constexpr std::int64_t kBand = 256;
  std::int64_t size;
  PoisoningResource memory{host_memory()};
  Buffer buffer;

  explicit Workspace(Bytes bytes) : size(bytes.count), buffer(Buffer::make(memory, bytes + Bytes{kBand}).value()) {}
  void check() const {
    for (std::int64_t i = size; i < size + kBand; ++i)
      ASSERT_EQ(buffer.as<std::uint8_t>()[i], 0xFF) << i - size << " bytes past the workspace";
  }
};

std::vector<std::byte> bytes_of(const TensorRef& t) {
  const auto* const data = static_cast<const std::byte*>(t.data);
  return {data, data + t.elements() * size_of(t.dtype)};
}

void set_bytes(const TensorRef& t, const std::vector<std::byte>& bytes) {
  std::memcpy(t.data, bytes.data(), bytes.size());
}

Status run(const ops::Variant<ops::LinearArgs>& variant, const ops::LinearArgs& args, ThreadPool& pool) {
  CpuStream stream(pool, detect_arch());
  const Workspace workspace(variant.workspace(args));
  RL_TRY(variant.launch(args, workspace.buffer.data(), stream));
  workspace.check();
  return ok();
}

std::vector<ops::Variant<ops::LinearArgs>> every_variant() {
  std::vector<ops::Variant<ops::LinearArgs>> all(linear_variants().begin(), linear_variants().end());
  all.insert(all.end(), emulated_linear_variants().begin(), emulated_linear_variants().end());
  return all;
}

// Whether this processor is not asked for instructions made for the format.
bool needs_emulation(quant::Format format) {
  return quant::scales_of(format) != quant::Scales::none && format != quant::Format::int8;
}

// Beside the shared cases: several blocks of rows, of columns and of panels, each with a rest.
constexpr ops::LinearCase kBlockCases[] = {
    {"blocks", ops::kQuick, 230, 430, 620, true, true, 0, 12, 60},
    {"blocks_even", ops::kQuick, 192, 512, 512, false, false, 0, 8, 60},
    {"one_panel", ops::kQuick, 300, 10, 100, true, false, 0, 8, 0},
};

class Linear : public testing::Test {
 protected:
  void check_case(const ops::LinearCase& c, const ops::LinearTypes& types) {
    ASSERT_VALUE(auto inputs, make_inputs(c, types, quant::Layout::panel64));
    const ops::LinearArgs& args = inputs.args;
    ASSERT_OK(validate(args));
    const std::vector<std::byte> before = bytes_of(args.out);
    const ops::Subset subset{ops::choose_indices(c.tokens, c.check_tokens), ops::choose_indices(c.rows, c.check_rows)};
    ops::Values reference = ref::linear(args, subset);
    std::vector<double> tolerance = ops::tolerance(args, reference);
    if (types.format == quant::Format::int8) {  // no tolerance: float for float as num/int8.h says
      std::fill(tolerance.begin(), tolerance.end(), 0.0);
      if (types.out == DType::bf16)
        for (double& value : reference.value)
          value = static_cast<double>(num::to_float(num::from_double<num::bf16>(value)));
      if (types.out == DType::f16)
        for (double& value : reference.value)
          value = static_cast<double>(num::to_float(num::from_double<num::fp16>(value)));
    }
    for (const auto& variant : every_variant()) {
      SCOPED_TRACE(fmt::format("{} {}: {} x, {} weights, {} out", variant.name, c.name, name_of(types.x),
                               name_of(types.format), name_of(types.out)));
      if (!variant.supports(args, detect_arch())) continue;
      ++ran_[variant.name];
      for (ThreadPool* pool : {&one_, &two_, &three_}) {
        set_bytes(args.out, before);
        ASSERT_OK(run(variant, args, *pool));
        ASSERT_OK(inputs.memory.check_guards());
        const ops::Comparison comparison = ops::compare(args.out, subset, reference.value, tolerance);
        ASSERT_TRUE(comparison.passed) << pool->threads() << " threads: " << comparison.message();
      }
    }
  }

  ThreadPool one_{1}, two_{2}, three_{3};
  std::map<std::string, int> ran_;  // by variant: cases
};

TEST_F(Linear, EveryVariantAgreesWithTheOracle) {
  int cases = 0, emulated = 0;
  const auto check_all = [&](std::span<const ops::LinearCase> table) {
    for (const ops::LinearCase& c : table)
      for (const ops::LinearTypes& types : ops::kLinearTypes) {
        if (!(c.tags & ops::kQuick) || !takes(c, types) || ops::are_codes(types.x)) continue;
        // Drawing millions of weights takes longer than their products: large shapes once per weight format.
        const bool once = types.x == DType::bf16 || types.format == quant::Format::f32;
        if (c.rows * c.cols > 2'000'000 && !(once && types.out == DType::f32)) continue;
        ++(needs_emulation(types.format) ? emulated : cases);
        ASSERT_NO_FATAL_FAILURE(check_case(c, types));
      }
  };
  ASSERT_NO_FATAL_FAILURE(check_all(ops::kLinearCases));
  ASSERT_NO_FATAL_FAILURE(check_all(kBlockCases));
  const Arch arch = detect_arch();
  EXPECT_EQ(ran_["linear/cpu.portable"], cases);
  EXPECT_EQ(ran_["linear/cpu.emulated"], emulated);
  EXPECT_EQ(ran_["linear/cpu.avx2"], arch.avx2 ? cases : 0);
  EXPECT_EQ(ran_["linear/cpu.avx512"] > cases / 2, arch.avx512);
  EXPECT_EQ(ran_["linear/cpu.avx512_bf16"] > 0, arch.avx512_bf16);
  EXPECT_EQ(ran_["linear/cpu.avx512_vnni"] > 0, arch.avx512_vnni);
  EXPECT_EQ(ran_["linear/cpu.amx"] > 0, arch.amx);
}

// They quantise their input as they lay it out: codes of an op before them are not for them.
TEST(LinearVariants, RefuseCodes) {
  int refused = 0;
  for (const ops::LinearTypes& types : ops::kLinearTypes) {
    if (!ops::are_codes(types.x)) continue;
    ASSERT_VALUE(const auto inputs, make_inputs({"codes", ops::kQuick, 3, 70, 40}, types, quant::Layout::panel64));
    for (const auto& variant : every_variant()) {
      EXPECT_FALSE(variant.supports(inputs.args, detect_arch())) << variant.name;
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
}

// The bits of a row do not depend on how many rows are computed with it, nor on the number of threads.
TEST(LinearVariants, AreBatchInvariantWhereTheySaySo) {
  constexpr std::int64_t kTokens = 203;
  ThreadPool two(2), three(3);
  int checked = 0;
  for (const ops::LinearTypes& types : ops::kLinearTypes) {
    ASSERT_VALUE(auto inputs,
                 make_inputs({"batch", ops::kQuick, kTokens, 130, 600, true}, types, quant::Layout::panel64));
    const ops::LinearArgs& all = inputs.args;
    const std::int64_t row_bytes = all.out.shape[1] * size_of(all.out.dtype);
    for (const auto& variant : every_variant()) {
      if (!variant.supports(all, detect_arch()) || !variant.facts.batch_invariant) continue;
      SCOPED_TRACE(fmt::format("{}, {} x, {} weights", variant.name, name_of(types.x), name_of(types.format)));
      ASSERT_OK(run(variant, all, two));
      const std::vector<std::byte> together = bytes_of(all.out);
      for (const std::int64_t n : {1, 2, 3, 4, 5, 6, 7, 13, 16, 96, 97}) {
        ops::LinearArgs part = all;
        const std::int64_t first = kTokens - n;
        part.x.shape[0] = part.out.shape[0] = n;
        part.x.data = static_cast<std::byte*>(all.x.data) + first * all.x.strides[0] * size_of(all.x.dtype);
        ASSERT_OK(run(variant, part, n % 2 == 0 ? two : three));
        ASSERT_EQ(
            std::memcmp(part.out.data, together.data() + first * row_bytes, static_cast<std::size_t>(n * row_bytes)), 0)
            << n << " rows";
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 200);
}

TEST(LinearVariants, ANanStaysInItsRow) {
  for (const ops::LinearTypes& types : ops::kLinearTypes) {
    ASSERT_VALUE(auto inputs, make_inputs({"nan", ops::kQuick, 3, 70, 40}, types, quant::Layout::panel64));
    const ops::LinearArgs& args = inputs.args;
    store_element(args.x.dtype, args.x.data, args.x.strides[0] + 5, std::nan(""));
    ThreadPool pool(1);
    for (const auto& variant : linear_variants()) {
      if (!variant.supports(args, detect_arch())) continue;
      ASSERT_OK(run(variant, args, pool));
      for (std::int64_t i = 0; i < 3 * 70; ++i)
        ASSERT_EQ(std::isnan(load_element(args.out.dtype, args.out.data, i)), i / 70 == 1) << variant.name << " " << i;
    }
  }
}

TEST(LinearVariants, NoRowsIsNoWork) {
  ASSERT_VALUE(auto inputs,
               make_inputs({"some", ops::kQuick, 3, 70, 40}, ops::kLinearTypes[0], quant::Layout::panel64));
  ops::LinearArgs args = inputs.args;
  args.x.shape[0] = args.out.shape[0] = 0;
  const std::vector<std::byte> before = bytes_of(inputs.args.out);
  ThreadPool pool(2);
  for (const auto& variant : linear_variants()) {
    if (!variant.supports(args, detect_arch())) continue;
    EXPECT_OK(run(variant, args, pool));
  }
  EXPECT_EQ(bytes_of(inputs.args.out), before);
}

// Codes, scales and sums of num/fp8.h and of the weight-only formats, computed here without any of their code.
float e4m3_value(unsigned code) {
  const unsigned exponent = code >> 3 & 15, mantissa = code & 7;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                        : std::ldexp(static_cast<float>(8 + mantissa), static_cast<int>(exponent) - 10);
  return code & 0x80 ? -magnitude : magnitude;
}

// The nearest e4m3 value of x / scale, of two as near the one with the even code; 448 at most.
float nearest_e4m3(float x, float scale) {
  if (!(scale > 0)) return 0;
  const float wanted = std::fabs(x / scale);
  unsigned best = 0;
  for (unsigned code = 1; code < 0x7F; ++code) {
    const double here = std::fabs(static_cast<double>(e4m3_value(code)) - static_cast<double>(wanted)),
                 there = std::fabs(static_cast<double>(e4m3_value(best)) - static_cast<double>(wanted));
    if (here < there || (here == there && code % 2 == 0)) best = code;
  }
  return std::signbit(x) ? -e4m3_value(best) : e4m3_value(best);
}

TEST(LinearVariants, EmulationIsExactToTheBit) {
  constexpr std::int64_t kTokens = 7, kRows = 150, kCols = 300;
  ThreadPool pool(2);
  int formats = 0;
  for (const quant::Format format : {quant::Format::fp8, quant::Format::fp8_tensor, quant::Format::fp8_block,
                                     quant::Format::int8_wo, quant::Format::fp8_wo}) {
    SCOPED_TRACE(name_of(format));
    ++formats;
    ASSERT_VALUE(auto inputs,
                 ops::make_inputs(ops::LinearCase{"exact", ops::kQuick, kTokens, kRows, kCols, true},
                                  ops::LinearTypes{DType::bf16, format, DType::f32}, quant::Layout::row_major));
    ASSERT_VALUE(auto panels,
                 ops::make_inputs(ops::LinearCase{"exact", ops::kQuick, kTokens, kRows, kCols, true},
                                  ops::LinearTypes{DType::bf16, format, DType::f32}, quant::Layout::panel64));
    const ops::LinearArgs &args = inputs.args, &fast = panels.args;
    ASSERT_OK(run(emulated_linear_variants()[0], fast, pool));
    const bool blocks = format == quant::Format::fp8_block, w8a8 = quant::quantizes_input(format);
    const bool int8 = format == quant::Format::int8_wo;
    const std::int64_t group = blocks ? 128 : kCols, groups = (kCols + group - 1) / group;
    const auto* const codes = static_cast<const std::uint8_t*>(args.weight.data);
    for (std::int64_t t = 0; t < kTokens; ++t)
      for (std::int64_t r = 0; r < kRows; ++r) {
        float total = 0;
        for (std::int64_t g = 0; g < groups; ++g) {
          const std::int64_t first = g * group, last = std::min(kCols, first + group);
          const auto x = [&](std::int64_t i) { return num::to_float(args.x.as<num::bf16>()[t * kCols + i]); };
          float absmax = 0, sum = 0;
          for (std::int64_t i = first; i < last; ++i) absmax = std::max(absmax, std::fabs(x(i)));
          const float scale = absmax / 448;
          for (std::int64_t i = first; i < last; ++i) {
            const std::uint8_t code = codes[r * args.weight.padded_cols + i];
            const float w = int8 ? static_cast<float>(static_cast<std::int8_t>(code)) : e4m3_value(code);
            sum += (w8a8 ? nearest_e4m3(x(i), scale) : x(i)) * w;
          }
          const float w_scale = args.weight.scales[blocks ? r / 128 * groups + g : r];
          total = blocks ? total + sum * (scale * w_scale) : w8a8 ? sum * scale * w_scale : sum * w_scale;
        }
        ASSERT_EQ(fast.out.as<float>()[t * kRows + r], total + args.bias.as<float>()[r]) << t << ", " << r;
      }
  }
  EXPECT_EQ(formats, 5);
}

// All codes, and values around every rounding decision: those between two neighbouring codes, one step around them,
// their ends; at scales that divide exactly and not. NaN and infinities never come: the scale is then NaN.
TEST(LinearVariants, EmulatedCodesAndRoundingAreThoseOfEveryInstructionSet) {
  const Arch arch = detect_arch();
  for (const auto& [kernels, present] : {std::pair{linear::kPortableF32, true}, std::pair{linear::kAvx2F32, arch.avx2},
                                         std::pair{linear::kAvx512F32, arch.avx512}}) {
    if (!present) continue;
    std::vector<std::uint8_t> codes(8 * linear::kPanelRows);
    for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>(i);
    std::vector<float> values(codes.size());
    for (const bool fp8 : {true, false}) {
      kernels->widen_codes(codes.data(), 8, fp8, values.data());
      for (std::size_t i = 0; i < codes.size(); ++i) {
        const std::size_t col = i / 256 * 4 + i % 4, row = i / 4 % 64;
        const float found = values[col * 64 + row],
                    expected = fp8 ? num::to_float(num::fp8_e4m3{codes[i]})
                                   : static_cast<float>(static_cast<std::int8_t>(codes[i]));
        ASSERT_TRUE(std::bit_cast<std::uint32_t>(found) == std::bit_cast<std::uint32_t>(expected) ||
                    (std::isnan(found) && std::isnan(expected)))
            << fp8 << ", code " << int{codes[i]} << ": " << found << ", not " << expected;
      }
    }
    for (const float scale : {1.0f, 0.25f, 0.3f, 1e-30f}) {
      values.clear();
      for (unsigned code = 0; code < 0x7F; ++code)
        for (const float between : {0.0f, 0.25f, 0.5f, 0.75f}) {
          const float low = e4m3_value(code), high = code + 1 < 0x7F ? e4m3_value(code + 1) : 480;
          const float value = (low + between * (high - low)) * scale;
          for (const float near : {value, std::nextafter(value, 1e30f), std::nextafter(value, -1e30f)})
            values.insert(values.end(), {near, -near});
        }
      std::vector<float> rounded = values;
      kernels->round_fp8(rounded.data(), std::ssize(rounded), scale);
      for (std::size_t i = 0; i < values.size(); ++i)
        ASSERT_EQ(std::bit_cast<std::uint32_t>(rounded[i]),
                  std::bit_cast<std::uint32_t>(num::to_float(num::quantize_fp8(values[i], scale))))
            << values[i] << " at a scale of " << scale;
    }
  }
}

struct Choice {
  ops::LinearTypes types;
  const char* amx;
  const char* avx512_bf16;
  const char* avx512;
  const char* avx2;
};
constexpr Choice kChoices[] = {
    {{DType::bf16, quant::Format::bf16, DType::bf16},
     "linear/cpu.amx",
     "linear/cpu.avx512_bf16",
     "linear/cpu.avx512",
     "linear/cpu.avx2"},
    {{DType::f32, quant::Format::bf16, DType::f32},
     "linear/cpu.avx512",
     "linear/cpu.avx512",
     "linear/cpu.avx512",
     "linear/cpu.avx2"},
    {{DType::f32, quant::Format::f32, DType::f32},
     "linear/cpu.avx512",
     "linear/cpu.avx512",
     "linear/cpu.avx512",
     "linear/cpu.avx2"},
    {{DType::bf16, quant::Format::f16, DType::f32},
     "linear/cpu.avx512",
     "linear/cpu.avx512",
     "linear/cpu.avx512",
     "linear/cpu.avx2"},
    {{DType::bf16, quant::Format::int8, DType::f32},
     "linear/cpu.amx",
     "linear/cpu.avx512_vnni",
     "linear/cpu.avx2",
     "linear/cpu.avx2"},
    {{DType::f16, quant::Format::f16, DType::f16},
     "linear/cpu.avx512",
     "linear/cpu.avx512",
     "linear/cpu.avx512",
     "linear/cpu.avx2"},
};

// With flags set by hand: the same on every machine.
TEST(LinearVariants, TheBestForTheInstructionSetIsChosen) {
  const Arch avx2{.avx2 = true}, avx512{.avx2 = true, .avx512 = true},
      bf16{.avx2 = true, .avx512 = true, .avx512_bf16 = true, .avx512_vnni = true},
      full{.avx2 = true, .avx512 = true, .avx512_bf16 = true, .avx512_vnni = true, .amx = true};
  for (const Choice& choice : kChoices) {
    ASSERT_VALUE(auto inputs, make_inputs({"c", ops::kQuick, 2, 70, 40}, choice.types, quant::Layout::panel64));
    const auto chosen = [&](const Arch& arch) -> std::string {
      const auto variant = ops::choose(catalog().linear, inputs.args, arch);
      return variant ? (*variant)->name : variant.error().message();
    };
    EXPECT_EQ(chosen(full), choice.amx);
    EXPECT_EQ(chosen(bf16), choice.avx512_bf16);
    EXPECT_EQ(chosen(avx512), choice.avx512);
    EXPECT_EQ(chosen(avx2), choice.avx2);
    EXPECT_EQ(chosen(Arch{}), "linear/cpu.portable");
    ASSERT_VALUE(auto rows, make_inputs({"c", ops::kQuick, 2, 70, 40}, choice.types, quant::Layout::row_major));
    inputs = std::move(rows);
    EXPECT_EQ(chosen(full), ref::catalog().linear[0].name);
  }
}

TEST(LinearVariants, SayWhyNot) {
  ASSERT_VALUE(auto inputs, make_inputs({"c", ops::kQuick, 2, 70, 40}, kChoices[4].types, quant::Layout::panel64));
  ops::LinearArgs args = inputs.args;
  const auto reason = [&](std::string_view name, const Arch& arch) -> std::string {
    const auto variant = ops::choose(linear_variants(), args, arch, name);
    return variant ? "none" : variant.error().message();
  };
  EXPECT_THAT(reason("linear/cpu.avx512_vnni", Arch{}), testing::HasSubstr("needs AVX512_VNNI"));
  EXPECT_THAT(reason("linear/cpu.avx512", Arch{.avx2 = true, .avx512 = true}),
              testing::HasSubstr("no kernel for int8"));
  EXPECT_THAT(reason("linear/cpu.portable", Arch{.family = Arch::Family::cuda}), testing::HasSubstr("runs on the CPU"));
  args.weight.layout = quant::Layout::row_major;
  EXPECT_THAT(reason("linear/cpu.portable", Arch{}), testing::HasSubstr("panel64"));
  args.weight.layout = quant::Layout::panel64;
  args.weight.cols = num::kInt8MaxCols + 1;
  EXPECT_THAT(reason("linear/cpu.portable", Arch{}), testing::HasSubstr("exact up to 133144 columns"));
}

TEST(LinearVariants, ReadXInPlaceWhereTheyCan) {
  const Arch bf16{.avx2 = true, .avx512 = true, .avx512_bf16 = true, .avx512_vnni = true};
  const auto workspace = [&](const ops::LinearTypes& types, std::int64_t cols) {
    const auto inputs = make_inputs({"c", ops::kQuick, 2, 70, cols}, types, quant::Layout::panel64);
    RL_CHECK(inputs.has_value());
    const auto variant = ops::choose(linear_variants(), inputs->args, bf16);
    RL_CHECK(variant.has_value());
    return (*variant)->workspace(inputs->args).count;
  };
  EXPECT_EQ(workspace(kChoices[0].types, 40), 0);
  EXPECT_GT(workspace(kChoices[0].types, 41), 0);
  EXPECT_EQ(workspace(kChoices[2].types, 41), 0);
  EXPECT_GT(workspace(kChoices[4].types, 40), 0);
}

}  // namespace
}  // namespace rl::cpu
