#pragma once
// One check for every variant of every op, on every backend: inputs of each case, the oracle's values, one launch with
// poisoned workspace, then
//   - each output element within its derived tolerance, and nothing written beside the outputs or where nothing belongs
//   - deterministic variants: a second launch on equal inputs gives equal bits
//   - batch-invariant variants: the first row alone gives the bits it had among the others
// check_variants(variants, target, tags) runs all cases with one of the tags. Inputs and the oracle's values are made
// once a case; what a launch writes is as it was before the next one.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cpu/ref/ref.h"
#include "ops/case_inputs.h"
#include "ops/case_mirror.h"
#include "ops/tolerance.h"
#include "tensor/element.h"

namespace rl::selftest {

// Where variants run. `device` is null for those that compute at once, in the host's memory.
inline constexpr quant::Layout kAllLayouts[] = {quant::Layout::row_major, quant::Layout::panel64};
struct Target {
  Arch arch;
  Stream& stream;
  Device* device = nullptr;
  std::span<const quant::Layout> layouts = kAllLayouts;  // of weights to try
  int part = 0, parts = 1;                               // every parts-th combination, from this one on
};

// The variants of an op that are checked together.
template <class Args>
using Variants = std::span<const ops::Variant<Args>* const>;

// What a check found. A failure says case, types and what was wrong.
struct Report {
  int seen = 0;     // combinations of case and types; counted in the first report
  int checked = 0;  // those of them that the variant supports
  std::vector<std::string> failures;
  std::string context;

  void expect(bool holds, const std::string& what) {
    if (!holds) failures.push_back(context + ": " + what);
  }
  template <class T>
  void expect(const Result<T>& result) {
    expect(result.has_value(), result ? "" : result.error().message());
  }
};

namespace detail {

// Launches with a workspace of exactly the stated size, full of NaN, between guards.
template <class Args>
Status launch(const ops::Variant<Args>& variant, const Args& args, const ops::CaseMemory& memory,
              const Target& target) {
  ops::CaseMemory scratch_memory;
  const Bytes size = variant.workspace(args);
  void* workspace = nullptr;
  if (size.count > 0) {
    RL_ASSIGN(const TensorRef scratch, scratch_memory.output(DType::u8, {size.count}));
    workspace = scratch.data;
  }
  if (target.device == nullptr) {
    RL_TRY(variant.launch(args, workspace, target.stream));
    RL_TRY(target.stream.synchronize());
    return scratch_memory.check_guards();
  }
  RL_ASSIGN(const ops::CaseMirror there, ops::CaseMirror::make(*target.device, target.stream, memory));
  RL_ASSIGN(const ops::CaseMirror scratch, ops::CaseMirror::make(*target.device, target.stream, scratch_memory));
  RL_TRY(variant.launch(there.there(args), scratch.moved(static_cast<std::byte*>(workspace)), target.stream));
  RL_TRY(target.stream.synchronize());
  RL_TRY(there.bring_back(target.stream));
  RL_TRY(scratch.bring_back(target.stream));
  return scratch_memory.check_guards();
}

// The tensors an op writes.
template <class Args>
std::vector<TensorRef> outputs(const Args& args) {
  return {args.out};
}
inline std::vector<TensorRef> outputs(const ops::RmsNormArgs& args) {
  return args.scales ? std::vector{args.out, args.scales} : std::vector{args.out};
}
inline std::vector<TensorRef> outputs(const ops::SiluMulArgs& args) {
  return args.scales ? std::vector{args.out, args.scales} : std::vector{args.out};
}
inline std::vector<TensorRef> outputs(const ops::RopeAppendArgs& args) {
  return {args.qkv, args.cache.k, args.cache.v};
}

inline std::vector<TensorRef> outputs(const ops::FeedArgs& args) { return {args.out, args.turn}; }
inline std::vector<TensorRef> outputs(const ops::DeliverArgs& args) { return {args.out[0], args.out[1]}; }

// Args cut down to their first row or sequence, and how many rows of the first output that is. No rows: cannot be cut.
inline std::int64_t cut(ops::EmbedArgs& args) { return args.ids.shape[0] = args.out.shape[0] = 1; }
inline std::int64_t cut(ops::LinearArgs& args) {
  return args.x.shape[0] = args.x_scales.shape[0] = args.out.shape[0] = 1;
}
inline std::int64_t cut(ops::RmsNormArgs& args) {
  return (args.rows ? args.rows : args.x).shape[0] = args.out.shape[0] = args.scales.shape[0] = 1;
}
inline std::int64_t cut(ops::SiluMulArgs& args) {
  return args.gate_up.shape[0] = args.out.shape[0] = args.scales.shape[0] = 1;
}
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

inline std::int64_t cut(ops::FeedArgs&) { return 0; }
inline std::int64_t cut(ops::DeliverArgs& args) {
  return args.drawn.shape[0] = args.out[0].shape[0] = args.out[1].shape[0] = 1;
}

// What must hold after a launch beyond the values; the oracle's results were taken before it.
inline void expect_values(Report& report, const ops::Facts&, const ops::EmbedArgs& args, const ops::Values& ref) {
  const auto compared = ops::compare(args.out, ref.value, ops::tolerance(args, ref));
  report.expect(compared.passed, compared.message());
}
inline void expect_values(Report& report, const ops::Facts&, const ops::RmsNormArgs& args, const ops::Values& ref) {
  const auto compared = args.scales ? ops::compare_codes(args.out, args.scales, ref.value, ops::tolerance(args, ref))
                                    : ops::compare(args.out, ref.value, ops::tolerance(args, ref));
  report.expect(compared.passed, compared.message());
}
inline void expect_values(Report& report, const ops::Facts&, const ops::SiluMulArgs& args, const ops::Values& ref) {
  const auto compared = args.scales ? ops::compare_codes(args.out, args.scales, ref.value, ops::tolerance(args, ref))
                                    : ops::compare(args.out, ref.value, ops::tolerance(args, ref));
  report.expect(compared.passed, compared.message());
}
struct PartOfLinear {
  ops::Subset subset;
  ops::Values values;
};
inline void expect_values(Report& report, const ops::Facts& facts, const ops::LinearArgs& args,
                          const PartOfLinear& ref) {
  const auto compared =
      ops::compare(args.out, ref.subset, ref.values.value, ops::tolerance(args, ref.values, facts.sum_error));
  report.expect(compared.passed, compared.message());
}
struct PartOfAttention {
  std::vector<std::int64_t> tokens;
  ops::Values values;
};
inline void expect_values(Report& report, const ops::Facts&, const ops::AttentionArgs& args,
                          const PartOfAttention& ref) {
  const auto compared =
      ops::compare(args.out, {.rows = ref.tokens}, ref.values.value, ops::tolerance(args, ref.values));
  report.expect(compared.passed, compared.message());
  const std::int64_t in_use = args.index.cu_q.as<const std::int32_t>()[args.index.kv_len.shape[0]];
  const std::int64_t row = args.out.shape[1] * args.out.shape[2];
  for (std::int64_t i = in_use * row; i < args.out.elements(); ++i)
    if (!std::isnan(load_element(args.out.dtype, args.out.data, i)))
      return report.expect(false, fmt::format("a padding token was written: element {}", i));
}
inline void expect_values(Report& report, const ops::Facts&, const ops::SampleArgs& args,
                          const std::vector<TokenId>& ref) {
  const auto* out = args.out.as<const std::int32_t>();
  for (std::size_t r = 0; r < ref.size(); ++r)
    report.expect(out[r] == ref[r], fmt::format("row {}: token {} for {}", r, out[r], ref[r]));
}
inline void expect_words(Report& report, const char* name, const TensorRef& t, const std::vector<std::int32_t>& ref) {
  for (std::size_t i = 0; i < ref.size(); ++i)
    if (const std::int32_t found = t.as<const std::int32_t>()[i]; found != ref[i])
      return report.expect(false, fmt::format("{}: word {} is {} for {}", name, i, found, ref[i]));
}
inline void expect_values(Report& report, const ops::Facts&, const ops::FeedArgs& args, const cpu::ref::Fed& ref) {
  expect_words(report, "out", args.out, ref.block);
  expect_words(report, "turn", args.turn, {ref.turn});
}
inline void expect_values(Report& report, const ops::Facts&, const ops::DeliverArgs& args,
                          const std::array<std::vector<std::int32_t>, 2>& ref) {
  for (std::size_t i = 0; i < 2; ++i) expect_words(report, "out", args.out[i], ref[i]);
}
inline void expect_values(Report& report, const ops::Facts&, const ops::RopeAppendArgs& args,
                          const cpu::ref::RopeAppended& ref) {
  const std::int64_t tokens = args.qkv.shape[0];
  TensorRef q = tensor(args.qkv.data, args.qkv.dtype, {tokens, args.heads * args.head_dim});
  q.strides[0] = args.qkv.shape[1];
  const auto q_compared = ops::compare(q, ref.q.value, ops::tolerance(args, ref.q, bool{args.q_norm}, args.qkv.dtype));
  report.expect(q_compared.passed, "q: " + q_compared.message());

  // The cache as written: each token's rows, and NaN wherever no token belongs. k is rounded to the cache's type once,
  // and v, which nothing was computed of, exactly so.
  const std::vector<double> k_tolerance = ops::tolerance(args, ref.k, bool{args.k_norm}, args.cache.k.dtype);
  const double most = args.cache.k.dtype == DType::f8_e4m3 ? 448 : HUGE_VAL;
  const auto stored = [&](double x) {
    double code = 0;
    store_element(args.cache.v.dtype, &code, 0, x);
    return load_element(args.cache.v.dtype, &code, 0);
  };
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
        k[at] = std::clamp(ref.k.value[from], -most, most), k_allowed[at] = k_tolerance[from],
        v[at] = stored(ref.v.value[from]);
      }
  }
  for (std::size_t i = 0; i < k.size(); ++i) {
    const double got_k = load_element(args.cache.k.dtype, args.cache.k.data, static_cast<std::int64_t>(i));
    const double got_v = load_element(args.cache.v.dtype, args.cache.v.data, static_cast<std::int64_t>(i));
    if (!(std::isnan(k[i]) ? std::isnan(got_k) : std::abs(got_k - k[i]) <= k_allowed[i]))
      return report.expect(false, fmt::format("k cache at {}: {} for {}", i, got_k, k[i]));
    if (!(std::isnan(v[i]) ? std::isnan(got_v) : got_v == v[i]))
      return report.expect(false, fmt::format("v cache at {}: {} for {}", i, got_v, v[i]));
  }
}

// What outputs hold, guard bands left out.
template <class Args>
std::vector<std::vector<std::byte>> contents(const Args& args) {
  std::vector<std::vector<std::byte>> all;
  for (const TensorRef& t : outputs(args)) {
    const auto* const first = t.as<const std::byte>();
    all.emplace_back(first, first + t.elements() * size_of(t.dtype));
  }
  return all;
}
template <class Args>
void put_back(const Args& args, const std::vector<std::vector<std::byte>>& all) {
  for (std::size_t i = 0; i < all.size(); ++i) std::memcpy(outputs(args)[i].data, all[i].data(), all[i].size());
}

// context: of case and types; make: makes the inputs of one combination; ref: the oracle's results for them.
template <class Args, class Make, class Ref>
void check_case(std::vector<Report>& reports, Variants<Args> variants, const Target& target, const std::string& context,
                const Make& make, const Ref& ref) {
  for (std::size_t i = 0; i < variants.size(); ++i) reports[i].context = variants[i]->name + context;
  if (variants.empty() || reports.front().seen++ % target.parts != target.part) return;
  auto made = make();
  if (!made) return reports.front().expect(made);
  const Args& args = made->args;
  if (const Status legal = ops::validate(args); !legal) return reports.front().expect(legal);
  const auto unwritten = contents(args);
  std::optional<std::invoke_result_t<Ref, const Args&>> expected;
  for (std::size_t i = 0; i < variants.size(); ++i) {
    const ops::Variant<Args>& variant = *variants[i];
    Report& report = reports[i];
    if (!variant.supports(args, target.arch)) continue;
    ++report.checked;
    if (!expected) expected = ref(args);
    const Status launched = launch(variant, args, made->memory, target);
    report.expect(launched);
    if (launched) {
      expect_values(report, variant.facts, args, *expected);
      report.expect(made->memory.check_guards());
      const auto found = contents(args);
      if (variant.facts.deterministic) {
        put_back(args, unwritten);
        report.expect(launch(variant, args, made->memory, target));
        report.expect(contents(args) == found, "not deterministic");
      }
      Args alone = args;
      const std::int64_t rows = variant.facts.batch_invariant ? cut(alone) : 0;
      if (rows > 0 && variant.supports(alone, target.arch)) {
        put_back(args, unwritten);
        report.expect(ops::validate(alone));
        report.expect(launch(variant, alone, made->memory, target));
        const TensorRef out = outputs(args)[0];
        const std::int64_t bytes = rows * out.elements() / out.shape[0] * size_of(out.dtype);
        report.expect(std::memcmp(out.data, found[0].data(), static_cast<std::size_t>(bytes)) == 0,
                      "depends on the other rows of the batch");
      }
    }
    put_back(args, unwritten);
    made->memory.renew_guards();
  }
}

constexpr DType kActivations[] = {DType::f32, DType::bf16, DType::f16};

inline std::string name_of(const ops::CacheTypes& types) {
  std::string name = rl::name_of(types.activation);
  return types.cache == types.activation ? name : name + ", cache " + rl::name_of(types.cache);
}

template <class Case>
std::string trace(const Case& c, const std::string& types) {
  return fmt::format(", case {}, {}", c.name, types);
}

}  // namespace detail

inline std::vector<Report> check_variants(Variants<ops::EmbedArgs> variants, const Target& target, unsigned tags) {
  std::vector<Report> reports(variants.size());
  for (const ops::EmbedCase& c : ops::kEmbedCases)
    for (const quant::Format format :
         {quant::Format::f32, quant::Format::bf16, quant::Format::f16, quant::Format::int8})
      for (const quant::Layout layout : target.layouts) {
        if ((c.tags & tags) == 0) continue;
        const std::string context = detail::trace(c, fmt::format("{} {}", name_of(format), name_of(layout)));
        detail::check_case(
            reports, variants, target, context, [&] { return ops::make_inputs(c, format, layout); },
            [](const ops::EmbedArgs& args) { return cpu::ref::embed(args); });
      }
  return reports;
}

inline std::vector<Report> check_variants(Variants<ops::LinearArgs> variants, const Target& target, unsigned tags) {
  std::vector<Report> reports(variants.size());
  for (const ops::LinearCase& c : ops::kLinearCases)
    for (const ops::LinearTypes& types : ops::kLinearTypes)
      for (const quant::Layout layout : target.layouts) {
        if ((c.tags & tags) == 0 || !takes(c, types)) continue;
        const std::string context =
            detail::trace(c, fmt::format("{} x {} {} -> {}", name_of(types.x), name_of(types.format), name_of(layout),
                                         name_of(types.out)));
        const ops::Subset subset{.rows = ops::choose_indices(c.tokens, c.check_tokens),
                                 .cols = ops::choose_indices(c.rows, c.check_rows)};
        detail::check_case(
            reports, variants, target, context, [&] { return ops::make_inputs(c, types, layout); },
            [&](const ops::LinearArgs& args) {
              return detail::PartOfLinear{subset, cpu::ref::linear(args, subset)};
            });
      }
  return reports;
}

inline std::vector<Report> check_variants(Variants<ops::RmsNormArgs> variants, const Target& target, unsigned tags) {
  std::vector<Report> reports(variants.size());
  const auto check = [&](const ops::RmsNormCase& c, const auto& type, const std::string& types) {
    const std::string context = detail::trace(c, types);
    detail::check_case(
        reports, variants, target, context, [&] { return ops::make_inputs(c, type); },
        [](const ops::RmsNormArgs& args) { return cpu::ref::rms_norm(args); });
  };
  for (const ops::RmsNormCase& c : ops::kRmsNormCases) {
    if ((c.tags & tags) == 0) continue;
    for (const DType type : detail::kActivations) check(c, type, name_of(type));
    for (const ops::CodedType& type : ops::kCodedTypes)
      check(c, type, fmt::format("{} as codes for {}", name_of(type.rounded), name_of(type.format)));
  }
  return reports;
}

inline std::vector<Report> check_variants(Variants<ops::SiluMulArgs> variants, const Target& target, unsigned tags) {
  std::vector<Report> reports(variants.size());
  const auto check = [&](const ops::SiluMulCase& c, const auto& type, const std::string& types) {
    const std::string context = detail::trace(c, types);
    detail::check_case(
        reports, variants, target, context, [&] { return ops::make_inputs(c, type); },
        [](const ops::SiluMulArgs& args) { return cpu::ref::silu_mul(args); });
  };
  for (const ops::SiluMulCase& c : ops::kSiluMulCases) {
    if ((c.tags & tags) == 0) continue;
    for (const DType type : detail::kActivations) check(c, type, name_of(type));
    for (const ops::CodedType& type : ops::kCodedTypes)
      check(c, type, fmt::format("{} as codes for {}", name_of(type.rounded), name_of(type.format)));
  }
  return reports;
}

inline std::vector<Report> check_variants(Variants<ops::RopeAppendArgs> variants, const Target& target, unsigned tags) {
  std::vector<Report> reports(variants.size());
  for (const ops::RopeAppendCase& c : ops::kRopeAppendCases)
    for (const ops::CacheTypes types : ops::kCacheTypes) {
      if ((c.tags & tags) == 0) continue;
      const std::string context = detail::trace(c, detail::name_of(types));
      detail::check_case(
          reports, variants, target, context, [&] { return ops::make_inputs(c, types); },
          [](const ops::RopeAppendArgs& args) { return cpu::ref::rope_append(args); });
    }
  return reports;
}

inline std::vector<Report> check_variants(Variants<ops::AttentionArgs> variants, const Target& target, unsigned tags) {
  std::vector<Report> reports(variants.size());
  for (const ops::AttentionCase& c : ops::kAttentionCases)
    for (const ops::CacheTypes types : ops::kCacheTypes) {
      if ((c.tags & tags) == 0) continue;
      const std::string context = detail::trace(c, detail::name_of(types));
      const std::vector<std::int64_t> tokens = ops::choose_indices(c.seqs.queries(), c.check_tokens);
      detail::check_case(
          reports, variants, target, context, [&] { return ops::make_inputs(c, types); },
          [&](const ops::AttentionArgs& args) {
            return detail::PartOfAttention{tokens, cpu::ref::attention(args, {.rows = tokens})};
          });
    }
  return reports;
}

inline std::vector<Report> check_variants(Variants<ops::SampleArgs> variants, const Target& target, unsigned tags) {
  std::vector<Report> reports(variants.size());
  for (const ops::SampleCase& c : ops::kSampleCases) {
    if ((c.tags & tags) == 0) continue;
    const std::string context = detail::trace(c, "f32");
    detail::check_case(
        reports, variants, target, context, [&] { return ops::make_inputs(c); },
        [](const ops::SampleArgs& args) { return cpu::ref::sample(args); });
  }
  return reports;
}

inline std::vector<Report> check_variants(Variants<ops::FeedArgs> variants, const Target& target, unsigned tags) {
  std::vector<Report> reports(variants.size());
  for (const ops::FeedCase& c : ops::kFeedCases) {
    if ((c.tags & tags) == 0) continue;
    const std::string context = detail::trace(c, "i32");
    detail::check_case(
        reports, variants, target, context, [&] { return ops::make_inputs(c); },
        [](const ops::FeedArgs& args) { return cpu::ref::feed(args); });
  }
  return reports;
}

inline std::vector<Report> check_variants(Variants<ops::DeliverArgs> variants, const Target& target, unsigned tags) {
  std::vector<Report> reports(variants.size());
  for (const ops::DeliverCase& c : ops::kDeliverCases) {
    if ((c.tags & tags) == 0) continue;
    const std::string context = detail::trace(c, "i32");
    detail::check_case(
        reports, variants, target, context, [&] { return ops::make_inputs(c); },
        [](const ops::DeliverArgs& args) { return cpu::ref::deliver(args); });
  }
  return reports;
}

}  // namespace rl::selftest
