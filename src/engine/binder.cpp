#include "engine/binder.h"

#include "base/checked.h"
#include "ops/codes.h"

namespace rl::engine {

using model::Site;
using model::SiteKind;
using model::Value;

Result<Binder> Binder::make(const ops::Catalog& catalog, const Arch& arch, DType activation, const StepLimits& limits,
                            std::map<std::string, std::string> force) {
  static constexpr std::string_view kOps[] = {"feed",        "embed",     "rms_norm", "linear", "fused_linear",
                                              "rope_append", "attention", "silu_mul", "sample", "deliver"};
  for (const auto& [op, variant] : force) {
    if (std::find(std::begin(kOps), std::end(kOps), op) != std::end(kOps)) continue;
    std::string names;
    for (const std::string_view name : kOps) names += (names.empty() ? "" : ", ") + std::string(name);
    return Error{.kind = ErrorKind::usage,
                 .what = fmt::format("cannot force a variant of '{}': there is no such op", op),
                 .rule = "force.op",
                 .expected = names,
                 .found = op};
  }
  Binder binder;
  binder.catalog_ = catalog;
  binder.arch_ = arch;
  binder.activation_ = activation;
  binder.limits_ = limits;
  binder.force_ = std::move(force);
  return binder;
}

Bytes value_bytes(const Value& value, std::int64_t rows, DType activation) {
  if (value.type == Value::Type::f32) return {rows * value.cols * 4};
  const std::int64_t codes = round_up(rows * value.cols, kAlignment) + rows * ((value.cols + 127) / 128) * 4;
  return {std::max(rows * value.cols * size_of(activation), codes)};
}

std::string_view Binder::forced(const char* op) const {
  const auto found = force_.find(op);
  return found == force_.end() ? std::string_view() : std::string_view(found->second);
}

struct Binder::Step {
  const Binder& binder;
  const model::Forward& forward;
  const StepBucket& bucket;
  const StepMemory& memory;
  VariantTuner* tuner;
  StepInputParts inputs;  // on the device
  StepPlan plan;

  TensorRef value(int index) const {
    const Value& v = forward.values[static_cast<std::size_t>(index)];
    const std::int64_t rows = v.rows == Value::Rows::tokens ? bucket.tokens : bucket.head_rows;
    const DType type = v.type == Value::Type::f32 ? DType::f32 : binder.activation_;
    return tensor(memory.values[static_cast<std::size_t>(index)], type, {rows, v.cols});
  }
  TensorRef drawn() const { return tensor(memory.step.drawn, {bucket.head_rows}); }
  TensorRef page_table(std::int64_t rows) const {
    return tensor(inputs.page_table, {rows, binder.limits_.max_pages()});
  }

  // A value as codes, in its own place: codes, then scales (value_bytes leaves room for both).
  struct Codes {
    TensorRef codes, scales;
  };
  std::map<int, Codes> coded;  // values that are written as codes, by index

  Codes codes_of(int index, quant::Format format) const {
    const TensorRef numbers = value(index);
    const std::int64_t rows = numbers.shape[0], cols = numbers.shape[1];
    auto* const at = static_cast<std::byte*>(numbers.data);
    return {
        .codes = tensor(at, quant::element_type(format), {rows, cols}),
        .scales = tensor(at + round_up(rows * cols, kAlignment), DType::f32, {rows, ops::scale_groups(format, cols)})};
  }

  // The site that alone reads a value, if it multiplies it with weights that take codes; else null.
  const Site* reader_of_codes(int index) const {
    const Site* reader = nullptr;
    for (const Site& site : forward.sites) {
      if (site.in != index) continue;
      if (reader != nullptr || !site.weight || !quant::quantizes_input(site.weight.format)) return nullptr;
      reader = &site;
    }
    return reader;
  }

  ops::LinearArgs product(const Site& site) const {
    const bool scratch = site.kind == SiteKind::gate_up;
    ops::LinearArgs args{.x = value(site.in),
                         .weight = site.weight,
                         .bias = site.bias,
                         .accumulate = site.kind == SiteKind::linear_out && site.residual,
                         .out = value(scratch ? site.scratch : site.out)};
    if (const auto found = coded.find(site.in); found != coded.end())
      args.x = found->second.codes, args.x_scales = found->second.scales;
    return args;
  }

  // Emits an op whose output value `index` goes to a product: as codes, if a variant writes them and the variant that
  // would have read the numbers reads them too.
  template <class Args>
  Status emit_before_product(const Site& site, const char* op, std::span<const ops::Variant<Args>> variants, Args args,
                             int index) {
    const auto product_variant = [&](const Site& reader) {
      const auto chosen = ops::choose(binder.catalog_.linear, product(reader), binder.arch_, binder.forced("linear"));
      return chosen ? *chosen : nullptr;
    };
    if (const Site* const reader = reader_of_codes(index)) {
      const auto* const plain = product_variant(*reader);
      const Codes codes = codes_of(index, reader->weight.format);
      coded[index] = codes;
      Args with_codes = args;
      with_codes.out = codes.codes, with_codes.scales = codes.scales;
      if (plain != nullptr && product_variant(*reader) == plain &&
          ops::choose(variants, with_codes, binder.arch_, binder.forced(op)))
        return emit(site, op, variants, with_codes);
      coded.erase(index);
    }
    return emit(site, op, variants, args);
  }

  template <class Args>
  Status emit(const Site& site, const char* op, std::span<const ops::Variant<Args>> variants, const Args& args) {
    Status valid = validate(args);
    if (!valid) return at(site, op, std::move(valid).error());
    auto chosen = ops::choose(variants, args, binder.arch_, binder.forced(op));
    if (!chosen) return at(site, op, std::move(chosen).error());
    return add(site, **chosen, args, (*chosen)->workspace(args), false);
  }

  template <class Args>
  Status add(const Site& site, const ops::Variant<Args>& variant, const Args& args, Bytes workspace, bool measured) {
    if (workspace > memory.workspace_bytes)
      return Error{.kind = ErrorKind::internal,
                   .what = fmt::format("{} of site {} needs more workspace than was planned", variant.name, site.name),
                   .expected = format_binary_bytes(memory.workspace_bytes),
                   .found = format_binary_bytes(workspace)};
    plan.ops.push_back({.site = site.name,
                        .layer = site.layer,
                        .op = BoundVariant<Args>{.variant = &variant, .args = args},
                        .workspace_bytes = workspace,
                        .workspace = memory.workspace,
                        .measured = measured});
    return ok();
  }

  static Error at(const Site& site, const char* op, Error error) {
    error.what = fmt::format("op {} of site {}: {}", op, site.name, error.what);
    return error;
  }

  Status linear(const Site& site) {
    const ops::LinearArgs args = product(site);
    if (!binder.tuned_ || !binder.forced("linear").empty()) return emit(site, "linear", binder.catalog_.linear, args);
    Status valid = validate(args);
    if (!valid) return at(site, "linear", std::move(valid).error());
    const auto candidates = ops::candidates(binder.catalog_.linear, args, binder.arch_);
    if (candidates.empty()) return emit(site, "linear", binder.catalog_.linear, args);
    Bytes workspace;
    for (const auto* const variant : candidates) workspace = std::max(workspace, variant->workspace(args));
    if (tuner == nullptr || workspace > memory.workspace_bytes)
      return add(site, *candidates.front(), args, workspace, false);
    RL_ASSIGN(const auto* const variant, tuner->choose(candidates, alike(site, args), memory.workspace, before()));
    return add(site, *variant, args, workspace, candidates.size() > 1);
  }

  // The op that the plan ends in, if it can run before there is a step: it reads no indices, which have no values yet.
  // Behind attention, which does: the product before it, by itself.
  std::optional<VariantTuner::Before> before() const {
    if (plan.ops.empty()) return {};
    if (std::holds_alternative<BoundVariant<ops::AttentionArgs>>(plan.ops.back().op)) {
      for (auto op = plan.ops.rbegin(); op != plan.ops.rend(); ++op) {
        if (const auto* const linear = std::get_if<BoundVariant<ops::LinearArgs>>(&op->op))
          return product_alone(linear->args);
        if (const auto* const fused = std::get_if<BoundVariant<ops::FusedLinearArgs>>(&op->op))
          return product_alone(fused->args.product);
      }
      return {};
    }
    const BoundOp& last = plan.ops.back();
    TensorRef input;
    if (const auto* const silu = std::get_if<BoundVariant<ops::SiluMulArgs>>(&last.op)) {
      input = silu->args.gate_up;
    } else if (const auto* const norm = std::get_if<BoundVariant<ops::RmsNormArgs>>(&last.op)) {
      if (!norm->args.rows) input = norm->args.x;
    } else if (const auto* const fused = std::get_if<BoundVariant<ops::FusedLinearArgs>>(&last.op)) {
      if (fused->args.silu_mul) input = fused->args.norm ? fused->args.norm->x : fused->args.product.x;
    }
    if (!input) return {};
    return VariantTuner::Before{
        .name = last.variant_name(), .launch = [last](Stream& stream) { return last.launch(stream); }, .input = input};
  }

  std::optional<VariantTuner::Before> product_alone(const ops::LinearArgs& args) const {
    const auto candidates = ops::candidates(binder.catalog_.linear, args, binder.arch_);
    if (candidates.empty() || candidates.front()->workspace(args) > memory.workspace_bytes) return {};
    return VariantTuner::Before{.name = candidates.front()->name,
                                .launch = [args, variant = candidates.front(), workspace = memory.workspace](
                                              Stream& stream) { return variant->launch(args, workspace, stream); },
                                .input = args.x};
  }

  // The site's product with its own weights and those of other layers, until they are more than a cache holds.
  std::vector<ops::LinearArgs> alike(const Site& site, const ops::LinearArgs& args) const {
    constexpr std::int64_t kBytes = 256 << 20;
    constexpr std::size_t kMost = 32;
    std::vector<ops::LinearArgs> calls{args};
    const std::int64_t each = args.weight.rows * args.weight.cols * size_of(quant::element_type(args.weight.format));
    for (const Site& other : forward.sites) {
      if (std::ssize(calls) * each >= kBytes || calls.size() == kMost) break;
      const quant::PackedWeight& w = other.weight;
      if (other.kind != site.kind || other.layer == site.layer || w.rows != args.weight.rows ||
          w.cols != args.weight.cols || w.format != args.weight.format)
        continue;
      calls.push_back(args);
      calls.back().weight = w;
      if (args.bias) calls.back().bias = other.bias;
    }
    return calls;
  }

  // A product, fused with the op that the plan ends in if that is the norm of its input, and with the one after it.
  // Not where a variant of one of them was forced: it is to be seen, not taken in. What it gives back says whether the
  // op after the product is done; without a variant that fuses, the product is emitted by itself.
  template <class After>
  Result<bool> linear_and(const Site& site, const char* op, std::optional<After> ops::FusedLinearArgs::*part,
                          const After& after) {
    if (binder.forced(op).empty()) {
      ops::FusedLinearArgs args{.product = product(site)};
      args.*part = after;
      RL_ASSIGN(const bool done, fuse(site, args));
      if (done) return true;
    }
    RL_TRY(linear_alone(site));
    return false;
  }
  // The same without an op after it.
  Status linear_alone(const Site& site) {
    RL_ASSIGN(const bool done, fuse(site, {.product = product(site)}));
    return done ? ok() : linear(site);
  }
  Result<bool> fuse(const Site& site, ops::FusedLinearArgs args) {
    if (!binder.forced("linear").empty()) return false;
    if (const ops::RmsNormArgs* const norm = norm_before(site, args.product)) {
      args.norm = *norm;
      RL_ASSIGN(const bool done, fuse_as(site, args, 1));
      if (done) return true;
      args.norm.reset();
    }
    if (!args.silu_mul && !args.rope_append) return false;
    return fuse_as(site, args, 0);
  }
  // `replaced`: how many ops at the plan's end it does the work of.
  Result<bool> fuse_as(const Site& site, const ops::FusedLinearArgs& args, std::size_t replaced) {
    const auto variants = binder.catalog_.fused_linear;
    const std::string_view forced = binder.forced("fused_linear");
    const auto is_meant = [&](const auto& variant) { return forced.empty() || forced == variant.name; };
    const bool known = std::any_of(variants.begin(), variants.end(), is_meant) || forced.empty();
    // Legal by itself, but not together: where the product's result takes the place of the norm's input.
    if (known && (!validate(args) || std::none_of(variants.begin(), variants.end(), [&](const auto& variant) {
          return is_meant(variant) && variant.supports(args, binder.arch_).has_value();
        })))
      return false;
    plan.ops.resize(plan.ops.size() - replaced);
    RL_TRY(emit(site, "fused_linear", variants, args));
    return true;
  }
  // The norm that was emitted last, if its result is the product's input and nobody else's.
  const ops::RmsNormArgs* norm_before(const Site& site, const ops::LinearArgs& args) const {
    if (!binder.forced("rms_norm").empty() || plan.ops.empty()) return nullptr;
    const auto* const norm = std::get_if<BoundVariant<ops::RmsNormArgs>>(&plan.ops.back().op);
    const auto reads = [&](const Site& other) { return other.in == site.in; };
    if (norm == nullptr || norm->args.out.data != args.x.data || norm->args.out.dtype != args.x.dtype ||
        std::count_if(forward.sites.begin(), forward.sites.end(), reads) != 1)
      return nullptr;
    return &norm->args;
  }

  Status norm_in(const Site& site) {
    const TensorRef rows = site.head_rows ? tensor(inputs.head_rows, {bucket.head_rows}) : TensorRef();
    return emit_before_product(site, "rms_norm", binder.catalog_.rms_norm,
                               ops::RmsNormArgs{.x = value(site.in),
                                                .weight = site.norm,
                                                .rows = rows,
                                                .eps = site.eps,
                                                .out = value(site.out),
                                                .rounded = binder.activation_},
                               site.out);
  }

  Status qkv(const Site& site) {
    const ops::RopeAppendArgs rope{.qkv = value(site.out),
                                   .positions = tensor(inputs.positions, {bucket.tokens}),
                                   .seq_of = tensor(inputs.seq_of, {bucket.tokens}),
                                   .cos = memory.cos,
                                   .sin = memory.sin,
                                   .q_norm = site.q_norm,
                                   .k_norm = site.k_norm,
                                   .eps = site.eps,
                                   .heads = site.heads,
                                   .kv_heads = site.kv_heads,
                                   .head_dim = site.head_dim,
                                   .cache = memory.kv[static_cast<std::size_t>(site.layer)],
                                   .page_table = page_table(bucket.seqs + 1)};
    RL_ASSIGN(const bool done, linear_and(site, "rope_append", &ops::FusedLinearArgs::rope_append, rope));
    return done ? ok() : emit(site, "rope_append", binder.catalog_.rope_append, rope);
  }

  Status attention(const Site& site) {
    // q is the leading part of each row of the qkv value.
    TensorRef q = value(site.in);
    const std::int64_t row = q.strides[0];
    q = tensor(q.data, q.dtype, {bucket.tokens, site.heads, site.head_dim});
    q.strides[0] = row;
    TensorRef out = value(site.out);
    out = tensor(out.data, out.dtype, {bucket.tokens, site.heads, site.head_dim});
    return emit(site, "attention", binder.catalog_.attention,
                ops::AttentionArgs{.q = q,
                                   .kv = memory.kv[static_cast<std::size_t>(site.layer)],
                                   .index = {.page_table = page_table(bucket.seqs),
                                             .kv_len = tensor(inputs.kv_len, {bucket.seqs}),
                                             .cu_q = tensor(inputs.cu_q, {bucket.seqs + 1})},
                                   .causal = true,
                                   .window = site.window,
                                   .scale = site.scale,
                                   .max_kv = binder.limits_.context,
                                   .max_q = bucket.max_q,
                                   .out = out});
  }

  Status sample(const Site& site) {
    return emit(site, "sample", binder.catalog_.sample,
                ops::SampleArgs{.logits = value(site.in),
                                .row = inputs.rows,
                                .history = tensor(inputs.history, {binder.limits_.seqs * binder.limits_.context}),
                                .out = drawn()});
  }

  // Before the first site: the inputs. A token of the step before may lie in any of its rows.
  Status feed() {
    const StepAddresses& step = memory.step;
    ops::FeedArgs args{.turn = tensor(step.turn, {1}),
                       .drawn = tensor(step.drawn, {binder.limits_.seqs}),
                       .words = inputs.words,
                       .ids = bucket.tokens,
                       .out = tensor(static_cast<std::int32_t*>(step.block), {step.words})};
    for (int turn = 0; turn < 2; ++turn)
      args.host[turn] = tensor(static_cast<std::int32_t*>(step.host[turn]), {step.words});
    return emit({.name = "inputs"}, "feed", binder.catalog_.feed, args);
  }
  // After the last: the drawn tokens.
  Status deliver() {
    if (bucket.head_rows == 0 || !bucket.sample) return ok();
    ops::DeliverArgs args{.drawn = drawn(), .block = tensor(inputs.header, {ops::kFeedHeader})};
    for (int turn = 0; turn < 2; ++turn) args.out[turn] = tensor(memory.step.delivered[turn], {bucket.head_rows});
    return emit({.name = "outputs"}, "deliver", binder.catalog_.deliver, args);
  }

  Status bind(const Site& site) {
    switch (site.kind) {
      case SiteKind::embed:
        return emit(
            site, "embed", binder.catalog_.embed,
            ops::EmbedArgs{.ids = tensor(inputs.ids, {bucket.tokens}), .table = site.weight, .out = value(site.out)});
      case SiteKind::norm_in:
        return site.head_rows && bucket.head_rows == 0 ? ok() : norm_in(site);
      case SiteKind::qkv:
        return qkv(site);
      case SiteKind::attention:
        return attention(site);
      case SiteKind::linear_out:
        return linear(site);
      case SiteKind::gate_up: {
        const ops::SiluMulArgs silu{.gate_up = value(site.scratch), .out = value(site.out)};
        RL_ASSIGN(const bool done, linear_and(site, "silu_mul", &ops::FusedLinearArgs::silu_mul, silu));
        return done ? ok() : emit_before_product(site, "silu_mul", binder.catalog_.silu_mul, silu, site.out);
      }
      case SiteKind::head:
        return bucket.head_rows == 0 ? ok() : linear_alone(site);
      case SiteKind::sample:
        return bucket.head_rows == 0 || !bucket.sample ? ok() : sample(site);
    }
    return ok();
  }
};

Result<StepPlan> Binder::bind(const model::Forward& forward, const StepBucket& bucket, const StepMemory& memory,
                              VariantTuner* tuner) const {
  RL_CHECK(bucket.tokens > 0 && bucket.tokens <= limits_.tokens && bucket.seqs > 0 && bucket.seqs <= limits_.seqs);
  Step step{.binder = *this,
            .forward = forward,
            .bucket = bucket,
            .memory = memory,
            .tuner = tuner,
            .inputs = step_input_parts(bucket, limits_, memory.step.block),
            .plan = {.bucket = bucket}};
  RL_TRY(step.feed());
  for (const Site& site : forward.sites) RL_TRY(step.bind(site));
  RL_TRY(step.deliver());
  return std::move(step.plan);
}

}  // namespace rl::engine
