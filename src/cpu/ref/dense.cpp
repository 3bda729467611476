// embed, rms_norm, linear, silu_mul.

#include <numeric>

#include "cpu/ref/ref.h"
#include "cpu/ref/weight.h"
#include "num/fp8.h"
#include "num/int8.h"
#include "ops/codes.h"
#include "tensor/element.h"

namespace rl::cpu::ref {
namespace {

void add(Values& values, double value, double abs_terms) {
  values.value.push_back(value);
  values.abs_terms.push_back(abs_terms);
}

std::vector<std::int64_t> all_or(const std::vector<std::int64_t>& subset, std::int64_t n) {
  if (!subset.empty()) return subset;
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// Row `row` of x as doubles: of codes, the codes.
std::vector<double> row_of(const TensorRef& x, std::int64_t row) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < x.shape[1]; ++i)
    values.push_back(load_element(x.dtype, x.data, row * x.strides[0] + i * x.strides[1]));
  return values;
}

struct QuantizedRow {
  float scale = 0;
  std::vector<std::int32_t> q;
};

// num/int8.h
QuantizedRow quantized(const std::vector<double>& x) {
  std::uint32_t absmax = 0;
  for (const double v : x) absmax = std::max(absmax, num::magnitude_bits(static_cast<float>(v)));
  QuantizedRow row{.scale = num::int8_scale(absmax)};
  for (const double v : x) row.q.push_back(num::quantize_int8(static_cast<float>(v), row.scale));
  return row;
}

// x as it comes: codes of the op before, or numbers.
QuantizedRow int8_row(const ops::LinearArgs& args, std::int64_t token, const std::vector<double>& x) {
  if (!ops::are_codes(args.x.dtype)) return quantized(x);
  QuantizedRow row{.scale = args.x_scales.as<const float>()[token]};
  for (const double code : x) row.q.push_back(static_cast<std::int32_t>(code));
  return row;
}

// float(acc) * scale * w_scale, + bias, + the old output: as num/int8.h rounds them.
void add_int8_product(Values& values, const QuantizedRow& x, const quant::PackedWeight& w, std::int64_t row,
                      const float* bias, const float* old) {
  std::int32_t acc = 0;
  for (std::size_t i = 0; i < x.q.size(); ++i)
    acc += x.q[i] * static_cast<std::int32_t>(element(w, row, static_cast<std::int64_t>(i)));
  float value = num::int8_product(acc, x.scale, w.scales[row]);
  float terms = std::abs(value);
  if (bias) value += *bias, terms += std::abs(*bias);
  if (old) value += *old, terms += std::abs(*old);
  add(values, static_cast<double>(value), static_cast<double>(terms));
}

// Codes of a row of x by num/fp8.h, as values, and their scales: of all columns, or of each 128.
struct Fp8Row {
  std::vector<double> q, scale;
};
Fp8Row fp8_row(const std::vector<double>& x, std::int64_t group) {
  Fp8Row row;
  for (std::size_t first = 0; first < x.size(); first += static_cast<std::size_t>(group)) {
    const std::span<const double> part =
        std::span(x).subspan(first, std::min(static_cast<std::size_t>(group), x.size() - first));
    std::uint32_t absmax = 0;
    for (const double v : part) absmax = std::max(absmax, num::magnitude_bits(static_cast<float>(v)));
    const float scale = num::fp8_scale(absmax);
    row.scale.push_back(static_cast<double>(scale));
    for (const double v : part)
      row.q.push_back(static_cast<double>(num::to_float(num::quantize_fp8(static_cast<float>(v), scale))));
  }
  return row;
}

Fp8Row fp8_row(const ops::LinearArgs& args, std::int64_t token, const std::vector<double>& x) {
  const std::int64_t groups = ops::scale_groups(args.weight.format, args.weight.cols);
  if (!ops::are_codes(args.x.dtype)) return fp8_row(x, ops::group_cols(args.weight.cols, groups));
  Fp8Row row{.q = x, .scale = {}};
  for (std::int64_t g = 0; g < groups; ++g)
    row.scale.push_back(static_cast<double>(args.x_scales.as<const float>()[token * groups + g]));
  return row;
}

// The terms of row `row` of W with x: codes are exact, sums are double; what is stored without a scale has scale 1.
template <class F>
void for_each_term(const std::vector<double>& x, const quant::PackedWeight& w, std::int64_t row, const Fp8Row& fp8,
                   F&& accumulate) {
  const std::int64_t blocks = (w.cols + num::kFp8Block - 1) / num::kFp8Block;
  for (std::int64_t i = 0; i < w.cols; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const double code = element(w, row, i);
    switch (quant::scales_of(w.format)) {
      case quant::Scales::none:
        accumulate(x[at] * code);
        break;
      case quant::Scales::rows: {
        const double scale = static_cast<double>(w.scales[row]);
        accumulate(quant::quantizes_input(w.format) ? fp8.q[at] * fp8.scale[0] * code * scale : x[at] * code * scale);
        break;
      }
      case quant::Scales::blocks: {
        const std::int64_t block = i / num::kFp8Block;
        const double scale = static_cast<double>(w.scales[row / num::kFp8Block * blocks + block]);
        accumulate(fp8.q[at] * fp8.scale[static_cast<std::size_t>(block)] * code * scale);
        break;
      }
    }
  }
}

}  // namespace

Values embed(const ops::EmbedArgs& args) {
  Values values;
  for (std::int64_t t = 0; t < args.ids.shape[0]; ++t) {
    const std::int64_t id = args.ids.as<const std::int32_t>()[t];
    RL_CHECK(id >= 0 && id < args.table.rows);
    const double scale = args.table.scales ? static_cast<double>(args.table.scales[id]) : 1;
    for (std::int64_t i = 0; i < args.table.cols; ++i) {
      const double value = element(args.table, id, i) * scale;
      add(values, value, std::abs(value));
    }
  }
  return values;
}

Values rms_norm(const ops::RmsNormArgs& args) {
  Values values;
  const std::int64_t rows = args.out.shape[0], hidden = args.x.shape[1];
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::vector<double> x = row_of(args.x, args.rows ? args.rows.as<const std::int32_t>()[i] : i);
    double squares = 0;
    for (const double v : x) squares += v * v;
    const double root = std::sqrt(squares / static_cast<double>(hidden) + static_cast<double>(args.eps));
    for (std::size_t k = 0; k < x.size(); ++k) {
      const double value = x[k] / root * static_cast<double>(args.weight.as<const float>()[k]);
      add(values, value, std::abs(value));
    }
  }
  return values;
}

Values linear(const ops::LinearArgs& args, const Subset& subset) {
  Values values;
  const quant::PackedWeight& w = args.weight;
  const std::vector<std::int64_t> outputs = all_or(subset.cols, w.rows);
  const float* bias = args.bias ? args.bias.as<const float>() : nullptr;
  for (const std::int64_t t : all_or(subset.rows, args.x.shape[0])) {
    const std::vector<double> x = row_of(args.x, t);
    const float* old = args.accumulate ? args.out.as<const float>() + t * w.rows : nullptr;
    const QuantizedRow q = w.format == quant::Format::int8 ? int8_row(args, t, x) : QuantizedRow{};
    Fp8Row fp8;
    if (w.format != quant::Format::int8 && quant::quantizes_input(w.format)) fp8 = fp8_row(args, t, x);
    for (const std::int64_t r : outputs) {
      if (w.format == quant::Format::int8) {
        add_int8_product(values, q, w, r, bias ? bias + r : nullptr, old ? old + r : nullptr);
        continue;
      }
      double sum = 0, terms = 0;
      const auto accumulate = [&](double term) { sum += term, terms += std::abs(term); };
      for_each_term(x, w, r, fp8, accumulate);
      if (bias) accumulate(static_cast<double>(bias[r]));
      if (old) accumulate(static_cast<double>(old[r]));
      add(values, sum, terms);
    }
  }
  return values;
}

Values silu_mul(const ops::SiluMulArgs& args) {
  Values values;
  const std::int64_t ffn = args.out.shape[1];
  for (std::int64_t t = 0; t < args.out.shape[0]; ++t) {
    const std::vector<double> row = row_of(args.gate_up, t);
    for (std::size_t i = 0; i < static_cast<std::size_t>(ffn); ++i) {
      const double gate = row[i], up = row[i + static_cast<std::size_t>(ffn)];
      const double value = gate / (1 + std::exp(-gate)) * up;
      add(values, value, (1 + std::abs(gate)) * std::abs(value));
    }
  }
  return values;
}

void store_codes(const std::vector<double>& numbers, DType type, const TensorRef& codes, const TensorRef& scales) {
  const std::int64_t cols = codes.shape[1], groups = scales.shape[1], width = ops::group_cols(cols, groups);
  std::vector<double> rounded(numbers.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    std::uint32_t bits[2] = {};  // of any type
    store_element(type, bits, 0, numbers[i]);
    rounded[i] = load_element(type, bits, 0);
  }
  for (std::int64_t row = 0; row < codes.shape[0]; ++row)
    for (std::int64_t g = 0; g < groups; ++g) {
      const std::int64_t first = row * cols + g * width;
      const std::vector<double> group(rounded.begin() + first,
                                      rounded.begin() + std::min(first + width, (row + 1) * cols));
      float* const scale = scales.as<float>() + row * groups + g;
      if (codes.dtype == DType::i8) {
        const QuantizedRow q = quantized(group);
        *scale = q.scale;
        for (std::size_t i = 0; i < q.q.size(); ++i)
          codes.as<std::int8_t>()[first + static_cast<std::int64_t>(i)] = static_cast<std::int8_t>(q.q[i]);
      } else {
        const Fp8Row q = fp8_row(group, std::ssize(group));
        *scale = static_cast<float>(q.scale[0]);
        for (std::size_t i = 0; i < q.q.size(); ++i)
          store_element(DType::f8_e4m3, codes.data, first + static_cast<std::int64_t>(i), q.q[i]);
      }
    }
}

}  // namespace rl::cpu::ref
