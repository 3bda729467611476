// rms_norm, rope_append, embed and silu_mul against cpu/ref: every quick case in every type, under every limit of the
// instruction set, with one thread and with two.

#include "cpu/fast/variants.h"
#include "cpu/launch.h"
#include "cpu/ref/ref.h"
#include "ops/compare.h"
#include "ops/tolerance.h"

namespace rl::cpu {
namespace {

class SmallOps : public testing::TestWithParam<std::string_view> {
 protected:
  // Runs every variant, each time with `written` as they were at first, and calls check() after it.
  template <class Args, class Check>
  void run_all(std::span<const ops::Variant<Args>> variants, const ops::CaseInputs<Args>& inputs,
               const std::vector<TensorRef>& written, Check&& check) {
    ASSERT_FALSE(variants.empty());
    std::vector<std::vector<std::byte>> before;
    for (const TensorRef& t : written) before.push_back(bytes_of(t));
    for (const auto& variant : variants)
      for (ThreadPool* pool : {&one_, &two_}) {
        for (std::size_t i = 0; i < written.size(); ++i) set_bytes(written[i], before[i]);
        ASSERT_OK(launch(variant, inputs.args, *pool, GetParam()));
        ASSERT_OK(inputs.memory.check_guards());
        check();
        ASSERT_FALSE(HasFailure()) << variant.name;
      }
  }
  static void expect_close(const TensorRef& out, const std::vector<double>& reference,
                           const std::vector<double>& tolerance) {
    const ops::Comparison comparison = ops::compare(out, reference, tolerance);
    EXPECT_TRUE(comparison.passed) << comparison.message();
  }
  ThreadPool one_{1}, two_{2};
};
INSTANTIATE_TEST_SUITE_P(Isa, SmallOps, testing::ValuesIn(kLimits),
                         [](const auto& param) { return std::string(param.param); });

// Large enough to be shared out among threads.
constexpr ops::RmsNormCase kSharedNorm{"shared", 0, 70, 1000, 0};
constexpr ops::SiluMulCase kSharedGate{"shared", 0, 37, 3001};
constexpr ops::RopeAppendCase kSharedRope{"shared", 0, 8, 4, 80, {{130, 130}}, true};
constexpr ops::EmbedCase kSharedEmbed{"shared", 0, 300, 500, 700};

template <class Case, std::size_t N>
std::vector<Case> quick(const Case (&table)[N], const Case& shared) {
  std::vector<Case> cases;
  std::copy_if(table, table + N, std::back_inserter(cases), [](const Case& c) { return c.tags & ops::kQuick; });
  cases.push_back(shared);
  return cases;
}

TEST_P(SmallOps, RmsNorm) {
  for (const ops::RmsNormCase& c : quick(ops::kRmsNormCases, kSharedNorm))
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      SCOPED_TRACE(fmt::format("{} {}", c.name, name_of(type)));
      ASSERT_VALUE(const auto inputs, make_inputs(c, type));
      const ops::Values reference = ref::rms_norm(inputs.args);
      run_all(rms_norm_variants(), inputs, {inputs.args.out},
              [&] { expect_close(inputs.args.out, reference.value, ops::tolerance(inputs.args, reference)); });
    }
}

TEST_P(SmallOps, SiluMul) {
  for (const ops::SiluMulCase& c : quick(ops::kSiluMulCases, kSharedGate))
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      SCOPED_TRACE(fmt::format("{} {}", c.name, name_of(type)));
      ASSERT_VALUE(const auto inputs, make_inputs(c, type));
      const ops::Values reference = ref::silu_mul(inputs.args);
      run_all(silu_mul_variants(), inputs, {inputs.args.out},
              [&] { expect_close(inputs.args.out, reference.value, ops::tolerance(inputs.args, reference)); });
    }
}

// Both ends of the sigmoid, and what is not a number.
TEST_P(SmallOps, SiluMulAtTheEnds) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  std::vector<float> gate_up = {-1e30f, -200, -104, -88, -0.f, 0, 88, 200, 1e30f, kInf, -1e-20f, std::nanf("")};
  const auto n = static_cast<std::int64_t>(gate_up.size());
  gate_up.resize(static_cast<std::size_t>(2 * n), 1.f);
  std::vector<float> out(static_cast<std::size_t>(n));
  const ops::SiluMulArgs args{.gate_up = tensor(gate_up.data(), {1, 2 * n}), .out = tensor(out.data(), {1, n})};
  for (const auto& variant : silu_mul_variants()) {
    ASSERT_OK(launch(variant, args, one_, GetParam()));
    for (std::size_t i = 0; i + 1 < out.size(); ++i) {
      const double x = static_cast<double>(gate_up[i]);
      const double expected = x < -700 ? 0 : x / (1 + std::exp(-x));
      if (std::isinf(x))
        EXPECT_EQ(out[i], kInf);
      else
        EXPECT_NEAR(static_cast<double>(out[i]), expected, 1e-6 * std::abs(expected) + 1e-35) << x;
    }
    EXPECT_TRUE(std::isnan(out.back()));
  }
}

TEST_P(SmallOps, Embed) {
  for (const ops::EmbedCase& c : quick(ops::kEmbedCases, kSharedEmbed))
    for (const quant::Format format :
         {quant::Format::f32, quant::Format::bf16, quant::Format::f16, quant::Format::int8})
      for (const quant::Layout layout : {quant::Layout::row_major, quant::Layout::panel64}) {
        SCOPED_TRACE(fmt::format("{} {} {}", c.name, name_of(format), name_of(layout)));
        ASSERT_VALUE(const auto inputs, make_inputs(c, format, layout));
        const ops::Values reference = ref::embed(inputs.args);
        run_all(embed_variants(), inputs, {inputs.args.out},
                [&] { expect_close(inputs.args.out, reference.value, ops::tolerance(inputs.args, reference)); });
      }
}

// Rows of qkv beside q, and slots of the cache that no token of the step fills, keep their bytes.
TEST_P(SmallOps, RopeAppend) {
  for (const ops::RopeAppendCase& c : quick(ops::kRopeAppendCases, kSharedRope))
    for (const ops::CacheTypes types : ops::kCacheTypes) {
      const DType type = types.activation;
      SCOPED_TRACE(fmt::format("{} {}, cache {}", c.name, name_of(type), name_of(types.cache)));
      ASSERT_VALUE(const auto inputs, make_inputs(c, types));
      const ops::RopeAppendArgs& args = inputs.args;
      const std::vector<std::byte> before = bytes_of(args.qkv);
      const ref::RopeAppended reference = ref::rope_append(args);
      run_all(rope_append_variants(), inputs, {args.qkv, args.cache.k, args.cache.v}, [&] {
        const std::int64_t tokens = args.qkv.shape[0], cols = args.qkv.shape[1], dim = args.head_dim;
        const std::int64_t kv = args.kv_heads * dim, q = args.heads * dim, pages = args.cache.k.shape[2];
        TensorRef rotated = args.qkv;
        rotated.shape[1] = q;
        expect_close(rotated, reference.q.value,
                     ops::tolerance(args, reference.q, static_cast<bool>(args.q_norm), type));
        for (std::int64_t t = 0; t < tokens; ++t)
          for (std::int64_t i = q; i < cols; ++i)
            ASSERT_EQ(load_element(type, args.qkv.data, t * cols + i), load_element(type, before.data(), t * cols + i));

        // Codes hold nothing beyond 448; v is rounded to them, and to nothing else.
        const auto stored = [&](std::vector<double> values, bool rounded) {
          for (double& x : values) {
            if (types.cache == DType::f8_e4m3) x = std::clamp(x, -448.0, 448.0);
            if (rounded && types.cache == DType::f8_e4m3)
              x = static_cast<double>(num::to_float(num::from_double<num::fp8_e4m3>(x)));
          }
          return values;
        };
        const auto check_cache = [&](const TensorRef& cache, const std::vector<double>& values,
                                     const std::vector<double>& tolerance) {
          std::vector<double> appended;
          std::vector<bool> filled(static_cast<std::size_t>(cache.elements()));
          for (std::int64_t t = 0; t < tokens; ++t) {
            const std::int64_t position = args.positions.as<std::int32_t>()[t];
            const std::int64_t seq = args.seq_of.as<std::int32_t>()[t];
            const std::int64_t page =
                args.page_table.as<std::int32_t>()[seq * args.page_table.shape[1] + position / pages];
            for (std::int64_t i = 0; i < kv; ++i) {
              const std::int64_t at = ((page * args.kv_heads + i / dim) * pages + position % pages) * dim + i % dim;
              appended.push_back(load_element(types.cache, cache.data, at));
              filled[static_cast<std::size_t>(at)] = true;
            }
          }
          std::vector<float> rounded(appended.begin(), appended.end());
          expect_close(tensor(rounded.data(), {static_cast<std::int64_t>(rounded.size())}), values, tolerance);
          for (std::int64_t i = 0; i < cache.elements(); ++i)
            ASSERT_TRUE(filled[static_cast<std::size_t>(i)] || std::isnan(load_element(types.cache, cache.data, i)))
                << "element " << i << " of the cache";
        };
        check_cache(args.cache.k, stored(reference.k.value, false),
                    ops::tolerance(args, reference.k, static_cast<bool>(args.k_norm), types.cache));
        check_cache(args.cache.v, stored(reference.v.value, true), std::vector<double>(reference.v.value.size(), 0.0));
      });
    }
}

}  // namespace
}  // namespace rl::cpu
