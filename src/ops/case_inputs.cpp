#include "ops/case_inputs.h"

#include <cmath>
#include <numeric>
#include <set>

#include "base/checked.h"
#include "num/fp8.h"
#include "num/int8.h"
#include "num/random.h"
#include "ops/kv_layout.h"
#include "quant/pack.h"
#include "tensor/element.h"

namespace rl::ops {
namespace {

constexpr std::int64_t kGuardBytes = kAlignment;  // keeps the output aligned as an allocation is
constexpr unsigned char kGuard = 0xA5;

// Random permutation of [0, n) (Fisher and Yates).
std::vector<std::int32_t> shuffled(std::int64_t n, std::uint64_t seed) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (std::int64_t i = n - 1; i > 0; --i) {
    const auto j =
        num::uniform_below(seed, ~std::uint64_t{0}, static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(i) + 1);
    std::swap(order[static_cast<std::size_t>(i)], order[j]);
  }
  return order;
}

// The index of a step over sequences in a cache of shuffled pages, and two pages more than it needs.
struct StepIndex {
  std::int64_t pages = 0, max_pages = 0;
  std::vector<std::int32_t> page_table, kv_len, cu_q = {0}, positions, seq_of;

  StepIndex(const SeqList& seqs, std::int64_t page_tokens) {
    for (std::int64_t s = 0; s < seqs.size(); ++s) pages += ceil_div(seqs[s].kv, page_tokens);
    pages += 2;
    max_pages = ceil_div(std::max<std::int64_t>(seqs.longest(), 1), page_tokens) + 1;
    const std::vector<std::int32_t> order = shuffled(pages, kCaseSeed);
    std::size_t next = 0;
    for (std::int64_t s = 0; s < seqs.size(); ++s) {
      const auto [q, kv] = seqs[s];
      for (std::int64_t p = 0; p < max_pages; ++p)
        page_table.push_back(p < ceil_div(kv, page_tokens) ? order[next++] : INT32_MAX);
      kv_len.push_back(static_cast<std::int32_t>(kv));
      cu_q.push_back(cu_q.back() + static_cast<std::int32_t>(q));
      for (std::int64_t i = kv - q; i < kv; ++i) {
        positions.push_back(static_cast<std::int32_t>(i));
        seq_of.push_back(static_cast<std::int32_t>(s));
      }
    }
  }
};

Result<TensorRef> table(CaseMemory& memory, const StepIndex& step, const SeqList& seqs) {
  RL_ASSIGN(TensorRef flat, memory.integers(step.page_table));
  return tensor(flat.data, DType::i32, {seqs.size(), step.max_pages});
}

// Normal values at the tokens of the sequences; elsewhere NaN stays.
void fill_tokens(const TensorRef& pages, const StepIndex& step, const SeqList& seqs, const TensorRef& values) {
  const std::int64_t kv_heads = pages.shape[1], page_tokens = pages.shape[2], head_dim = pages.shape[3];
  std::int64_t next = 0;
  for (std::int64_t s = 0; s < seqs.size(); ++s)
    for (std::int64_t t = 0; t < seqs[s].kv; ++t)
      for (std::int64_t h = 0; h < kv_heads; ++h) {
        const std::int64_t page = step.page_table[static_cast<std::size_t>(s * step.max_pages + t / page_tokens)];
        const std::int64_t row = (page * kv_heads + h) * page_tokens + t % page_tokens;
        const std::int64_t bytes = head_dim * size_of(pages.dtype);
        std::memcpy(static_cast<char*>(pages.data) + row * bytes, static_cast<char*>(values.data) + next++ * bytes,
                    static_cast<std::size_t>(bytes));
      }
}

// Codes and scales for an output of numbers.
template <class Args>
Status code_output(CaseInputs<Args>& inputs, const CodedType& type) {
  const std::int64_t rows = inputs.args.out.shape[0], cols = inputs.args.out.shape[1];
  RL_ASSIGN(inputs.args.out, inputs.memory.output(quant::element_type(type.format), {rows, cols}));
  RL_ASSIGN(inputs.args.scales, inputs.memory.output(DType::f32, {rows, scale_groups(type.format, cols)}));
  return ok();
}

}  // namespace

Result<void*> CaseMemory::bytes(Bytes size) {
  RL_ASSIGN(Buffer buffer, Buffer::make(*resource_, size));
  buffers_.push_back(std::move(buffer));
  return buffers_.back().data();
}

void CaseMemory::fill_normal(const TensorRef& t, double deviation) {
  const std::uint64_t stream = ++streams_;
  const std::int64_t n = t.elements();
  const auto scale = static_cast<float>(deviation) * num::kInverseDeviation;
  const num::PhiloxBlock keys = num::random_block(seed_, stream, 0);
  const auto fill = [&](auto* out) {
    using T = std::remove_pointer_t<decltype(out)>;
    constexpr std::int32_t kMost = 510;
    std::array<T, 2 * kMost + 1> values;  // of all that is drawn
    for (std::int32_t x = -kMost; x <= kMost; ++x)
      values[static_cast<std::size_t>(x + kMost)] = num::from_float<T>(scale * static_cast<float>(x));
    std::array<std::int16_t, 256> drawn;
    for (std::int64_t first = 0; first < n; first += std::ssize(drawn)) {
      for (std::size_t k = 0; k < drawn.size(); ++k)
        drawn[k] = static_cast<std::int16_t>(
            num::hashed_normal(keys[0], keys[1], static_cast<std::uint32_t>(first) + static_cast<std::uint32_t>(k)));
      const auto count = static_cast<std::size_t>(std::min(n - first, std::ssize(drawn)));
      for (std::size_t k = 0; k < count; ++k)
        out[first + static_cast<std::int64_t>(k)] = values[static_cast<std::size_t>(drawn[k] + kMost)];
    }
  };
  switch (t.dtype) {
    case DType::f32:
      return fill(t.as<float>());
    case DType::bf16:
      return fill(t.as<num::bf16>());
    case DType::f16:
      return fill(t.as<num::fp16>());
    case DType::f8_e4m3:
      return fill(t.as<num::fp8_e4m3>());
    default:
      RL_CHECK_MSG(false, "inputs of cases are f32, bf16, f16 or f8_e4m3");
  }
}

Result<TensorRef> CaseMemory::normal(DType dtype, Shape shape, double deviation) {
  TensorRef t = tensor(nullptr, dtype, shape);
  RL_ASSIGN(t.data, bytes({t.elements() * size_of(dtype)}));
  fill_normal(t, deviation);
  return t;
}

Result<TensorRef> CaseMemory::integers(const std::vector<std::int32_t>& values) {
  TensorRef t = tensor(nullptr, DType::i32, {static_cast<std::int64_t>(values.size())});
  RL_ASSIGN(t.data, bytes({t.elements() * 4}));
  std::copy(values.begin(), values.end(), t.as<std::int32_t>());
  return t;
}

Result<TensorRef> CaseMemory::uniform_below(std::int64_t limit, std::int64_t n) {
  const std::uint64_t stream = ++streams_;
  std::vector<std::int32_t> values;
  for (std::int64_t i = 0; i < n; ++i)
    values.push_back(static_cast<std::int32_t>(
        num::uniform_below(seed_, stream, static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(limit))));
  return integers(values);
}

Result<TensorRef> CaseMemory::filled(DType dtype, Shape shape, double value) {
  TensorRef t = tensor(nullptr, dtype, shape);
  RL_ASSIGN(t.data, bytes({t.elements() * size_of(dtype)}));
  for (std::int64_t i = 0; i < t.elements(); ++i) store_element(dtype, t.data, i, value);
  return t;
}

Result<TensorRef> CaseMemory::guarded(DType dtype, Shape shape) {
  TensorRef t = tensor(nullptr, dtype, shape);
  const std::int64_t size = t.elements() * size_of(dtype);
  RL_ASSIGN(void* block, bytes({size + 2 * kGuardBytes}));
  std::memset(block, kGuard, static_cast<std::size_t>(size + 2 * kGuardBytes));
  t.data = static_cast<char*>(block) + kGuardBytes;
  guarded_.push_back({buffers_.size() - 1, size});
  return t;
}

Result<TensorRef> CaseMemory::output(DType dtype, Shape shape) {
  RL_ASSIGN(TensorRef t, guarded(dtype, shape));
  if (dtype == DType::i32) {
    std::fill_n(t.as<std::int32_t>(), t.elements(), kUnwritten);
  } else {
    std::memset(t.data, 0xFF, static_cast<std::size_t>(t.elements() * size_of(dtype)));
  }
  return t;
}

Result<TensorRef> CaseMemory::in_place(DType dtype, Shape shape, double deviation) {
  RL_ASSIGN(TensorRef t, guarded(dtype, shape));
  fill_normal(t, deviation);
  return t;
}

Result<CaseMemory::Coded> CaseMemory::coded(quant::Format format, std::int64_t rows, std::int64_t cols,
                                            std::int64_t stride) {
  const DType type = quant::element_type(format);
  const std::int64_t groups = scale_groups(format, cols), width = group_cols(cols, groups);
  RL_ASSIGN(const TensorRef numbers, normal(DType::bf16, {rows, cols}));
  Coded coded{.codes = tensor(nullptr, type, {rows, stride}), .scales = tensor(nullptr, DType::f32, {rows, groups})};
  RL_ASSIGN(coded.codes.data, bytes({rows * stride}));
  RL_ASSIGN(coded.scales.data, bytes({rows * groups * 4}));
  coded.codes.shape[1] = cols;
  std::memset(coded.codes.data, 0x7F, static_cast<std::size_t>(rows * stride));
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t g = 0; g < groups; ++g) {
      const std::int64_t first = g * width, end = std::min(first + width, cols);
      const auto number = [&](std::int64_t i) { return num::to_float(numbers.as<num::bf16>()[row * cols + i]); };
      std::uint32_t largest = 0;
      for (std::int64_t i = first; i < end; ++i) largest = std::max(largest, num::magnitude_bits(number(i)));
      const float scale = type == DType::i8 ? num::int8_scale(largest) : num::fp8_scale(largest);
      coded.scales.as<float>()[row * groups + g] = scale;
      for (std::int64_t i = first; i < end; ++i) {
        if (type == DType::i8)
          coded.codes.as<std::int8_t>()[row * stride + i] = num::quantize_int8(number(i), scale);
        else
          coded.codes.as<num::fp8_e4m3>()[row * stride + i] = num::quantize_fp8(number(i), scale);
      }
    }
  return coded;
}

Result<quant::PackedWeight> CaseMemory::weight(quant::Format format, quant::Layout layout, std::int64_t rows,
                                               std::int64_t cols, double deviation) {
  RL_ASSIGN(const quant::PackedSize size, quant::packed_size(format, layout, rows, cols));
  quant::PackedWeight w{.format = format,
                        .layout = layout,
                        .rows = rows,
                        .cols = cols,
                        .padded_rows = size.padded_rows,
                        .padded_cols = size.padded_cols};
  RL_ASSIGN(w.data, bytes(size.data));
  if (size.scales.count > 0) {
    RL_ASSIGN(void* scales, bytes(size.scales));
    w.scales = static_cast<float*>(scales);
  }
  // A few rows at a time: the float form of a large weight would double its memory.
  const DType type = w.scales ? DType::f32 : quant::element_type(format);
  if (quant::scales_span_rows(format)) {
    // Any positive scales make a weight: those of a block differ from their neighbours', one serves a whole tensor.
    const float near = static_cast<float>(3 * deviation / 448);
    for (std::int64_t i = 0; i < size.scales.count / static_cast<std::int64_t>(sizeof(float)); ++i)
      w.scales[i] = format == quant::Format::fp8_block ? near * (1 + 0.25f * static_cast<float>(i % 5)) : near;
  }
  constexpr std::int64_t kRows = 64;
  CaseMemory scratch(seed_, *resource_);
  RL_ASSIGN(TensorRef block, scratch.filled(type, {std::min(kRows, rows), cols}, 0));
  for (std::int64_t first = 0; first < rows; first += kRows) {
    block.shape[0] = std::min(kRows, rows - first);
    fill_normal(block, deviation);
    quant::pack_rows(w, first, block);
  }
  quant::zero_padding(w);
  return w;
}

Status CaseMemory::check_guards() const {
  for (std::size_t i = 0; i < guarded_.size(); ++i) {
    const auto* block = buffers_[guarded_[i].buffer].as<const unsigned char>();
    const std::int64_t size = guarded_[i].bytes;
    for (std::int64_t k = 0; k < kGuardBytes; ++k) {
      const bool before = block[kGuardBytes - 1 - k] == kGuard, after = block[kGuardBytes + size + k] == kGuard;
      if (!before || !after)
        return Error{.kind = ErrorKind::internal,
                     .what = fmt::format("output {} was overrun: {} bytes {} it were written", i, k + 1,
                                         before ? "after" : "before")};
    }
  }
  return ok();
}

void CaseMemory::renew_guards() {
  for (const Guarded& guarded : guarded_) {
    auto* const block = buffers_[guarded.buffer].as<unsigned char>();
    std::memset(block, kGuard, kGuardBytes);
    std::memset(block + kGuardBytes + guarded.bytes, kGuard, kGuardBytes);
  }
}

Result<CaseInputs<EmbedArgs>> make_inputs(const EmbedCase& c, quant::Format format, quant::Layout layout) {
  CaseInputs<EmbedArgs> inputs;
  RL_ASSIGN(inputs.args.ids, inputs.memory.uniform_below(c.vocab, c.tokens));
  inputs.args.ids.as<std::int32_t>()[c.tokens - 1] = static_cast<std::int32_t>(c.vocab - 1);
  RL_ASSIGN(inputs.args.table, inputs.memory.weight(format, layout, c.vocab, c.hidden, 1));
  RL_ASSIGN(inputs.args.out, inputs.memory.output(DType::f32, {c.tokens, c.hidden}));
  return inputs;
}

Result<CaseInputs<LinearArgs>> make_inputs(const LinearCase& c, const LinearTypes& types, quant::Layout layout) {
  CaseInputs<LinearArgs> inputs;
  LinearArgs& args = inputs.args;
  const std::int64_t stride = c.x_stride > 0 ? c.x_stride : c.cols;
  if (are_codes(types.x)) {
    RL_ASSIGN(const CaseMemory::Coded coded, inputs.memory.coded(types.format, c.tokens, c.cols, stride));
    args.x = coded.codes, args.x_scales = coded.scales;
  } else {
    RL_ASSIGN(args.x, inputs.memory.normal(types.x, {c.tokens, stride}));
    args.x.shape[1] = c.cols;
    // What lies between the rows of x must not be read.
    for (std::int64_t t = 0; t < c.tokens; ++t)
      for (std::int64_t i = c.cols; i < stride; ++i) store_element(types.x, args.x.data, t * stride + i, std::nan(""));
  }
  const double deviation = 1 / std::sqrt(static_cast<double>(c.cols));
  RL_ASSIGN(args.weight, inputs.memory.weight(types.format, layout, c.rows, c.cols, deviation));
  if (c.bias) {
    RL_ASSIGN(args.bias, inputs.memory.normal(DType::f32, {c.rows}));
  }
  args.accumulate = c.accumulate;
  RL_ASSIGN(args.out, c.accumulate ? inputs.memory.in_place(types.out, {c.tokens, c.rows})
                                   : inputs.memory.output(types.out, {c.tokens, c.rows}));
  return inputs;
}

Result<CaseInputs<FusedLinearArgs>> make_inputs(const FusedLinearCase& c, const FusedTypes& types) {
  using After = FusedLinearCase::After;
  const std::int64_t tokens = c.picked > 0 ? c.picked : c.tokens;
  CaseInputs<FusedLinearArgs> inputs;
  LinearArgs& product = inputs.args.product;
  std::int64_t rows = c.rows;
  if (c.after == After::silu_mul) {
    RL_ASSIGN(auto gated, make_inputs(SiluMulCase{"", 0, tokens, c.rows}, types.activation));
    inputs.memory = std::move(gated.memory);
    inputs.args.silu_mul = gated.args;
    product.out = gated.args.gate_up;
    rows = 2 * c.rows;
  } else if (c.after == After::rope_append) {
    SeqList seqs{{1, 1}, {1, 70}, {1, 64}, {1, 5}};
    if (tokens > seqs.count)
      seqs = {{1, 1}, {1, 70}, {tokens - 2, tokens + 60}};
    else
      seqs.count = tokens;
    RL_ASSIGN(auto turned, make_inputs(RopeAppendCase{"", 0, c.heads, c.kv_heads, c.head_dim, seqs},
                                       {types.activation, types.cache}));
    inputs.memory = std::move(turned.memory);
    inputs.args.rope_append = turned.args;
    product.out = turned.args.qkv;
    rows = (c.heads + 2 * c.kv_heads) * c.head_dim;
  }
  CaseMemory& memory = inputs.memory;
  if (c.after == After::nothing) {
    RL_ASSIGN(product.out,
              c.accumulate ? memory.in_place(DType::f32, {tokens, rows}) : memory.output(DType::f32, {tokens, rows}));
  }
  if (c.norm) {
    RmsNormArgs& norm = inputs.args.norm.emplace();
    RL_ASSIGN(norm.x, memory.normal(DType::f32, {c.tokens, c.cols}));
    RL_ASSIGN(norm.weight, memory.normal(DType::f32, {c.cols}));
    if (c.picked > 0) {
      RL_ASSIGN(norm.rows, memory.uniform_below(c.tokens, c.picked));
    }
    norm.rounded = types.activation;
    RL_ASSIGN(norm.out,
              memory.output(types.codes ? quant::element_type(types.format) : types.activation, {tokens, c.cols}));
    if (types.codes) {
      RL_ASSIGN(norm.scales, memory.output(DType::f32, {tokens, scale_groups(types.format, c.cols)}));
    }
    product.x = norm.out, product.x_scales = norm.scales;
  } else if (types.codes) {
    RL_ASSIGN(const CaseMemory::Coded coded, memory.coded(types.format, tokens, c.cols, c.cols));
    product.x = coded.codes, product.x_scales = coded.scales;
  } else {
    RL_ASSIGN(product.x, memory.normal(types.activation, {tokens, c.cols}));
  }
  RL_ASSIGN(product.weight, memory.weight(types.format, quant::Layout::row_major, rows, c.cols,
                                          1 / std::sqrt(static_cast<double>(c.cols))));
  if (c.bias) {
    RL_ASSIGN(product.bias, memory.normal(DType::f32, {rows}));
  }
  product.accumulate = c.accumulate;
  return inputs;
}

Result<CaseInputs<RmsNormArgs>> make_inputs(const RmsNormCase& c, DType out) {
  CaseInputs<RmsNormArgs> inputs;
  RmsNormArgs& args = inputs.args;
  RL_ASSIGN(args.x, inputs.memory.normal(DType::f32, {c.tokens, c.hidden}, c.deviation));
  RL_ASSIGN(args.weight, inputs.memory.normal(DType::f32, {c.hidden}));
  if (c.rows > 0) {
    RL_ASSIGN(args.rows, inputs.memory.uniform_below(c.tokens, c.rows));
  }
  args.eps = c.eps;
  RL_ASSIGN(args.out, inputs.memory.output(out, {c.rows > 0 ? c.rows : c.tokens, c.hidden}));
  return inputs;
}

Result<CaseInputs<RmsNormArgs>> make_inputs(const RmsNormCase& c, const CodedType& out) {
  RL_ASSIGN(CaseInputs<RmsNormArgs> inputs, make_inputs(c, out.rounded));
  RL_TRY(code_output(inputs, out));
  inputs.args.rounded = out.rounded;
  return inputs;
}

Result<CaseInputs<SiluMulArgs>> make_inputs(const SiluMulCase& c, DType type) {
  CaseInputs<SiluMulArgs> inputs;
  RL_ASSIGN(inputs.args.gate_up, inputs.memory.normal(type, {c.tokens, 2 * c.ffn}, c.deviation));
  RL_ASSIGN(inputs.args.out, inputs.memory.output(type, {c.tokens, c.ffn}));
  return inputs;
}

Result<CaseInputs<SiluMulArgs>> make_inputs(const SiluMulCase& c, const CodedType& out) {
  RL_ASSIGN(CaseInputs<SiluMulArgs> inputs, make_inputs(c, out.rounded));
  RL_TRY(code_output(inputs, out));
  return inputs;
}

Result<CaseInputs<AttentionArgs>> make_inputs(const AttentionCase& c, CacheTypes types) {
  const DType type = types.activation;
  CaseInputs<AttentionArgs> inputs;
  AttentionArgs& args = inputs.args;
  CaseMemory& memory = inputs.memory;
  const StepIndex step(c.seqs, c.page_tokens);
  const std::int64_t tokens = c.seqs.queries() + c.padding_tokens;

  const std::int64_t q_cols = c.heads * c.head_dim;
  const std::int64_t stride = c.strided_q ? q_cols + 2 * c.kv_heads * c.head_dim : q_cols;
  RL_ASSIGN(args.q, memory.normal(type, {tokens, c.heads, c.head_dim}, c.q_deviation));
  if (c.strided_q) {
    const TensorRef dense = args.q;
    RL_ASSIGN(args.q, memory.filled(type, {tokens, stride}, std::nan("")));
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t i = 0; i < q_cols; ++i)
        store_element(type, args.q.data, t * stride + i, load_element(type, dense.data, t * q_cols + i));
    args.q = tensor(args.q.data, type, {tokens, c.heads, c.head_dim});
    args.q.strides[0] = stride;
  }
  for (std::int64_t t = c.seqs.queries(); t < tokens; ++t)
    for (std::int64_t i = 0; i < q_cols; ++i) store_element(type, args.q.data, t * stride + i, std::nan(""));

  std::int64_t kv_tokens = 0;
  for (std::int64_t s = 0; s < c.seqs.size(); ++s) kv_tokens += c.seqs[s].kv;
  for (TensorRef* pages : {&args.kv.k, &args.kv.v}) {
    CaseMemory scratch(kCaseSeed + (pages == &args.kv.v ? 1 : 2));
    RL_ASSIGN(const TensorRef values, scratch.normal(types.cache, {kv_tokens * c.kv_heads, c.head_dim}));
    RL_ASSIGN(*pages, memory.filled(types.cache, {step.pages, c.kv_heads, c.page_tokens, c.head_dim}, std::nan("")));
    fill_tokens(*pages, step, c.seqs, values);
  }
  RL_ASSIGN(args.index.page_table, table(memory, step, c.seqs));
  RL_ASSIGN(args.index.kv_len, memory.integers(step.kv_len));
  RL_ASSIGN(args.index.cu_q, memory.integers(step.cu_q));
  args.causal = c.causal;
  args.window = c.window;
  args.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(c.head_dim)));
  args.max_kv = c.seqs.longest();
  args.max_q = c.seqs.most_queries();
  RL_ASSIGN(args.out, memory.output(type, {tokens, c.heads, c.head_dim}));
  return inputs;
}

Result<CaseInputs<RopeAppendArgs>> make_inputs(const RopeAppendCase& c, CacheTypes types) {
  CaseInputs<RopeAppendArgs> inputs;
  RopeAppendArgs& args = inputs.args;
  CaseMemory& memory = inputs.memory;
  const StepIndex step(c.seqs, c.page_tokens);
  RL_ASSIGN(args.qkv, memory.in_place(types.activation, {c.seqs.queries(), (c.heads + 2 * c.kv_heads) * c.head_dim}));
  RL_ASSIGN(args.positions, memory.integers(step.positions));
  RL_ASSIGN(args.seq_of, memory.integers(step.seq_of));
  const std::int64_t half = c.head_dim / 2;
  RL_ASSIGN(args.cos, memory.filled(DType::f32, {c.seqs.longest(), half}, 0));
  RL_ASSIGN(args.sin, memory.filled(DType::f32, {c.seqs.longest(), half}, 0));
  for (std::int64_t p = 0; p < c.seqs.longest(); ++p)
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle =
          static_cast<double>(p) * std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(c.head_dim));
      store_element(DType::f32, args.cos.data, p * half + i, c.rope_scaling * std::cos(angle));
      store_element(DType::f32, args.sin.data, p * half + i, c.rope_scaling * std::sin(angle));
    }
  if (c.qk_norm) {
    RL_ASSIGN(args.q_norm, memory.normal(DType::f32, {c.head_dim}));
    RL_ASSIGN(args.k_norm, memory.normal(DType::f32, {c.head_dim}));
  }
  args.heads = c.heads, args.kv_heads = c.kv_heads, args.head_dim = c.head_dim;
  RL_ASSIGN(args.cache.k, memory.output(types.cache, {step.pages, c.kv_heads, c.page_tokens, c.head_dim}));
  RL_ASSIGN(args.cache.v, memory.output(types.cache, {step.pages, c.kv_heads, c.page_tokens, c.head_dim}));
  RL_ASSIGN(args.page_table, table(memory, step, c.seqs));
  return inputs;
}

Result<CaseInputs<SampleArgs>> make_inputs(const SampleCase& c) {
  CaseInputs<SampleArgs> inputs;
  SampleArgs& args = inputs.args;
  CaseMemory& memory = inputs.memory;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  RL_ASSIGN(args.logits, memory.normal(DType::f32, {c.rows, c.vocab}, 3));
  auto* logits = args.logits.as<float>();
  const std::int64_t n = c.rows * c.vocab, middle = c.vocab / 2;
  switch (c.logits) {
    case LogitKind::normal:
      break;
    case LogitKind::ties:
      for (std::int64_t i = 0; i < n; ++i) logits[i] = std::rint(logits[i] / 2);
      break;
    case LogitKind::flat:
      std::fill_n(logits, n, 1.5f);
      break;
    case LogitKind::masked:
      for (std::int64_t i = 0; i < n; ++i)
        if (i % 10 != 3) logits[i] = -kInfinity;
      break;
    case LogitKind::nan:
      logits[middle] = std::nanf("");
      break;
    case LogitKind::none_finite:
      std::fill_n(logits, c.vocab, -kInfinity);
      break;
    case LogitKind::with_infinity:
      logits[middle] = kInfinity;
      break;
  }
  RL_ASSIGN(void* rows, memory.bytes({c.rows * static_cast<std::int64_t>(sizeof(SampleRow))}));
  auto* row = static_cast<SampleRow*>(rows);
  for (std::int64_t r = 0; r < c.rows; ++r)
    row[r] = {.temperature = c.temperature,
              .top_k = c.top_k,
              .top_p = c.top_p,
              .min_p = c.min_p,
              .repetition_penalty = c.repetition_penalty,
              .seed = 1000 + static_cast<std::uint64_t>(r),
              .counter = static_cast<std::uint64_t>(r) * 3,
              .history_begin = static_cast<std::int32_t>(r) * c.history,
              .history_end = static_cast<std::int32_t>(r + 1) * c.history};
  args.row = row;
  if (c.history > 0) {
    RL_ASSIGN(args.history, memory.uniform_below(std::min<std::int64_t>(c.vocab, 2 * c.history), c.rows * c.history));
  }
  RL_ASSIGN(args.out, memory.output(DType::i32, {c.rows}));
  return inputs;
}

Result<CaseInputs<FeedArgs>> make_inputs(const FeedCase& c) {
  CaseInputs<FeedArgs> inputs;
  FeedArgs& args = inputs.args;
  CaseMemory& memory = inputs.memory;
  args.words = kFeedHeader + c.ids + c.rest;
  args.ids = c.ids;
  const std::int64_t all = args.words + c.room;
  for (std::int32_t turn = 0; turn < 2; ++turn) {
    RL_ASSIGN(args.host[turn], memory.uniform_below(32000, all));
    auto* words = args.host[turn].as<std::int32_t>();
    words[0] = turn;
    words[1] = static_cast<std::int32_t>(c.tail);
    const auto refer = [&](std::int64_t at) { words[at] = static_cast<std::int32_t>(-1 - at % c.rows); };
    for (std::int64_t i = 0; i < c.ids; i += 3) refer(kFeedHeader + i);
    for (std::int64_t i = 0; i < c.tail; i += 5) refer(args.words + i);
    // A word that is neither is copied as it is, whatever its sign.
    if (c.rest > 0) words[kFeedHeader + c.ids] = -2;
  }
  RL_ASSIGN(args.turn, memory.integers({c.turn}));
  RL_ASSIGN(args.drawn, memory.uniform_below(32000, c.rows));
  if (c.rows > 1) args.drawn.as<std::int32_t>()[1] = -1;
  RL_ASSIGN(args.out, memory.output(DType::i32, {all}));
  return inputs;
}

Result<CaseInputs<DeliverArgs>> make_inputs(const DeliverCase& c) {
  CaseInputs<DeliverArgs> inputs;
  DeliverArgs& args = inputs.args;
  RL_ASSIGN(args.drawn, inputs.memory.uniform_below(32000, c.rows));
  RL_ASSIGN(args.block, inputs.memory.integers({c.turn, 0, 0, 0}));
  for (TensorRef& out : args.out) {
    RL_ASSIGN(out, inputs.memory.output(DType::i32, {c.rows}));
  }
  return inputs;
}

std::vector<std::int64_t> choose_indices(std::int64_t n, std::int64_t count) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  if (count <= 0 || count >= n) return all;
  std::set<std::int64_t> chosen{0, n - 1};
  const auto add = [&](std::int64_t i) {
    if (i >= 0 && i < n && static_cast<std::int64_t>(chosen.size()) < count) chosen.insert(i);
  };
  for (std::int64_t i : {std::int64_t{1}, n - 2, std::int64_t{63}, std::int64_t{64}, n / 64 * 64 - 1, n / 64 * 64})
    add(i);
  for (std::uint64_t draw = 0; static_cast<std::int64_t>(chosen.size()) < count; ++draw)
    add(static_cast<std::int64_t>(num::uniform_below(kCaseSeed, 99, draw, static_cast<std::uint64_t>(n))));
  return {chosen.begin(), chosen.end()};
}

}  // namespace rl::ops
