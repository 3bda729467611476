// The comparator before anything is tested with it: planted faults must turn it red, a clean output must stay green.

#include "ops/compare.h"

#include <gtest/gtest.h>

#include "check/result.h"
#include "ops/case_inputs.h"
#include "tensor/element.h"

namespace rl::ops {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// 9 rows of 17 with a tolerance of a thousandth of each value, in three types and with gaps between rows.
class Comparator : public testing::TestWithParam<DType> {
 protected:
  static constexpr std::int64_t kRows = 9, kCols = 17, kStride = 20;

  Comparator() : bytes_(static_cast<std::size_t>(kRows * kStride * size_of(GetParam()))) {
    out_ = tensor(bytes_.data(), GetParam(), {kRows, kCols});
    out_.strides[0] = kStride;
    std::memset(bytes_.data(), 0xFF, bytes_.size());  // the gaps hold NaN and must not be looked at
    for (std::int64_t i = 0; i < kRows * kCols; ++i) {
      const double value = (i % 2 == 0 ? 1 : -1) * (1 + static_cast<double>(i) / 64);
      set(i, value);
      ref_.push_back(get(i));
      tolerance_.push_back(1e-3 * std::abs(value));
    }
  }
  std::int64_t at(std::int64_t i) const { return i / kCols * kStride + i % kCols; }
  void set(std::int64_t i, double value) { store_element(GetParam(), bytes_.data(), at(i), value); }
  double get(std::int64_t i) const { return load_element(GetParam(), bytes_.data(), at(i)); }
  Comparison compared() const { return compare(out_, ref_, tolerance_); }

  std::vector<char> bytes_;
  TensorRef out_;
  std::vector<double> ref_, tolerance_;
};
INSTANTIATE_TEST_SUITE_P(Types, Comparator, testing::Values(DType::f32, DType::bf16, DType::f16),
                         [](const auto& param) { return std::string(name_of(param.param)); });

TEST_P(Comparator, PassesACleanOutput) {
  const Comparison result = compared();
  EXPECT_TRUE(result.passed) << result.message();
  EXPECT_EQ(result.elements, kRows * kCols);
  EXPECT_EQ(result.failures, 0);
  EXPECT_EQ(result.relative_error, 0);
}

TEST_P(Comparator, FindsOneNaNAnywhere) {
  for (const std::int64_t i : {std::int64_t{0}, std::int64_t{40}, kRows * kCols - 1}) {
    const double before = get(i);
    set(i, NAN);
    const Comparison result = compared();
    EXPECT_FALSE(result.passed);
    EXPECT_EQ(result.failures, 1);
    EXPECT_EQ(result.worst_index, i);
    EXPECT_EQ(result.relative_error, kInfinity);
    set(i, before);
  }
}

TEST_P(Comparator, FindsASignFlip) {
  set(33, -get(33));
  EXPECT_FALSE(compared().passed);
  EXPECT_EQ(compared().worst_index, 33);
}

TEST_P(Comparator, FindsRowsOffByOne) {
  for (std::int64_t i = 0; i < (kRows - 1) * kCols; ++i) set(i, get(i + kCols));
  EXPECT_FALSE(compared().passed);
  EXPECT_EQ(compared().failures, (kRows - 1) * kCols);
}

TEST_P(Comparator, FindsTheLastElementUnwritten) {
  set(kRows * kCols - 1, NAN);  // as outputs are filled before a launch
  EXPECT_FALSE(compared().passed);
}

TEST_P(Comparator, FindsAFactorOfAHundredth) {
  for (std::int64_t i = 0; i < kRows * kCols; ++i) set(i, 1.01 * get(i));
  EXPECT_FALSE(compared().passed);
  EXPECT_NEAR(compared().relative_error, 0.01, 0.004);  // bf16 rounds by up to that
}

TEST_P(Comparator, FindsTwoUnequalNegatives) {
  ASSERT_LT(get(51), 0);
  set(51, 2 * get(51));
  EXPECT_FALSE(compared().passed);
}

TEST_P(Comparator, FindsAnInfinityOfTheWrongSign) {
  ref_[7] = kInfinity;
  set(7, kInfinity);
  EXPECT_TRUE(compared().passed) << "equal infinities agree";
  set(7, -kInfinity);
  EXPECT_FALSE(compared().passed);
  set(7, 1);
  EXPECT_FALSE(compared().passed) << "a finite value where an infinity belongs";
  ref_[7] = 1;
  set(7, kInfinity);
  EXPECT_FALSE(compared().passed) << "an infinity where a finite value belongs";
}

TEST_P(Comparator, ANaNInTheReferenceIsNeverGood) {
  ref_[7] = NAN;
  EXPECT_FALSE(compared().passed);
  set(7, NAN);
  EXPECT_FALSE(compared().passed);
}

TEST_P(Comparator, AToleranceThatIsNoNumberAllowsNothing) {
  tolerance_[3] = NAN;
  EXPECT_FALSE(compared().passed);
  tolerance_[3] = -1;
  EXPECT_FALSE(compared().passed);
}

TEST_P(Comparator, EmptyAndMismatchedInputsDoNotPass) {
  EXPECT_FALSE(compare({}, {}, {}).passed);
  EXPECT_EQ(compare({}, {}, {}).message(), "nothing to compare");
  TensorRef none = out_;
  none.shape[0] = 0;
  EXPECT_FALSE(compare(none, {}, {}).passed);
  EXPECT_FALSE(compare(out_, std::span(ref_).first(10), tolerance_).passed);
  EXPECT_FALSE(compare(out_, ref_, std::span(tolerance_).first(2)).passed);
  EXPECT_FALSE(compare(out_, ref_, {}).passed);
  EXPECT_TRUE(compare(out_, ref_, std::span(tolerance_).first(1)).passed) << "one tolerance holds for all";
}

TEST_P(Comparator, NamesTheWorstFailure) {
  set(20, get(20) + 1);
  set(90, get(90) + 8);
  set(91, get(91) + 2);
  const Comparison result = compared();
  EXPECT_EQ(result.worst_index, 90);
  EXPECT_EQ(result.failures, 3);
  EXPECT_EQ(result.worst_ref, ref_[90]);
  EXPECT_THAT(result.message(), testing::HasSubstr("3 of 153 elements are wrong; the worst: element 90 is"));
  set(5, NAN);
  EXPECT_EQ(compared().worst_index, 5) << "a NaN before all";
}

TEST_P(Comparator, OfWhatPassesNamesTheNearestToItsBound) {
  std::fill(tolerance_.begin(), tolerance_.end(), 1.0);
  ref_[30] += 0.5;
  ref_[60] -= 0.75;
  EXPECT_TRUE(compared().passed);
  EXPECT_EQ(compared().worst_index, 60);
  tolerance_[60] = 0.75;
  EXPECT_TRUE(compared().passed) << "the bound itself is within";
  tolerance_[60] = 0.74;
  EXPECT_FALSE(compared().passed);
}

TEST_P(Comparator, ComparesSubsets) {
  const Subset subset{.rows = {2, 5}, .cols = {0, 16, 3}};
  std::vector<double> ref;
  for (const std::int64_t row : subset.rows)
    for (const std::int64_t col : subset.cols) ref.push_back(ref_[static_cast<std::size_t>(row * kCols + col)]);
  const double tolerance[] = {1e-6};
  set(4 * kCols, NAN);  // not of the subset
  EXPECT_TRUE(compare(out_, subset, ref, tolerance).passed);
  EXPECT_EQ(compare(out_, subset, ref, tolerance).elements, 6);
  set(5 * kCols + 16, 9);
  EXPECT_EQ(compare(out_, subset, ref, tolerance).worst_index, 4);
}

// 3 rows of 200 numbers as codes, with the tolerance of a bf16 result: the codes and scales of any numbers within it
// pass, others do not.
class CodesComparator : public testing::TestWithParam<quant::Format> {
 protected:
  static constexpr std::int64_t kRows = 3, kCols = 200;

  void SetUp() override {
    CaseMemory scratch;
    ASSERT_VALUE(coded_, memory_.coded(GetParam(), kRows, kCols, kCols));
    ASSERT_VALUE(const TensorRef numbers, scratch.normal(DType::bf16, {kRows, kCols}));  // those that coded() drew
    for (std::int64_t i = 0; i < kRows * kCols; ++i) {
      ref_.push_back(load_element(DType::bf16, numbers.data, i));
      tolerance_.push_back(0x1p-9 * std::abs(ref_.back()));
    }
  }
  Comparison compared() const { return compare_codes(coded_.codes, coded_.scales, ref_, tolerance_); }
  std::uint8_t& code(std::int64_t i) { return static_cast<std::uint8_t*>(coded_.codes.data)[i]; }
  float& scale(std::int64_t i) { return coded_.scales.as<float>()[i]; }

  CaseMemory memory_;
  CaseMemory::Coded coded_;
  std::vector<double> ref_, tolerance_;
};
INSTANTIATE_TEST_SUITE_P(Formats, CodesComparator,
                         testing::Values(quant::Format::int8, quant::Format::fp8, quant::Format::fp8_block),
                         [](const auto& param) {
                           std::string name = name_of(param.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(CodesComparator, PassesCodesOfTheNumbers) {
  const Comparison result = compared();
  EXPECT_TRUE(result.passed) << result.message();
  EXPECT_EQ(result.elements, coded_.codes.elements() + coded_.scales.elements());
}

TEST_P(CodesComparator, FindsACodeThatIsTwoOff) {
  for (const std::int64_t i : {std::int64_t{0}, kCols + 7, kRows * kCols - 1}) {
    const std::uint8_t before = code(i);
    code(i) = static_cast<std::uint8_t>(before + (before % 128 < 100 ? 2 : -2));
    EXPECT_FALSE(compared().passed) << i;
    EXPECT_EQ(compared().worst_index, i);
    code(i) = before;
  }
}

TEST_P(CodesComparator, FindsASignFlip) {
  const std::int64_t i = 33;
  code(i) = GetParam() == quant::Format::int8 ? static_cast<std::uint8_t>(-code(i)) : code(i) ^ 0x80;
  EXPECT_FALSE(compared().passed);
}

TEST_P(CodesComparator, FindsAWrongScale) {
  const std::int64_t last = coded_.scales.elements() - 1;
  const float before = scale(last);
  for (const float wrong : {before * 1.01f, before / 1.01f, 0.0f, -before, std::nanf(""), INFINITY}) {
    scale(last) = wrong;
    EXPECT_FALSE(compared().passed) << wrong;
  }
  scale(last) = before;
  EXPECT_TRUE(compared().passed);
}

TEST_P(CodesComparator, FindsRowsThatWereSwapped) {
  std::swap_ranges(&code(0), &code(0) + kCols, &code(kCols));
  EXPECT_FALSE(compared().passed);
}

TEST_P(CodesComparator, ANaNAndNothingDoNotPass) {
  ref_[5] = NAN;
  EXPECT_FALSE(compared().passed);
  EXPECT_FALSE(compare_codes({}, {}, {}, {}).passed);
  ref_.pop_back();
  EXPECT_FALSE(compared().passed);
}

}  // namespace
}  // namespace rl::ops
