// linear in formats this processor has no instructions for: fp8 (num/fp8.h) and the weight-only ones. Codes are turned
// into floats, a block of 128 columns of a panel at a time, and multiplied by the float kernels, which add up column by
// column in one accumulator: what num/fp8.h asks for, to the bit. The results are those of the format; the speed is
// that of floats and says nothing of it (Facts::emulated).

#include "base/checked.h"
#include "cpu/fast/cpu_device.h"
#include "cpu/fast/linear_kernels.h"
#include "cpu/fast/variants.h"
#include "num/fp8.h"
#include "num/int8.h"

namespace rl::cpu {
namespace {

using linear::kLineBytes;
using linear::kPanelRows;
using ops::LinearArgs;
using quant::Scales;

constexpr std::int64_t kBlockRows = 96;  // of x, in a block: its sums and totals take 48 KB
constexpr std::int64_t kBlockCols = num::kFp8Block;
constexpr std::int64_t kGroupCols = 4;  // of a panel's line of bytes

const linear::Kernels& float_kernels(const Arch& arch) {
  if (arch.avx512 && linear::kAvx512F32) return *linear::kAvx512F32;
  return arch.avx2 && linear::kAvx2F32 ? *linear::kAvx2F32 : *linear::kPortableF32;
}

// The input as floats in the workspace: as it is, or as the values of its codes, with the scales of its groups.
struct InputPlan {
  std::int64_t row_floats, groups;
  Bytes rows, scales;

  explicit InputPlan(const LinearArgs& args)
      : row_floats(round_up(args.weight.padded_cols, 16)),
        groups(!quant::quantizes_input(args.weight.format)              ? 0
               : quant::scales_of(args.weight.format) == Scales::blocks ? ceil_div(args.weight.cols, kBlockCols)
                                                                        : 1) {
    const std::int64_t tokens = args.x.shape[0];
    rows = {round_up(tokens * row_floats * 4, kAlignment)};
    scales = {round_up(tokens * groups * 4, kAlignment)};
  }
};

class Product {
 public:
  Product(const LinearArgs& args, void* workspace, const Arch& arch)
      : args_(args),
        kernels_(float_kernels(arch)),
        input_(args),
        fp8_(quant::element_type(args.weight.format) != DType::i8),
        blocks_(quant::scales_of(args.weight.format) == Scales::blocks),
        x_(static_cast<float*>(workspace)),
        x_scales_(reinterpret_cast<float*>(static_cast<char*>(workspace) + input_.rows.count)) {}

  void run(ThreadPool& pool) {
    const std::int64_t tokens = args_.x.shape[0];
    pool.parallel_for(tokens, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) convert(t);
    });
    pool.parallel_for(args_.weight.padded_rows / kPanelRows, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t panel = begin; panel < end; ++panel)
        for (std::int64_t first = 0; first < tokens; first += kBlockRows)
          compute(panel, first, std::min(kBlockRows, tokens - first));
    });
  }

 private:
  void convert(std::int64_t t) {
    float* const out = x_ + t * input_.row_floats;
    const std::int64_t cols = args_.weight.cols;
    kernels_.convert(out, static_cast<const char*>(args_.x.data) + t * args_.x.strides[0] * size_of(args_.x.dtype),
                     number_of(args_.x.dtype), cols, args_.weight.padded_cols);
    const std::int64_t group_cols = input_.groups > 1 ? kBlockCols : cols;
    for (std::int64_t g = 0; g < input_.groups; ++g) {
      float* const group = out + g * group_cols;
      const std::int64_t n = std::min(group_cols, cols - g * group_cols);
      std::uint32_t largest = 0;
      for (std::int64_t i = 0; i < n; ++i) largest = std::max(largest, num::magnitude_bits(group[i]));
      const float scale = num::fp8_scale(largest);
      x_scales_[t * input_.groups + g] = scale;
      if (scale > 0)
        kernels_.round_fp8(group, n, scale);
      else
        std::fill_n(group, n, 0.0f);
    }
  }

  // Columns [first, first + n) of a panel as floats, a line of 64 rows per column.
  void decode(std::int64_t panel, std::int64_t first, std::int64_t n, float* out) const {
    const std::int64_t groups = args_.weight.padded_cols / kGroupCols;
    const auto* codes = static_cast<const std::uint8_t*>(args_.weight.data) +
                        (panel * groups + first / kGroupCols) * kPanelRows * kGroupCols;
    kernels_.widen_codes(codes, n, fp8_, out);
  }

  void compute(std::int64_t panel, std::int64_t first_token, std::int64_t tokens) const {
    alignas(64) float decoded[kBlockCols * kPanelRows], sums[kBlockRows * kPanelRows], totals[kBlockRows * kPanelRows];
    const std::int64_t cols = args_.weight.cols, row_bytes = input_.row_floats * 4;
    if (blocks_) std::fill_n(totals, tokens * kPanelRows, 0.0f);
    for (std::int64_t col = 0; col < cols; col += kBlockCols) {
      const std::int64_t steps = std::min(kBlockCols, cols - col);
      decode(panel, col, round_up(steps, kGroupCols), decoded);
      for (std::int64_t t = 0; t < tokens; t += kernels_.max_rows) {
        const std::int64_t rows = std::min<std::int64_t>(kernels_.max_rows, tokens - t);
        kernels_.tile[rows - 1]({.panel = decoded,
                                 .x = x_ + (first_token + t) * input_.row_floats + col,
                                 .x_stride = row_bytes,
                                 .steps = steps,
                                 .sums = sums + t * kPanelRows,
                                 .resume = col > 0 && !blocks_,
                                 .prefetch = nullptr,
                                 .prefetch_pace = 0});
      }
      if (blocks_) add_block(panel, col / kBlockCols, first_token, tokens, sums, totals);
    }
    for (std::int64_t t = 0; t < tokens; ++t) store(panel, first_token + t, (blocks_ ? totals : sums) + t * kPanelRows);
  }

  void add_block(std::int64_t panel, std::int64_t block, std::int64_t first_token, std::int64_t tokens,
                 const float* sums, float* totals) const {
    const std::int64_t blocks = ceil_div(args_.weight.cols, kBlockCols);
    const float w_scale = args_.weight.scales[panel * kPanelRows / num::kFp8Block * blocks + block];
    for (std::int64_t t = 0; t < tokens; ++t) {
      const float scale = x_scales_[(first_token + t) * input_.groups + block] * w_scale;
      for (std::int64_t j = 0; j < kPanelRows; ++j) {
        const float part = sums[t * kPanelRows + j] * scale;
        totals[t * kPanelRows + j] += part;
      }
    }
  }

  void store(std::int64_t panel, std::int64_t token, const float* sums) const {
    const std::int64_t first = panel * kPanelRows, n = std::min(kPanelRows, args_.weight.rows - first);
    const float x_scale = input_.groups == 1 ? x_scales_[token] : 1;
    for (std::int64_t j = 0; j < n; ++j) {
      float value = sums[j];
      if (!blocks_) value = value * x_scale * args_.weight.scales[first + j];
      if (args_.bias) value += args_.bias.as<const float>()[first + j];
      const std::int64_t at = token * args_.out.strides[0] + first + j;
      if (args_.out.dtype == DType::bf16)
        args_.out.as<num::bf16>()[at] = num::from_float<num::bf16>(value);
      else if (args_.out.dtype == DType::f16)
        args_.out.as<num::fp16>()[at] = num::from_float<num::fp16>(value);
      else if (args_.accumulate)
        args_.out.as<float>()[at] += value;
      else
        args_.out.as<float>()[at] = value;
    }
  }

  const LinearArgs& args_;
  const linear::Kernels& kernels_;
  InputPlan input_;
  bool fp8_, blocks_;
  float *x_, *x_scales_;
};

Status supports(const LinearArgs& args, const Arch& arch) {
  const auto refuse = [](std::string what) { return Error{.kind = ErrorKind::unsupported, .what = std::move(what)}; };
  if (arch.family != Arch::Family::cpu) return refuse("runs on the CPU");
  if (args.weight.layout != quant::Layout::panel64) return refuse("reads panel64 weights");
  if (args.x_scales) return refuse("quantises its input itself");
  if (quant::scales_of(args.weight.format) == Scales::none || args.weight.format == quant::Format::int8)
    return refuse(fmt::format("{} weights need no emulation", name_of(args.weight.format)));
  return ok();
}

Bytes workspace(const LinearArgs& args) {
  const InputPlan plan(args);
  return plan.rows + plan.scales;
}

Status launch(const LinearArgs& args, void* workspace, Stream& stream) {
  if (args.x.shape[0] == 0) return ok();
  auto& cpu = static_cast<CpuStream&>(stream);
  Product(args, workspace, cpu.arch()).run(cpu.pool());
  return ok();
}

constexpr ops::Variant<LinearArgs> kVariants[] = {
    {"linear/cpu.emulated",
     {.graph_safe = true, .deterministic = true, .batch_invariant = true, .emulated = true},
     supports,
     workspace,
     launch}};

}  // namespace

std::span<const ops::Variant<LinearArgs>> emulated_linear_variants() { return kVariants; }

}  // namespace rl::cpu
