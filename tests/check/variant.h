#pragma once
// One check for every variant of every op, on every backend whose memory the host can read: inputs of each case, the
// oracle's values, one launch with poisoned workspace, then
//   - each output element within its derived tolerance, and nothing written beside the outputs or where nothing belongs
//   - deterministic variants: a second launch on equal inputs gives equal bits
//   - batch-invariant variants: the first row alone gives the bits it had among the others
// check_variant(variant, arch, stream, tags) runs all cases with one of the tags; it returns how many combinations the
// variant supports and so was checked on.

#include <gtest/gtest.h>

#include "cpu/ref/ref.h"
#include "ops/case_inputs.h"
#include "ops/tolerance.h"
#include "tensor/element.h"

namespace rl::check {

// For variants that compute at once and need nothing of a stream.
class NullStream final : public Stream {
 public:
  Status synchronize() override { return ok(); }
  Status copy_to_device(void*, const void*, Bytes) override { return none(); }
  Status copy_to_host(void*, const void*, Bytes) override { return none(); }
  Status record(Event&) override { return ok(); }
  Status begin_capture() override { return none(); }
  Result<std::unique_ptr<CapturedStep>> end_capture() override { return none(); }
  Status replay(CapturedStep&) override { return none(); }

 private:
  static Error none() { return {.kind = ErrorKind::unsupported, .what = "not of this stream"}; }
};

namespace detail {

// Launches with a workspace of exactly the stated size, full of NaN, between guards.
template <class Args>
Status launch(const ops::Variant<Args>& variant, const Args& args, Stream& stream) {
  ops::CaseMemory memory;
  const Bytes size = variant.workspace(args);
  void* workspace = nullptr;
  if (size.count > 0) {
    RL_ASSIGN(const TensorRef scratch, memory.output(DType::u8, {size.count}));
    workspace = scratch.data;
  }
  RL_TRY(variant.launch(args, workspace, stream));
  RL_TRY(stream.synchronize());
  return memory.check_guards();
}

inline bool same_bits(const TensorRef& a, const TensorRef& b, std::int64_t rows) {
  const std::int64_t row = a.elements() / a.shape[0] * size_of(a.dtype);
  return std::memcmp(a.data, b.data, static_cast<std::size_t>(rows * row)) == 0;
}

// The tensors an op writes.
template <class Args>
std::vector<TensorRef> outputs(const Args& args) {
  return {args.out};
}
inline std::vector<TensorRef> outputs(const ops::RopeAppendArgs& args) {
  return {args.qkv, args.cache.k, args.cache.v};
}

// Args cut down to their first row or sequence, and how many rows of the first output that is. No rows: cannot be cut.
inline std::int64_t cut(ops::EmbedArgs& args) { return args.ids.shape[0] = args.out.shape[0] = 1; }
inline std::int64_t cut(ops::LinearArgs& args) { return args.x.shape[0] = args.out.shape[0] = 1; }
inline std::int64_t cut(ops::RmsNormArgs& args) {
  return (args.rows ? args.rows : args.x).shape[0] = args.out.shape[0] = 1;
}
inline std::int64_t cut(ops::SiluMulArgs& args) { return args.gate_up.shape[0] = args.out.shape[0] = 1; }
inline std::int64_t cut(ops::SampleArgs& args) { return args.logits.shape[0] = args.out.shape[0] = 1; }
inline std::int64_t cut(ops::RopeAppendArgs& args) {
  return args.qkv.shape[0] = args.positions.shape[0] = args.seq_of.shape[0] = 1;
}
inline std::int64_t cut(ops::AttentionArgs& args) {
  args.index.page_table.shape[0] = args.index.kv_len.shape[0] = 1;
  args.index.cu_q.shape[0] = 2;
  const std::int64_t queries = args.index.cu_q.as<const std::int32_t>()[1];
  args.max_q = queries;
  return args.q.shape[0] = args.out.shape[0] = queries;
}

// What must hold after a launch beyond the values; the oracle's results were taken before it.
inline void expect_values(const ops::EmbedArgs& args, const ops::Values& ref) {
  const auto compared = ops::compare(args.out, ref.value, ops::tolerance(args, ref));
  EXPECT_TRUE(compared.passed) << compared.message();
}
inline void expect_values(const ops::RmsNormArgs& args, const ops::Values& ref) {
  const auto compared = ops::compare(args.out, ref.value, ops::tolerance(args, ref));
  EXPECT_TRUE(compared.passed) << compared.message();
}
inline void expect_values(const ops::SiluMulArgs& args, const ops::Values& ref) {
  const auto compared = ops::compare(args.out, ref.value, ops::tolerance(args, ref));
  EXPECT_TRUE(compared.passed) << compared.message();
}
struct PartOfLinear {
  ops::Subset subset;
  ops::Values values;
};
inline void expect_values(const ops::LinearArgs& args, const PartOfLinear& ref) {
  const auto compared = ops::compare(args.out, ref.subset, ref.values.value, ops::tolerance(args, ref.values));
  EXPECT_TRUE(compared.passed) << compared.message();
}
struct PartOfAttention {
  std::vector<std::int64_t> tokens;
  ops::Values values;
};
inline void expect_values(const ops::AttentionArgs& args, const PartOfAttention& ref) {
  const auto compared =
      ops::compare(args.out, {.rows = ref.tokens}, ref.values.value, ops::tolerance(args, ref.values));
  EXPECT_TRUE(compared.passed) << compared.message();
  const std::int64_t in_use = args.index.cu_q.as<const std::int32_t>()[args.index.kv_len.shape[0]];
  const std::int64_t row = args.out.shape[1] * args.out.shape[2];
  for (std::int64_t i = in_use * row; i < args.out.elements(); ++i)
    ASSERT_TRUE(std::isnan(load_element(args.out.dtype, args.out.data, i))) << "a padding token was written: " << i;
}
inline void expect_values(const ops::SampleArgs& args, const std::vector<TokenId>& ref) {
  const auto* out = args.out.as<const std::int32_t>();
  EXPECT_EQ(std::vector<TokenId>(out, out + args.out.shape[0]), ref);
}
inline void expect_values(const ops::RopeAppendArgs& args, const cpu::ref::RopeAppended& ref) {
  const std::int64_t tokens = args.qkv.shape[0];
  TensorRef q = tensor(args.qkv.data, args.qkv.dtype, {tokens, args.heads * args.head_dim});
  q.strides[0] = args.qkv.shape[1];
  const auto q_compared = ops::compare(q, ref.q.value, ops::tolerance(args, ref.q, bool{args.q_norm}));
  EXPECT_TRUE(q_compared.passed) << "q: " << q_compared.message();

  // The cache as written: each token's rows, and NaN wherever no token belongs.
  const std::vector<double> k_tolerance = ops::tolerance(args, ref.k, bool{args.k_norm});
  const std::int64_t page_tokens = args.cache.k.shape[2], n = args.cache.k.elements();
  std::vector<double> k(static_cast<std::size_t>(n), NAN), v = k, k_allowed(static_cast<std::size_t>(n), 0.0);
  std::size_t from = 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int64_t position = args.positions.as<const std::int32_t>()[t];
    const std::int64_t entry =
        args.seq_of.as<const std::int32_t>()[t] * args.page_table.shape[1] + position / page_tokens;
    const std::int64_t page = args.page_table.as<const std::int32_t>()[entry];
    for (std::int64_t h = 0; h < args.kv_heads; ++h)
      for (std::int64_t i = 0; i < args.head_dim; ++i, ++from) {
        const auto at = static_cast<std::size_t>(
            ((page * args.kv_heads + h) * page_tokens + position % page_tokens) * args.head_dim + i);
        k[at] = ref.k.value[from], k_allowed[at] = k_tolerance[from], v[at] = ref.v.value[from];
      }
  }
  for (std::size_t i = 0; i < k.size(); ++i) {
    const double got_k = load_element(args.cache.k.dtype, args.cache.k.data, static_cast<std::int64_t>(i));
    const double got_v = load_element(args.cache.v.dtype, args.cache.v.data, static_cast<std::int64_t>(i));
    ASSERT_TRUE(std::isnan(k[i]) ? std::isnan(got_k) : std::abs(got_k - k[i]) <= k_allowed[i])
        << "k cache at " << i << ": " << got_k << " for " << k[i];
    ASSERT_TRUE(std::isnan(v[i]) ? std::isnan(got_v) : got_v == v[i])
        << "v cache at " << i << ": " << got_v << " for " << v[i];
  }
}

// make: makes the inputs of one combination; ref: the oracle's results for them.
template <class Args, class Make, class Ref>
int check_one(const ops::Variant<Args>& variant, const Arch& arch, Stream& stream, const Make& make, const Ref& ref) {
  auto made = make(), again = make();
  if (!made || !again) {
    ADD_FAILURE() << (made ? again : made).error().message();
    return 0;
  }
  const Args& args = made->args;
  if (const Status legal = ops::validate(args); !legal) {
    ADD_FAILURE() << legal.error().message();
    return 0;
  }
  if (!variant.supports(args, arch)) return 0;
  const auto expected = ref(args);
  const Status launched = launch(variant, args, stream);
  EXPECT_TRUE(launched.has_value()) << (launched ? "" : launched.error().message());
  expect_values(args, expected);
  const Status guards = made->memory.check_guards();
  EXPECT_TRUE(guards.has_value()) << (guards ? "" : guards.error().message());

  Args other = again->args;
  if (variant.facts.deterministic) {
    EXPECT_TRUE(launch(variant, other, stream).has_value());
    for (std::size_t i = 0; i < outputs(args).size(); ++i)
      EXPECT_TRUE(same_bits(outputs(args)[i], outputs(other)[i], outputs(args)[i].shape[0])) << "not deterministic";
  }
  if (variant.facts.batch_invariant) {
    again = make();
    other = again->args;
    const std::int64_t rows = cut(other);
    if (rows > 0 && variant.supports(other, arch)) {
      const Status legal = ops::validate(other);
      EXPECT_TRUE(legal.has_value()) << (legal ? "" : legal.error().message());
      EXPECT_TRUE(launch(variant, other, stream).has_value());
      EXPECT_TRUE(same_bits(outputs(args)[0], outputs(other)[0], rows)) << "depends on the other rows of the batch";
    }
  }
  return 1;
}

constexpr DType kActivations[] = {DType::f32, DType::bf16, DType::f16};
constexpr quant::Layout kLayouts[] = {quant::Layout::row_major, quant::Layout::panel64};

template <class Case>
std::string trace(const char* variant, const Case& c, const std::string& types) {
  return fmt::format("{}, case {}, {}", variant, c.name, types);
}

}  // namespace detail

inline int check_variant(const ops::Variant<ops::EmbedArgs>& variant, const Arch& arch, Stream& stream, unsigned tags) {
  int checked = 0;
  for (const ops::EmbedCase& c : ops::kEmbedCases)
    for (const quant::Format format :
         {quant::Format::f32, quant::Format::bf16, quant::Format::f16, quant::Format::int8})
      for (const quant::Layout layout : detail::kLayouts) {
        if ((c.tags & tags) == 0) continue;
        SCOPED_TRACE(detail::trace(variant.name, c, fmt::format("{} {}", name_of(format), name_of(layout))));
        checked += detail::check_one(
            variant, arch, stream, [&] { return ops::make_inputs(c, format, layout); },
            [](const ops::EmbedArgs& args) { return cpu::ref::embed(args); });
      }
  return checked;
}

inline int check_variant(const ops::Variant<ops::LinearArgs>& variant, const Arch& arch, Stream& stream,
                         unsigned tags) {
  int checked = 0;
  for (const ops::LinearCase& c : ops::kLinearCases)
    for (const ops::LinearTypes& types : ops::kLinearTypes)
      for (const quant::Layout layout : detail::kLayouts) {
        if ((c.tags & tags) == 0 || !takes(c, types)) continue;
        SCOPED_TRACE(detail::trace(variant.name, c,
                                   fmt::format("{} x {} {} -> {}", name_of(types.x), name_of(types.format),
                                               name_of(layout), name_of(types.out))));
        const ops::Subset subset{.rows = ops::choose_indices(c.tokens, c.check_tokens),
                                 .cols = ops::choose_indices(c.rows, c.check_rows)};
        checked += detail::check_one(
            variant, arch, stream, [&] { return ops::make_inputs(c, types, layout); },
            [&](const ops::LinearArgs& args) {
              return detail::PartOfLinear{subset, cpu::ref::linear(args, subset)};
            });
      }
  return checked;
}

inline int check_variant(const ops::Variant<ops::RmsNormArgs>& variant, const Arch& arch, Stream& stream,
                         unsigned tags) {
  int checked = 0;
  for (const ops::RmsNormCase& c : ops::kRmsNormCases)
    for (const DType type : detail::kActivations) {
      if ((c.tags & tags) == 0) continue;
      SCOPED_TRACE(detail::trace(variant.name, c, name_of(type)));
      checked += detail::check_one(
          variant, arch, stream, [&] { return ops::make_inputs(c, type); },
          [](const ops::RmsNormArgs& args) { return cpu::ref::rms_norm(args); });
    }
  return checked;
}

inline int check_variant(const ops::Variant<ops::SiluMulArgs>& variant, const Arch& arch, Stream& stream,
                         unsigned tags) {
  int checked = 0;
  for (const ops::SiluMulCase& c : ops::kSiluMulCases)
    for (const DType type : detail::kActivations) {
      if ((c.tags & tags) == 0) continue;
      SCOPED_TRACE(detail::trace(variant.name, c, name_of(type)));
      checked += detail::check_one(
          variant, arch, stream, [&] { return ops::make_inputs(c, type); },
          [](const ops::SiluMulArgs& args) { return cpu::ref::silu_mul(args); });
    }
  return checked;
}

inline int check_variant(const ops::Variant<ops::RopeAppendArgs>& variant, const Arch& arch, Stream& stream,
                         unsigned tags) {
  int checked = 0;
  for (const ops::RopeAppendCase& c : ops::kRopeAppendCases)
    for (const DType type : detail::kActivations) {
      if ((c.tags & tags) == 0) continue;
      SCOPED_TRACE(detail::trace(variant.name, c, name_of(type)));
      checked += detail::check_one(
          variant, arch, stream, [&] { return ops::make_inputs(c, type); },
          [](const ops::RopeAppendArgs& args) { return cpu::ref::rope_append(args); });
    }
  return checked;
}

inline int check_variant(const ops::Variant<ops::AttentionArgs>& variant, const Arch& arch, Stream& stream,
                         unsigned tags) {
  int checked = 0;
  for (const ops::AttentionCase& c : ops::kAttentionCases)
    for (const DType type : detail::kActivations) {
      if ((c.tags & tags) == 0) continue;
      SCOPED_TRACE(detail::trace(variant.name, c, name_of(type)));
      const std::vector<std::int64_t> tokens = ops::choose_indices(c.seqs.queries(), c.check_tokens);
      checked += detail::check_one(
          variant, arch, stream, [&] { return ops::make_inputs(c, type); },
          [&](const ops::AttentionArgs& args) {
            return detail::PartOfAttention{tokens, cpu::ref::attention(args, {.rows = tokens})};
          });
    }
  return checked;
}

inline int check_variant(const ops::Variant<ops::SampleArgs>& variant, const Arch& arch, Stream& stream,
                         unsigned tags) {
  int checked = 0;
  for (const ops::SampleCase& c : ops::kSampleCases) {
    if ((c.tags & tags) == 0) continue;
    SCOPED_TRACE(detail::trace(variant.name, c, "f32"));
    checked += detail::check_one(
        variant, arch, stream, [&] { return ops::make_inputs(c); },
        [](const ops::SampleArgs& args) { return cpu::ref::sample(args); });
  }
  return checked;
}

}  // namespace rl::check
