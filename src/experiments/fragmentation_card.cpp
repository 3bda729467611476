// The fragmentation experiment on a card: the policies' memory is the driver's, and so is the largest block.

#include <numeric>

#include "base/checked.h"
#include "device/allocators/resource_policy.h"
#include "experiments/fragmentation.h"

namespace rl::experiments {
namespace {

// Left to other programs, and to the driver's own tables.
Bytes margin_of(const DeviceInfo& device) {
  return {std::max<std::int64_t>(device.memory.count / 16, std::int64_t{1} << 30)};
}

// A policy and what it stands on, in the order they end.
struct Ground {
  std::unique_ptr<Stream> stream;
  std::unique_ptr<alloc::MappedSpace> space;  // of our own policies
  std::unique_ptr<PoolResource> pool;
  std::unique_ptr<alloc::Policy> policy;
  const alloc::ResourcePolicy* resource = nullptr;  // the policy, where it is the driver's

  std::int64_t driver_calls() const { return resource ? resource->calls() : space->calls(); }
};

class Card {
 public:
  Card(const lab::Context& context, std::string policy, Bytes space, Bytes page)
      : device_(*context.backend.device), policy_(std::move(policy)), space_(space), page_(page) {}

  Result<Ground> ground(const alloc::Trace& trace) const {
    Ground ground;
    RL_ASSIGN(ground.stream, device_.make_stream());
    const std::int64_t granularity = device_.virtual_memory()->granularity();
    const auto driver = [&](const char* name, MemoryResource& memory, alloc::ResourceHooks hooks) {
      auto policy = std::make_unique<alloc::ResourcePolicy>(name, memory, granularity, space_, std::move(hooks));
      ground.resource = policy.get();
      ground.policy = std::move(policy);
    };
    if (policy_ == "direct") {
      driver("direct", device_.memory(), {});
    } else if (policy_ == "pool") {
      // Keeps all it ever took until the trim, as PyTorch's backend over the driver's pool does.
      RL_ASSIGN(ground.pool,
                device_.make_pool(*ground.stream,
                                  {.release_threshold = {std::numeric_limits<std::int64_t>::max()}, .most = space_}));
      driver("pool", *ground.pool,
             {.trim = [pool = ground.pool.get()] { return pool->trim({}); },
              .reserved = [pool = ground.pool.get()]() -> Result<Bytes> {
                RL_ASSIGN(const PoolResource::State state, pool->state());
                return state.reserved;
              }});
    } else {
      ground.space = std::make_unique<alloc::MappedSpace>(*device_.virtual_memory(), space_);
      RL_ASSIGN(ground.policy, alloc::make_policy(policy_, *ground.space, trace, page_));
    }
    return ground;
  }

  // Whether a tensor finds a place now. The policy is then as before, but for what `caching-no-trim` keeps.
  static Result<bool> has_place(alloc::Policy& policy, Bytes tensor) {
    const Result<alloc::Handle> placed = policy.allocate(tensor);
    if (!placed && placed.error().kind != ErrorKind::out_of_memory) return placed.error();
    if (placed) policy.free(*placed);
    policy.trim();
    return placed.has_value();
  }

  // The arena knows of the tensor from the start: a new one is planned, and made.
  Result<bool> arena_has_place(const alloc::Trace& trace, Bytes tensor) const {
    const Result<Ground> planned = ground(trace.with(tensor));
    if (!planned && planned.error().kind != ErrorKind::out_of_memory) return planned.error();
    return planned.has_value();
  }
  bool plan_fits(const alloc::Trace& trace, Bytes tensor) const {
    return alloc::plan_lifetimes(trace.with(tensor).lifetimes()).total <= space_;
  }

  // To a 1024th of the space in whole pages of the device.
  Result<Bytes> largest(const Ground& ground, const alloc::Trace& trace) const {
    const std::int64_t step = round_up(space_.count / 1024, device_.virtual_memory()->granularity());
    const auto fits = [&](std::int64_t steps) -> Result<bool> {
      if (policy_ == "arena") return plan_fits(trace, {steps * step});
      return has_place(*ground.policy, {steps * step});
    };
    std::int64_t most = space_.count / step, least = 0;
    // What it once got from the device it keeps: a smaller try would spoil a larger one.
    if (policy_ == "caching-no-trim") {
      for (; most > 0; --most) {
        RL_ASSIGN(const bool placed, fits(most));
        if (placed) break;
      }
      return Bytes{most * step};
    }
    for (++most; most - least > 1;) {
      const std::int64_t middle = std::midpoint(least, most);
      RL_ASSIGN(const bool placed, fits(middle));
      (placed ? least : most) = middle;
    }
    return Bytes{least * step};
  }

 private:
  Device& device_;
  std::string policy_;
  Bytes space_, page_;
};

// Writes each tensor's number into its first and last bytes, then reads all of them: memory is there, and is nobody
// else's.
Status write_and_read(const Ground& ground, const alloc::Replay& replayed) {
  struct Mark {
    void* place;
    std::int64_t tensor;
  };
  std::vector<Mark> marks;
  for (std::size_t t = 0; t < replayed.handles.size(); ++t) {
    if (replayed.handles[t] < 0) continue;
    const std::vector<alloc::Extent> extents = ground.policy->extents(replayed.handles[t]);
    const auto tensor = static_cast<std::int64_t>(t);
    marks.push_back({reinterpret_cast<void*>(extents.front().address), tensor});
    marks.push_back({reinterpret_cast<void*>(extents.back().end() - std::int64_t{sizeof tensor}), tensor});
  }
  std::vector<std::int64_t> read(marks.size(), -1);
  for (const Mark& mark : marks) RL_TRY(ground.stream->copy_to_device(mark.place, &mark.tensor, {sizeof mark.tensor}));
  RL_TRY(ground.stream->synchronize());
  for (std::size_t i = 0; i < marks.size(); ++i)
    RL_TRY(ground.stream->copy_to_host(&read[i], marks[i].place, {sizeof read[i]}));
  RL_TRY(ground.stream->synchronize());
  for (std::size_t i = 0; i < marks.size(); ++i)
    if (read[i] != marks[i].tensor)
      return Error{
          .kind = ErrorKind::internal,
          .what = fmt::format("the {} allocator's memory does not hold what was written", ground.policy->name()),
          .rule = "fragmentation.memory",
          .expected = fmt::format("tensor {}", marks[i].tensor),
          .found = fmt::format("{}", read[i])};
  return ok();
}

}  // namespace

bool has_card(const lab::Context& context) {
  const Device* const device = context.backend.device;
  return device != nullptr && device->info().arch.family == Arch::Family::cuda &&
         context.backend.device->virtual_memory() != nullptr;
}

Bytes card_space(const lab::Context& context) {
  Device& device = *context.backend.device;
  const std::int64_t bytes = (device.available_memory() - margin_of(device.info())).count;
  const std::int64_t granularity = device.virtual_memory()->granularity();
  return {std::max<std::int64_t>(bytes, 0) / granularity * granularity};
}

Result<Placement> place_on_card(const lab::Context& context, const std::string& policy, Bytes space, Bytes page,
                                const Scenario& scenario, Seconds time) {
  const Card card(context, policy, space, page);
  const alloc::Trace& trace = scenario.trace;
  const Bytes before = context.backend.device->available_memory();
  std::optional<Ground> ground;
  alloc::Replay replayed;
  // Few replays of a slow policy: what is sought is what a call costs about. The last one's state is looked at.
  measure::Plan plan = context.plan();
  plan.warmup = 0;
  plan.warmup_time = {0};
  plan.min_samples = plan.least_samples = 1;
  plan.max_samples = 20;
  plan.min_time = {0};
  plan.timeout = time;
  RL_ASSIGN(const record::Metric replay_time, measure::run(plan, {.name = policy,
                                                                  .run = [&]() -> Status {
                                                                    RL_ASSIGN(replayed,
                                                                              alloc::replay(*ground->policy, trace));
                                                                    return ok();
                                                                  },
                                                                  .prepare = [&]() -> Status {
                                                                    ground.reset();
                                                                    RL_ASSIGN(ground, card.ground(trace));
                                                                    return ok();
                                                                  }}));
  RL_TRY(check_places(*ground->policy, replayed));
  RL_TRY(write_and_read(*ground, replayed));

  Placement found{.usage = ground->policy->usage(),
                  .peak = ground->policy->peak(),
                  .failed = replayed.failed,
                  .copied = replayed.copied,
                  .driver_calls = ground->driver_calls(),
                  .call_time = measure::scaled(replay_time, "call_time", "s",
                                               1 / static_cast<double>(std::max<std::int64_t>(replayed.calls, 1)))};
  const Bytes free = context.backend.device->available_memory();
  found.more = {counted("driver_free_bytes", "B", record::Better::higher, static_cast<double>(free.count)),
                counted("driver_taken_bytes", "B", record::Better::lower, static_cast<double>((before - free).count))};
  if (policy == "arena") {
    RL_ASSIGN(found.largest, card.largest(*ground, trace));
    ground.reset();
    RL_ASSIGN(found.large_fits, card.arena_has_place(trace, scenario.large));
    return found;
  }
  RL_ASSIGN(found.large_fits, Card::has_place(*ground->policy, scenario.large));
  RL_ASSIGN(found.largest, card.largest(*ground, trace));
  return found;
}

}  // namespace rl::experiments
