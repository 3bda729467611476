#include "engine/engine.h"

#include <array>
#include <set>

#include "base/clock.h"
#include "base/log.h"
#include "engine/binder.h"
#include "engine/scheduler.h"
#include "engine/setup.h"
#include "engine/step_inputs.h"

namespace rl::engine {

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::f32:
      return "fp32";
    case Precision::bf16:
      return "bf16";
    case Precision::f16:
      return "fp16";
  }
  return "?";
}

const char* name_of(KvCacheType type) { return type == KvCacheType::fp8 ? "fp8" : "auto"; }

Result<KvCacheType> kv_cache_type_from(std::string_view name) {
  for (const KvCacheType type : {KvCacheType::automatic, KvCacheType::fp8})
    if (name == name_of(type)) return type;
  return Error{.kind = ErrorKind::usage,
               .what = "no such type of the KV cache",
               .rule = "engine.kv_cache_dtype",
               .field = "--kv-cache-dtype",
               .expected = "auto or fp8",
               .found = std::string(name)};
}

namespace {

using quant::Format;

const NumberFormat kFormats[] = {
    {"bf16", Precision::bf16, {Format::bf16, Format::bf16}},
    {"fp16", Precision::f16, {Format::f16, Format::f16}},
    {"fp32", Precision::f32, {Format::f32, Format::f32}},
    {"fp8", Precision::bf16, {Format::fp8, Format::bf16}},
    {"fp8-tensor", Precision::bf16, {Format::fp8_tensor, Format::bf16}},
    {"fp8-block", Precision::bf16, {Format::fp8_block, Format::bf16}},
    {"int8", Precision::bf16, {Format::int8, Format::bf16}},
    {"int8-wo", Precision::bf16, {Format::int8_wo, Format::bf16}},
    {"fp8-wo", Precision::bf16, {Format::fp8_wo, Format::bf16}},
};

// Plans kept: the shapes of a busy engine's steps, most of which are decodes of 1 to max_seqs sequences.
constexpr std::size_t kPlans = 64;

}  // namespace

std::span<const NumberFormat> formats() { return kFormats; }

std::string format_names() {
  std::string names;
  for (const NumberFormat& format : kFormats) names += (names.empty() ? "" : ", ") + format.name;
  return names;
}

Result<NumberFormat> format_from(std::string_view name) {
  for (const NumberFormat& format : kFormats)
    if (format.name == name) return format;
  return Error{.kind = ErrorKind::usage,
               .what = "no such number format",
               .rule = "engine.format",
               .expected = "one of " + format_names(),
               .found = std::string(name)};
}

struct Engine::Impl {
  model::ModelConfig config;
  bool synthetic = false;
  Setup setup;
  Binder binder;
  const Device* device = nullptr;
  std::unique_ptr<Stream> stream;
  ops::Choices* choices = nullptr;
  std::optional<VariantTuner> tuner;  // where there are choices

  std::shared_ptr<const model::ModelWeights> weights;
  Buffer rope, activations, workspace, logits, kv;
  StepInputs inputs;
  // By turn: the end of the step that used it last, and whether that step may still run.
  struct Turn {
    std::unique_ptr<Event> done;
    bool queued = false;
    std::int64_t rows = 0;  // that it draws
  };
  std::array<Turn, 2> turns;
  model::Forward forward;
  StepMemory memory;

  PagePool pages;
  Scheduler scheduler;
  PlanCache plans{kPlans};
  std::set<std::string> path;
  bool batch_invariant = true, emulated = false;
  bool capture = false;  // steps that come again
  HostCost cost;
  Seconds taking;         // what was drawn, since a step was queued
  bool replayed = false;  // the last step was started as one captured list

  Impl(const model::ModelConfig& c, Setup s, Binder b)
      : config(c),
        setup(std::move(s)),
        binder(std::move(b)),
        pages(setup.pages, setup.limits.page_tokens),
        scheduler({.step_tokens = setup.limits.tokens,
                   .max_seqs = setup.limits.seqs,
                   .max_context = setup.limits.context,
                   .prefix_reuse = setup.options.prefix_reuse},
                  pages) {}
  ~Impl() {
    if (stream) (void)stream->synchronize();  // a step may still run in the memory that goes now
  }

  // The plans of an engine that has no memory yet.
  static Result<std::unique_ptr<Impl>> make(const model::ModelConfig& config, const ops::Backend& backend,
                                            const EngineOptions& options, bool weights_are_there);
  Error explained(Error error) const;                     // what is said where memory ran out
  Status allocate(Device& on, MemoryResource& resource);  // everything but the weights
  Status look_at_variants();
  StepBucket bucket_for(const StepBucket& step) const;
  void use(std::shared_ptr<const model::ModelWeights> loaded);
  Status make_rope_tables(MemoryResource& resource);
  Status check_ids(std::span<const TokenId> ids) const;
  Result<StepPlan*> plan_for(const StepBucket& step);
  Status prepare_turn();  // its last step has ended
  // What is no part of a step's cost: plans that are bound, captures, waiting for the device.
  void leave_out_since(Seconds begin);
  Status run(std::span<const Chunk> chunks, const StepBucket& step);
  Status capture_plan(StepPlan& plan);
  Status queue_step(std::vector<TokenEvent>& events);
  Status finish_step(std::vector<TokenEvent>& events);
};

Status Engine::Impl::allocate(Device& on, MemoryResource& resource) {
  const StepLimits& limits = setup.limits;
  device = &on;
  capture = setup.options.graphs && on.can_capture();
  const auto take = [&](const char* line) { return Buffer::make(resource, setup.plan.of(line)); };
  RL_ASSIGN(stream, on.make_stream());
  if (choices != nullptr) tuner.emplace(on, *stream, *choices);
  RL_ASSIGN(activations, take("activations"));
  RL_ASSIGN(workspace, take("workspace"));
  RL_ASSIGN(logits, take("logits"));
  RL_ASSIGN(kv, take("kv pages"));
  const auto padding_page = static_cast<std::int32_t>(setup.all_pages - 1);
  RL_ASSIGN(inputs, StepInputs::make(limits, padding_page, resource, on.pinned_memory(), *stream));
  for (Turn& turn : turns) {
    RL_ASSIGN(turn.done, on.make_event());
  }
  return make_rope_tables(resource);
}

void Engine::Impl::use(std::shared_ptr<const model::ModelWeights> loaded) {
  weights = std::move(loaded);
  forward = model::build_forward(config, *weights);
  for (std::size_t v = 0; v < forward.values.size(); ++v)
    memory.values.push_back(static_cast<int>(v) == forward.logits
                                ? logits.data()
                                : activations.as<std::byte>() + setup.activations.offset[v]);
  memory.step = inputs.addresses();
  memory.kv = kv_tensors(setup, config, kv.data());
  memory.workspace = workspace.data();
  memory.workspace_bytes = workspace.size();
}

// A decode step's plan tells what will run, before anything does.
Status Engine::Impl::look_at_variants() {
  RL_ASSIGN(const StepPlan plan, binder.bind(forward, bucket_for(step_shape(1, 1, 1, true)), memory));
  emulated = plan.emulated();
  return ok();
}

Status Engine::Impl::make_rope_tables(MemoryResource& resource) {
  const std::int64_t positions = setup.limits.context, half = config.head_dim / 2;
  const model::RopeTables tables = model::rope_tables(config, positions);
  const Bytes bytes{positions * half * 4};
  RL_ASSIGN(rope, Buffer::make(resource, bytes + bytes));
  auto* cos = rope.as<float>();
  float* sin = cos + positions * half;
  RL_TRY(stream->copy_to_device(cos, tables.cos.data(), bytes));
  RL_TRY(stream->copy_to_device(sin, tables.sin.data(), bytes));
  memory.cos = tensor(cos, {positions, half});
  memory.sin = tensor(sin, {positions, half});
  return stream->synchronize();
}

Status Engine::Impl::check_ids(std::span<const TokenId> ids) const {
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= config.vocab)
      return Error{.kind = ErrorKind::invalid_input,
                   .what = fmt::format("token {} of the input is outside the vocabulary", i),
                   .rule = "request.token_id",
                   .expected = fmt::format("0 to {}", config.vocab - 1),
                   .found = std::to_string(ids[i])};
  return ok();
}

StepBucket Engine::Impl::bucket_for(const StepBucket& step) const {
  const StepLimits& limits = setup.limits;
  return setup.options.buckets->bucket_for(
      step, {.tokens = limits.tokens, .seqs = limits.seqs, .max_q = limits.tokens, .head_rows = limits.head_rows});
}

Result<StepPlan*> Engine::Impl::plan_for(const StepBucket& step) {
  const StepBucket bucket = bucket_for(step);
  if (StepPlan* plan = plans.find(bucket)) return plan;
  const Seconds begin = monotonic_now();
  RL_ASSIGN(StepPlan plan, binder.bind(forward, bucket, memory, tuner ? &*tuner : nullptr));
  if (choices != nullptr)
    if (const Status saved = choices->save(); !saved) log::warning("{}", saved.error().message());
  for (std::string& line : plan.path()) path.insert(std::move(line));
  batch_invariant = batch_invariant && plan.batch_invariant();
  leave_out_since(begin);
  return plans.insert(std::move(plan));
}

void Engine::Impl::leave_out_since(Seconds begin) { cost.launch = cost.launch - (monotonic_now() - begin); }

Status Engine::Impl::prepare_turn() {
  Turn& turn = turns[static_cast<std::size_t>(inputs.turn())];
  if (!turn.queued) return ok();
  turn.queued = false;
  const Seconds begin = monotonic_now();
  RL_TRY(turn.done->wait());
  leave_out_since(begin);
  return ok();
}

Status Engine::Impl::run(std::span<const Chunk> chunks, const StepBucket& step) {
  RL_ASSIGN(StepPlan * plan, plan_for(step));
  RL_TRY(prepare_turn());
  inputs.write(chunks, plan->bucket);
  // A shape that comes again is worth a capture.
  if (capture && plan->runs++ == setup.options.capture_after && plan->graph_safe()) RL_TRY(capture_plan(*plan));
  if (Status started = plan->run(*stream); !started) {
    (void)inputs.restart(*stream);
    return started;
  }
  inputs.next_turn();
  replayed = plan->captured != nullptr;
  return ok();
}

Status Engine::Impl::capture_plan(StepPlan& plan) {
  const Bytes free = device->available_memory();
  const Seconds begin = monotonic_now();
  RL_TRY(plan.capture(*stream, {.programmatic = setup.options.programmatic}));
  const Seconds took = monotonic_now() - begin;
  cost.capture += took;
  leave_out_since(begin);
  cost.capture_memory += std::max(free - device->available_memory(), Bytes{0});
  ++cost.captures;
  return ok();
}

// Plans a step and starts it, if there is one.
Status Engine::Impl::queue_step(std::vector<TokenEvent>& events) {
  const Seconds begin = monotonic_now();
  const std::span<const Chunk> chunks = scheduler.next(begin, events);
  if (chunks.empty()) return ok();
  std::int64_t tokens = 0, rows = 0;
  for (const Chunk& chunk : chunks) tokens += chunk.count, rows += chunk.samples;
  const Seconds planned = monotonic_now(), launch_before = cost.launch;
  Turn& turn = turns[static_cast<std::size_t>(inputs.turn())];
  Status queued = run(chunks, step_shape(tokens, std::ssize(chunks), rows, true));
  if (queued) queued = stream->record(*turn.done);
  if (!queued) {
    scheduler.revert();
    return queued;
  }
  turn.queued = true;
  turn.rows = rows;
  ++cost.steps;
  cost.launch += monotonic_now() - planned;
  cost.plan_times.add(planned - begin + taking);
  taking = {};
  cost.launch_times.add(cost.launch - launch_before);
  if (replayed) {
    ++cost.replays;
    cost.replay += cost.launch - launch_before;
    cost.replay_times.add(cost.launch - launch_before);
  }
  return ok();
}

// Waits for the oldest step that was started and takes what it drew.
Status Engine::Impl::finish_step(std::vector<TokenEvent>& events) {
  const auto oldest = static_cast<std::size_t>(scheduler.planned() == 2 ? inputs.turn() : 1 - inputs.turn());
  Turn& turn = turns[oldest];
  turn.queued = false;
  RL_TRY(turn.done->wait());
  const Seconds now = monotonic_now();
  scheduler.complete({inputs.addresses().delivered[oldest], static_cast<std::size_t>(turn.rows)}, now, events);
  // Nobody waits for a step that has no sequence left; its turn is waited for before it comes again.
  scheduler.drop_dead();
  taking += monotonic_now() - now;
  return ok();
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine::Impl>> Engine::Impl::make(const model::ModelConfig& config, const ops::Backend& backend,
                                                         const EngineOptions& options, bool weights_are_there) {
  RL_CHECK(backend.device != nullptr);
  RL_ASSIGN(const EngineOptions complete, complete_options(options, config, *backend.device));
  RL_ASSIGN(Binder binder,
            Binder::make(backend.catalog, backend.device->info().arch, activation_type(complete.precision),
                         step_limits(complete, config), complete.force));
  if (backend.choices != nullptr) binder.expect_tuner();
  RL_ASSIGN(Setup setup, plan_setup(config, backend, binder, complete, weights_are_there));
  if (const Bytes memory_there = backend.device->info().memory; setup.plan.total() > memory_there)
    return Error{.kind = ErrorKind::out_of_memory,
                 .what = "the model does not fit; the plan was\n" + setup.plan.table(),
                 .rule = "engine.memory",
                 .expected = fmt::format("at most {}", format_binary_bytes(memory_there)),
                 .found = format_binary_bytes(setup.plan.total()),
                 .hint = "use a smaller context, fewer sequences, less KV memory, or bf16"};
  auto impl = std::make_unique<Impl>(config, std::move(setup), std::move(binder));
  impl->choices = backend.choices;
  return impl;
}

Error Engine::Impl::explained(Error error) const {
  if (error.kind != ErrorKind::out_of_memory) return error;
  error.what = fmt::format("the model does not fit: {}; the plan was\n{}", error.what, setup.plan.table());
  if (error.hint.empty()) error.hint = "use a smaller context, fewer sequences, or less KV memory";
  return error;
}

Result<std::unique_ptr<Engine>> Engine::make(const model::ModelSource& source, const ops::Backend& backend,
                                             MemoryResource& memory, const EngineOptions& options) {
  RL_ASSIGN(auto impl, Impl::make(source.config, backend, options, false));
  impl->synthetic = source.synthetic;
  const Setup& setup = impl->setup;
  if (Status allocated = impl->allocate(*backend.device, memory); !allocated)
    return impl->explained(std::move(allocated).error());
  auto weights = model::load_weights(source,
                                     {.format = setup.format,
                                      .layout = setup.layout,
                                      .device = backend.device,
                                      .progress = setup.options.load_progress},
                                     memory);
  if (!weights) return impl->explained(std::move(weights).error());
  impl->use(std::make_shared<const model::ModelWeights>(std::move(*weights)));
  RL_TRY(impl->look_at_variants());
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Result<std::unique_ptr<Engine>> Engine::make_beside(const Engine& first, const ops::Backend& backend,
                                                    MemoryResource& memory, const EngineOptions& options) {
  RL_ASSIGN(auto impl, Impl::make(first.config(), backend, options, true));
  const Setup &wanted = impl->setup, &there = first.impl_->setup;
  if (wanted.format != there.format || wanted.layout != there.layout)
    return Error{.kind = ErrorKind::usage,
                 .what = "an engine beside another one needs its weights in another form",
                 .rule = "engine.beside",
                 .expected = fmt::format("{}, {}", describe(there.format), name_of(there.layout)),
                 .found = fmt::format("{}, {}", describe(wanted.format), name_of(wanted.layout)),
                 .hint = "give it the precision, the format and the forced products of the first"};
  impl->synthetic = first.synthetic();
  if (Status allocated = impl->allocate(*backend.device, memory); !allocated)
    return impl->explained(std::move(allocated).error());
  impl->use(first.impl_->weights);
  RL_TRY(impl->look_at_variants());
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Result<RequestId> Engine::submit(Request request) {
  RL_TRY(impl_->check_ids(request.prompt));
  RL_TRY(validate(request.sampling));
  return impl_->scheduler.submit(std::move(request));
}

void Engine::cancel(RequestId id) { impl_->scheduler.cancel(id); }
bool Engine::idle() const { return impl_->scheduler.idle(); }

Result<std::vector<TokenEvent>> Engine::step() {
  Impl& self = *impl_;
  std::vector<TokenEvent> events;
  events.reserve(static_cast<std::size_t>(self.setup.limits.seqs));
  if (self.scheduler.planned() == 0) RL_TRY(self.queue_step(events));
  if (self.setup.options.run_ahead && self.scheduler.planned() == 1) RL_TRY(self.queue_step(events));
  // A cancellation may have taken the last sequence of a step that runs.
  self.scheduler.drop_dead();
  if (self.scheduler.planned() > 0) RL_TRY(self.finish_step(events));
  return events;
}

Result<std::vector<TokenEvent>> Engine::settle() {
  std::vector<TokenEvent> events;
  while (impl_->scheduler.planned() > 0) RL_TRY(impl_->finish_step(events));
  for (Impl::Turn& turn : impl_->turns)
    if (turn.queued) {
      turn.queued = false;
      RL_TRY(turn.done->wait());
    }
  return events;
}

Status Engine::score(std::span<const TokenId> ids,
                     const std::function<Status(std::int64_t first_row, const TensorRef& logits)>& sink,
                     std::int64_t chunk) {
  Impl& self = *impl_;
  RL_CHECK_MSG(idle(), "score() needs an idle engine");
  const auto n = static_cast<std::int64_t>(ids.size());
  const std::int64_t most = std::min(self.setup.limits.context, self.setup.plan.max_context_tokens);
  if (n < 1 || n > most)
    return Error{.kind = ErrorKind::invalid_input,
                 .what = n < 1 ? "there are no tokens to score" : "the sequence is longer than the context",
                 .rule = "score.length",
                 .expected = fmt::format("1 to {} tokens", most),
                 .found = fmt::format("{} tokens", n)};
  RL_TRY(self.check_ids(ids));

  const std::int64_t vocab = self.config.vocab, room = std::min(n, self.setup.limits.head_rows);
  const std::int64_t chunk_tokens = chunk > 0 ? std::min(chunk, room) : room;
  std::vector<float> host(static_cast<std::size_t>(chunk_tokens * vocab));
  Sequence sequence;
  sequence.tokens.assign(ids.begin(), ids.end());
  RL_CHECK(self.pages.extend(sequence.pages, n));
  const auto score_all = [&]() -> Status {
    for (std::int64_t first = 0; first < n; first += chunk_tokens) {
      const std::int64_t count = std::min(chunk_tokens, n - first);
      const Chunk part{.sequence = &sequence, .first = first, .count = count, .samples = false};
      RL_TRY(self.run({&part, 1}, step_shape(count, 1, count, false)));
      RL_TRY(self.stream->copy_to_host(host.data(), self.logits.data(), {count * vocab * 4}));
      RL_TRY(self.stream->synchronize());
      RL_TRY(sink(first, tensor(host.data(), {count, vocab})));
    }
    return ok();
  };
  Status status = score_all();
  self.pages.release(sequence.pages);
  return status;
}

Status Engine::residuals(std::span<const TokenId> ids,
                         const std::function<Status(int layer, const TensorRef& hidden)>& sink) {
  Impl& self = *impl_;
  RL_CHECK_MSG(idle(), "residuals() needs an idle engine");
  const auto n = static_cast<std::int64_t>(ids.size());
  const std::int64_t most = std::min(self.setup.limits.context, self.setup.limits.tokens);
  if (n < 1 || n > most)
    return Error{.kind = ErrorKind::invalid_input,
                 .what = "the sequence is not of a length that one step takes",
                 .rule = "residuals.length",
                 .expected = fmt::format("1 to {} tokens", most),
                 .found = fmt::format("{} tokens", n)};
  RL_TRY(self.check_ids(ids));

  Sequence sequence;
  sequence.tokens.assign(ids.begin(), ids.end());
  RL_CHECK(self.pages.extend(sequence.pages, n));
  const auto trace = [&]() -> Status {
    const Chunk chunk{.sequence = &sequence, .first = 0, .count = n, .samples = false};
    RL_ASSIGN(const StepPlan* plan, self.plan_for(step_shape(n, 1, 0, true)));
    RL_TRY(self.prepare_turn());
    self.inputs.write({&chunk, 1}, plan->bucket);
    self.inputs.next_turn();
    const void* residual = self.memory.values[static_cast<std::size_t>(self.forward.sites.front().out)];
    std::vector<float> host(static_cast<std::size_t>(n * self.config.hidden));
    for (std::size_t i = 0; i < plan->ops.size(); ++i) {
      RL_TRY(plan->ops[i].launch(*self.stream));
      if (i + 1 < plan->ops.size() && plan->ops[i + 1].layer == plan->ops[i].layer) continue;
      RL_TRY(self.stream->copy_to_host(host.data(), residual, {std::ssize(host) * 4}));
      RL_TRY(self.stream->synchronize());
      RL_TRY(sink(plan->ops[i].layer, tensor(host.data(), {n, self.config.hidden})));
    }
    return ok();
  };
  Status status = trace();
  self.pages.release(sequence.pages);
  return status;
}

const model::ModelConfig& Engine::config() const { return impl_->config; }
const EngineOptions& Engine::options() const { return impl_->setup.options; }
const MemoryPlan& Engine::memory_plan() const { return impl_->setup.plan; }
bool Engine::emulated() const { return impl_->emulated; }
bool Engine::synthetic() const { return impl_->synthetic; }
Bytes Engine::loaded_bytes() const { return impl_->weights->stored; }
Seconds Engine::load_time() const { return impl_->weights->load_time; }
Bytes Engine::weight_bytes_per_token() const { return impl_->weights->bytes_per_token; }
Bytes Engine::kv_bytes_per_token() const {
  const model::ModelConfig& config = impl_->config;
  return {2 * config.layers * config.kv_heads * config.head_dim * size_of(impl_->setup.cache)};
}
std::vector<std::string> Engine::path() const { return {impl_->path.begin(), impl_->path.end()}; }
bool Engine::batch_invariant() const { return impl_->batch_invariant; }
std::int64_t Engine::captured_steps() const { return impl_->cost.captures; }
const HostCost& Engine::host_cost() const { return impl_->cost; }

Seconds plan_cost_per_step(const HostCost& before, const HostCost& after, double share) {
  return after.plan_times.quantile_since(before.plan_times, share);
}

Seconds launch_cost_per_step(const HostCost& before, const HostCost& after, double share) {
  return after.replays > before.replays ? after.replay_times.quantile_since(before.replay_times, share)
                                        : after.launch_times.quantile_since(before.launch_times, share);
}
std::int64_t Engine::synchronizations() const { return impl_->stream->synchronizations(); }
std::int64_t Engine::dead_rows() const { return impl_->scheduler.dead_rows(); }
const CapturedStep* Engine::captured_decode(std::int64_t seqs) const {
  const StepPlan* plan = impl_->plans.find(impl_->bucket_for(step_shape(seqs, seqs, seqs, true)));
  return plan != nullptr ? plan->captured.get() : nullptr;
}
std::int64_t Engine::preemptions() const { return impl_->scheduler.preemptions(); }
std::int64_t Engine::reused_tokens() const { return impl_->scheduler.reused_tokens(); }

}  // namespace rl::engine
