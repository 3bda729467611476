#include "engine/setup.h"

#include <set>

#include "base/checked.h"

namespace rl::engine {
namespace {

// Logits of a scoring chunk: enough rows to keep the matrix units busy, without a huge block for a large vocabulary.
constexpr std::int64_t kScoreLogitsBytes = 64 << 20;
constexpr std::int64_t kDefaultContext = 4096;

// Addresses for planning, which reads shapes only; values that must not overlap get places far apart.
void* const kNotThere = reinterpret_cast<void*>(kAlignment);
void* place(std::size_t n) { return reinterpret_cast<void*>((n + 1) << 40); }

Error bad_option(const char* name, std::int64_t found, std::string expected, std::string hint = {}) {
  return Error{.kind = ErrorKind::usage,
               .what = fmt::format("{} is out of range", name),
               .rule = fmt::format("engine.{}", name),
               .field = name,
               .expected = std::move(expected),
               .found = std::to_string(found),
               .hint = std::move(hint)};
}

StepMemory placeholder_memory(const model::Forward& forward, const StepLimits& limits, const model::ModelConfig& config,
                              DType cache) {
  StepMemory memory;
  for (std::size_t v = 0; v < forward.values.size(); ++v) memory.values.push_back(place(v));
  auto* const words = static_cast<std::int32_t*>(kNotThere);
  memory.step = {.block = kNotThere,
                 .host = {kNotThere, kNotThere},
                 .words = step_input_bytes(limits).count / 4,
                 .turn = words,
                 .drawn = words,
                 .delivered = {words, words}};
  const TensorRef pages =
      tensor(kNotThere, cache, {limits.max_pages(), config.kv_heads, limits.page_tokens, config.head_dim});
  memory.kv.assign(static_cast<std::size_t>(config.layers), {.k = pages, .v = pages});
  memory.cos = memory.sin = tensor(kNotThere, DType::f32, {limits.context, config.head_dim / 2});
  memory.workspace_bytes = {std::numeric_limits<std::int64_t>::max()};
  return memory;
}

// Counts at which choices can change: all small ones, then powers of two with their neighbours, and the largest.
std::set<std::int64_t> sampled_counts(std::int64_t most) {
  std::set<std::int64_t> counts;
  for (std::int64_t n = 1; n <= std::min<std::int64_t>(most, 32); ++n) counts.insert(n);
  for (std::int64_t power = 32; power <= most; power *= 2)
    for (std::int64_t n : {power - 1, power, power + 1, power + power / 2})
      if (n <= most) counts.insert(n);
  counts.insert(most);
  return counts;
}

// The workspace of every shape a step can have. Layers are alike, so one stands for all.
Result<Bytes> workspace_with(const Binder& binder, const model::ModelConfig& one_layer, quant::ModelFormat format,
                             quant::Layout layout, const StepLimits& limits, DType cache) {
  RL_ASSIGN(const model::ModelWeights weights, model::weight_shapes(one_layer, format, layout));
  const model::Forward forward = model::build_forward(one_layer, weights);
  const StepMemory memory = placeholder_memory(forward, limits, one_layer, cache);
  Bytes most;
  const auto include = [&](const StepBucket& bucket) -> Status {
    RL_ASSIGN(const StepPlan plan, binder.bind(forward, bucket, memory));
    most = std::max(most, plan.workspace());
    return ok();
  };
  const std::set<std::int64_t> seqs = sampled_counts(limits.seqs);
  for (const std::int64_t tokens : sampled_counts(limits.tokens))
    for (const std::int64_t s : seqs) {
      if (s > tokens) break;
      RL_TRY(include(step_shape(tokens, s, s, true)));
      // A padded bucket can have fewer queries per sequence than its shape would allow, or more.
      StepBucket padded = step_shape(tokens, s, s, true);
      padded.max_q = tokens;
      RL_TRY(include(padded));
    }
  for (const std::int64_t rows : sampled_counts(limits.head_rows)) RL_TRY(include(step_shape(rows, 1, rows, false)));
  return most;
}

alloc::LifetimePlan plan_values(const model::Forward& forward, const StepLimits& limits, DType activation) {
  std::vector<alloc::Lifetime> lives(forward.values.size());
  for (std::size_t v = 0; v < lives.size(); ++v) {
    const model::Value& value = forward.values[v];
    const std::int64_t rows =
        value.rows == model::Value::Rows::tokens ? limits.tokens : std::max(limits.head_rows, limits.seqs);
    lives[v] = {.bytes = value_bytes(value, rows, activation).count, .first = std::ssize(forward.sites), .last = -1};
  }
  for (std::int64_t s = 0; s < std::ssize(forward.sites); ++s) {
    const model::Site& site = forward.sites[static_cast<std::size_t>(s)];
    for (const int v : {site.in, site.scratch, site.out}) {
      if (v < 0 || v == forward.logits) continue;
      alloc::Lifetime& life = lives[static_cast<std::size_t>(v)];
      life.first = std::min(life.first, s);
      life.last = std::max(life.last, s);
    }
  }
  return alloc::plan_lifetimes(lives);
}

quant::Format weights_of(Precision precision) {
  switch (precision) {
    case Precision::f32:
      return quant::Format::f32;
    case Precision::bf16:
      return quant::Format::bf16;
    case Precision::f16:
      return quant::Format::f16;
  }
  return quant::Format::f32;
}

}  // namespace

DType activation_type(Precision precision) {
  switch (precision) {
    case Precision::f32:
      return DType::f32;
    case Precision::bf16:
      return DType::bf16;
    case Precision::f16:
      return DType::f16;
  }
  return DType::f32;
}

DType cache_type(const EngineOptions& options) {
  return options.kv_cache == KvCacheType::fp8 ? DType::f8_e4m3 : activation_type(options.precision);
}

Bytes page_bytes(const model::ModelConfig& config, const EngineOptions& options) {
  return {2 * config.layers * config.kv_heads * ops::kPageTokens * config.head_dim * size_of(cache_type(options))};
}

Result<EngineOptions> complete_options(const EngineOptions& given, const model::ModelConfig& config,
                                       const Device& device) {
  EngineOptions options = given;
  options.run_ahead = options.run_ahead && device.is_queue();
  if (options.capture_after < 0) return bad_option("capture_after", options.capture_after, "0 or more");
  if (options.step_tokens == 0)
    options.step_tokens = std::max<std::int64_t>(device.can_capture() ? 2048 : 512, options.max_seqs);
  if (options.max_context == 0) options.max_context = std::min(config.max_positions, kDefaultContext);
  if (options.max_context < 2 || options.max_context > config.max_positions)
    return bad_option("max_context", options.max_context, fmt::format("2 to {}, the model's", config.max_positions));
  if (options.max_seqs < 1 || options.max_seqs > kMostSeqs)
    return bad_option("max_seqs", options.max_seqs, fmt::format("1 to {}", kMostSeqs));
  if (options.step_tokens < options.max_seqs || options.step_tokens > (1 << 20))
    return bad_option("step_tokens", options.step_tokens, fmt::format("{} (max_seqs) to 1048576", options.max_seqs),
                      "every running sequence must be able to decode in one step");
  // Offsets into the history of all sequences are 32-bit, as kernels read them.
  if (options.max_seqs * options.max_context > std::numeric_limits<std::int32_t>::max())
    return bad_option("max_seqs", options.max_seqs,
                      fmt::format("at most {} with a context of {}",
                                  std::numeric_limits<std::int32_t>::max() / options.max_context, options.max_context));
  if (options.kv_memory.count < 0) return bad_option("kv_memory", options.kv_memory.count, "0 or more bytes");
  if (!options.weights) {
    const quant::Format same = weights_of(options.precision);
    options.weights = {.layers = same, .tables = same};
  }
  if (!options.buckets)
    options.buckets = options.graphs && device.can_capture() ? &capture_buckets() : &exact_buckets();
  return options;
}

StepLimits step_limits(const EngineOptions& options, const model::ModelConfig& config) {
  const std::int64_t score_rows = std::clamp(kScoreLogitsBytes / (config.vocab * 4),
                                             std::min(options.max_seqs, options.step_tokens), options.step_tokens);
  return {.tokens = options.step_tokens,
          .seqs = options.max_seqs,
          .head_rows = score_rows,
          .context = options.max_context,
          .page_tokens = ops::kPageTokens};
}

Result<Setup> plan_setup(const model::ModelConfig& config, const ops::Backend& backend, const Binder& binder,
                         const EngineOptions& options, bool weights_are_there) {
  Setup setup{.options = options,
              .limits = step_limits(options, config),
              .activation = activation_type(options.precision),
              .cache = cache_type(options),
              .format = *options.weights};
  model::ModelConfig one_layer = config;
  one_layer.layers = 1;

  Result<Bytes> workspace = Error{.kind = ErrorKind::unsupported, .what = "the backend reads no weight layout"};
  for (const quant::Layout layout : backend.catalog.layouts) {
    setup.layout = layout;
    workspace = workspace_with(binder, one_layer, setup.format, layout, setup.limits, setup.cache);
    if (workspace || workspace.error().kind != ErrorKind::unsupported) break;
  }
  if (!workspace) return std::move(workspace).error();
  setup.workspace = *workspace;

  RL_ASSIGN(const model::ModelWeights weights, model::weight_shapes(config, setup.format, setup.layout));
  const model::Forward forward = model::build_forward(config, weights);
  setup.activations = plan_values(forward, setup.limits, setup.activation);
  const StepLimits& limits = setup.limits;
  const std::int64_t logit_rows = std::max(limits.head_rows, limits.seqs);

  MemoryPlan& plan = setup.plan;
  plan.lines.push_back({"weights", weights_are_there ? Bytes{} : weights.bytes,
                        fmt::format("{}, {}{}", describe(setup.format), name_of(setup.layout),
                                    weights_are_there ? ", another engine's" : "")});
  plan.lines.push_back({"rope tables", {2 * limits.context * (config.head_dim / 2) * 4}, "cos and sin, f32"});
  plan.lines.push_back({"activations", setup.activations.total, fmt::format("of {} tokens", limits.tokens)});
  plan.lines.push_back({"workspace", setup.workspace, "the most any op of any step needs"});
  plan.lines.push_back({"step inputs", step_input_bytes(limits) + Bytes{kAlignment}, ""});
  plan.lines.push_back({"step outputs", {limits.seqs * 4}, "drawn tokens"});
  plan.lines.push_back({"logits", {logit_rows * config.vocab * 4}, fmt::format("{} rows, f32", logit_rows)});

  const std::int64_t page_all_layers = page_bytes(config, options).count;
  if (options.kv_memory.count > 0) {
    setup.pages = options.kv_memory.count / page_all_layers;
    if (setup.pages < 1)
      return bad_option("kv_memory", options.kv_memory.count, fmt::format("at least {}, one page", page_all_layers));
  } else {
    const std::int64_t free = backend.device->available_memory().count - plan.total().count;
    setup.pages = std::clamp<std::int64_t>(free / 2 / page_all_layers, 1, limits.seqs * limits.max_pages());
  }
  setup.pages = std::min<std::int64_t>(setup.pages, std::numeric_limits<std::int32_t>::max() - 1);
  setup.all_pages = setup.pages + (options.buckets->pads() ? 1 : 0);
  setup.kv_tensor = {round_up(setup.all_pages * (page_all_layers / (2 * config.layers)), kAlignment)};
  plan.lines.push_back({"kv pages",
                        {2 * config.layers * setup.kv_tensor.count},
                        fmt::format("{}, {} a token", name_of(setup.cache),
                                    format_binary_bytes({page_all_layers / limits.page_tokens}))});
  plan.lines.push_back({"step inputs", {2 * step_input_bytes(limits).count}, "on the host, for two steps", true});
  plan.lines.push_back({"step outputs", {2 * limits.seqs * 4}, "on the host, for two steps", true});
  plan.pages = setup.pages;
  plan.page_tokens = limits.page_tokens;
  plan.max_context_tokens = setup.pages * limits.page_tokens;
  return setup;
}

std::vector<ops::KvPages> kv_tensors(const Setup& setup, const model::ModelConfig& config, void* block) {
  std::vector<ops::KvPages> layers;
  auto* at = static_cast<std::byte*>(block);
  const auto next = [&] {
    const TensorRef pages =
        tensor(at, setup.cache, {setup.all_pages, config.kv_heads, setup.limits.page_tokens, config.head_dim});
    at += setup.kv_tensor.count;
    return pages;
  };
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    const TensorRef k = next(), v = next();
    layers.push_back({.k = k, .v = v});
  }
  return layers;
}

}  // namespace rl::engine
