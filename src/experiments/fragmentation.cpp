// Experiment 1.2: which allocator policies fragment memory until a large tensor finds no place.
//
// The real code of each policy (device/allocators/) manages an address space of a chosen size with nothing behind it,
// replays a trace of allocations, gives back what it can, and is then asked for one large tensor, for which enough
// memory is free. What a policy decides does not depend on what is behind the addresses; what a call costs on a device
// does, so calls of the driver are counted, and only the policy's own bookkeeping is timed. On a GPU all of it is done
// with the card's memory (fragmentation_card.cpp), and beside our policies stand the driver's allocators.

#include "experiments/fragmentation.h"

#include <charconv>
#include <numeric>

#include <fmt/ranges.h>

#include "base/checked.h"
#include "device/allocators/virtual_space.h"
#include "experiments/list.h"
#include "lab/conclude.h"
#include "lab/serving_trace.h"
#include "ops/kv_layout.h"

namespace rl::experiments {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kFill = 0.95;                          // of the space: what lives, and the large tensor
constexpr std::int64_t kTokens = 1 << 18;               // of a cache as large as the space: 128 KiB each of 32 GiB
constexpr std::int64_t kPoolTokens = kTokens * 6 / 10;  // that the recorded scheduler has pages for
constexpr Seconds kMostTime{0.4};                       // of sampling one row's call time
constexpr std::int64_t kRequests = 400;                 // of the serving trace
constexpr std::int64_t kCardRequests = 120;  // on a card, where a call of the driver takes up to milliseconds

const lab::Info& fragmentation_info() {
  static const std::vector<std::string> policies = {"direct",     "caching", "caching-no-trim",
                                                    "expandable", "arena",   "paged"};
  static const lab::Info info{
      .id = "fragmentation",
      .title = "VRAM fragmentation",
      .plan = "1.2",
      .question = "Which allocator policies fragment memory until a large allocation fails?",
      .baseline = "caching: best fit in cached segments, as PyTorch's allocator does by default",
      .expected = "",
      .axes =
          {{"space", "GiB of the device, or card: what is free on a GPU", {"32"}, {"16", "32", "80"}},
           {"trace", "what is allocated and freed before the large tensor", {"plan", "serving"}, {"plan", "serving"}},
           {"policy", "of the allocator", policies, policies}},
      .hypotheses = {{.id = "fragmentation.fails",
                      .claim = "Understand memory fragmentation during inference",
                      .metric = "policies that find no place for the large tensor though enough memory is free",
                      .where = "on at least one trace",
                      .expected = {1, kInfinity}},
                     {.id = "fragmentation.places",
                      .claim = "Minimize memory fragmentation during inference",
                      .metric = "policies that place it on every trace, where another finds no place",
                      .where = "all traces",
                      .expected = {1, kInfinity}}},
      .expected_quick = {5},
      .expected_full = {40},
      .expected_gpu = {31},
      .runs_model = false,
      .speed_rows = false};
  return info;
}

// The plan's own trace, with its sizes in the plan's proportions: tensors of 1, 10, 100, 500 and 1000 units, those at
// the even places freed, then one of 2000. A unit is 4 MiB in the plan, where all fit many times over; here it is such
// that what lives and the large tensor are kFill of the space.
Scenario plan_scenario(Bytes space) {
  constexpr std::int64_t kUnits[] = {1, 10, 100, 500, 1000};
  constexpr std::int64_t kLive = 10 + 500, kLarge = 2000;
  const auto unit =
      static_cast<std::int64_t>(kFill * static_cast<double>(space.count) / static_cast<double>(kLive + kLarge));
  Scenario scenario{.trace = {.name = "plan", .events = {}}, .large = {kLarge * unit}};
  std::int32_t tensor = 0;
  for (const std::int64_t units : kUnits)
    scenario.trace.events.push_back({alloc::Event::Kind::allocate, tensor++, units * unit});
  for (const std::int32_t freed : {0, 2, 4}) scenario.trace.events.push_back({alloc::Event::Kind::free, freed});
  scenario.trace.events.push_back({alloc::Event::Kind::trim});
  return scenario;
}

Result<Scenario> serving_scenario(Bytes space, std::int64_t requests, std::uint64_t seed) {
  RL_ASSIGN(alloc::Trace trace, lab::record_serving_trace({.requests = requests,
                                                           .min_prompt = 32,
                                                           .max_prompt = 6000,
                                                           .min_output = 16,
                                                           .max_output = 512,
                                                           .max_seqs = 256,
                                                           .step_tokens = 2048,
                                                           .pages = kPoolTokens / ops::kPageTokens,
                                                           .page_tokens = ops::kPageTokens,
                                                           .token_bytes = space.count / kTokens,
                                                           .seed = seed}));
  trace.events.push_back({alloc::Event::Kind::trim});
  const auto fill = static_cast<std::int64_t>(kFill * static_cast<double>(space.count));
  const Bytes large{fill - trace.live().count};
  return Scenario{.trace = std::move(trace), .large = large};
}

// A policy over a space of its own.
struct Setup {
  std::unique_ptr<alloc::VirtualSpace> space;
  std::unique_ptr<alloc::Policy> policy;
};

class FragmentationExperiment final : public lab::Experiment {
 public:
  const lab::Info& info() const override { return fragmentation_info(); }

  // A GPU's own memory instead of a modelled one, and the driver's pool beside the other policies.
  std::vector<lab::Axis> axes(const lab::Context& context) const override {
    std::vector<lab::Axis> axes = info().axes;
    if (!has_card(context)) return axes;
    for (lab::Axis& axis : axes) {
      if (axis.name == "space") {
        axis.quick = axis.full = {kCard};
        axis.open = true;
      }
      if (axis.name != "policy") continue;
      for (auto* values : {&axis.quick, &axis.full}) values->insert(values->begin() + 1, "pool");
    }
    return axes;
  }

  Status measure(lab::Context& context, const lab::Point& point, record::Experiment& record) override {
    const std::string& policy = point.text("policy");
    RL_ASSIGN(const Bytes space, space_of(context, point));
    RL_ASSIGN(const Scenario* scenario, scenario_of(context, point, space, record));
    Placement found;
    if (has_card(context)) {
      RL_ASSIGN(found,
                place_on_card(context, policy, space, page_of(space), *scenario, {context.effort * kMostTime.count}));
    } else {
      RL_ASSIGN(found, place_in_model(context, policy, space, *scenario));
    }

    using record::Better;
    const auto bytes = [](Bytes value) { return static_cast<double>(value.count); };
    const alloc::Usage& usage = found.usage;
    const double free = bytes(space - usage.allocated);
    record::Row row{.axes = point.values(), .path = {"allocator/" + policy}};
    row.metrics = {counted("large_fits", "1", Better::higher, found.large_fits),
                   counted("large_bytes", "B", Better::neither, bytes(scenario->large)),
                   counted("external_fragmentation", "1", Better::lower, 1 - bytes(found.largest) / free),
                   counted("largest_free_bytes", "B", Better::higher, bytes(found.largest)),
                   counted("free_bytes", "B", Better::neither, free),
                   counted("reserved_bytes", "B", Better::lower, bytes(usage.reserved)),
                   counted("allocated_bytes", "B", Better::lower, bytes(usage.allocated)),
                   counted("requested_bytes", "B", Better::neither, bytes(usage.requested)),
                   counted("internal_waste", "1", Better::lower, 1 - bytes(usage.requested) / bytes(usage.allocated)),
                   counted("peak_reserved_bytes", "B", Better::lower, bytes(found.peak.reserved)),
                   counted("failed_calls", "1", Better::lower, static_cast<double>(found.failed)),
                   counted("driver_calls", "1", Better::lower, static_cast<double>(found.driver_calls)),
                   counted("copied_bytes", "B", Better::lower, bytes(found.copied)),
                   std::move(found.call_time)};
    for (record::Metric& metric : found.more) row.metrics.push_back(std::move(metric));
    record.rows.push_back(std::move(row));
    return ok();
  }

  Status conclude(lab::Context&, record::Experiment& record) override {
    const auto verdicts = verdicts_of(record);
    std::vector<std::string> failing, placing;
    for (const auto& [policy, verdict] : verdicts) {
      if (verdict.fails.empty() && verdict.fits > 0) placing.push_back(policy);
      if (!verdict.fails.empty()) failing.push_back(policy);
    }
    const auto exactly = [](std::size_t n) {
      const auto value = static_cast<double>(n);
      return lab::Estimate{value, {value, value}};
    };
    constexpr std::string_view kNoneFails = "no policy failed where enough memory was free: nothing sets them apart";
    const bool any = !failing.empty();
    lab::conclude_hypothesis(record, "fragmentation.fails", any ? std::optional(exactly(failing.size())) : std::nullopt,
                             kNoneFails);
    lab::conclude_hypothesis(record, "fragmentation.places",
                             any ? std::optional(exactly(placing.size())) : std::nullopt, kNoneFails);
    record.outcome = lab::overall(record);
    record.measured = fmt::format("{} of {} policies fail", failing.size(), verdicts.size());
    record.meaning =
        any ? fmt::format("{} no place for the large tensor though enough memory is free: {}.",
                          failing.size() == 1 ? "One policy finds" : "Some policies find", failures(verdicts))
            : "Every policy that had enough free memory placed the large tensor.";
    record.advice = advice(record, placing, any);
    for (const char* metric : {"external_fragmentation", "reserved_bytes", "internal_waste", "call_time"})
      add_chart(record, metric);
    record.notes.push_back(
        on_card(record)
            ? "The memory is the card's: what is free when the experiment begins, but for a margin. Call times are "
              "those "
              "of whole replays, the driver's calls with them; nothing else ran on the card. Bytes that a growing "
              "tensor "
              "copies are counted, not copied."
            : "The address space is virtual: the policies are the real ones, no memory is behind the addresses. Call "
              "times are the policy's own bookkeeping; a driver's calls are counted, not timed, and so are bytes that "
              "a "
              "growing tensor copies.");
    return ok();
  }

 private:
  struct Verdict {
    std::vector<std::string> fails;  // traces where the large tensor has no place though enough is free
    int fits = 0;
  };

  static bool on_card(const record::Experiment& record) {
    return std::any_of(record.rows.begin(), record.rows.end(),
                       [](const record::Row& row) { return lab::find_metric(row, "driver_free_bytes") != nullptr; });
  }

  static std::string place_name(const std::string& space) { return space == kCard ? "the card" : space + " GiB"; }

  // Of a card: once, so that all rows are of one size.
  Result<Bytes> space_of(const lab::Context& context, const lab::Point& point) {
    const std::string& text = point.text("space");
    if (text == kCard && has_card(context)) {
      if (card_space_.count == 0) card_space_ = card_space(context);
      return card_space_;
    }
    std::int64_t gib = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), gib);
    if (failed != std::errc() || end != text.data() + text.size() || gib < 1 || gib > (1 << 17))
      return Error{.kind = ErrorKind::usage,
                   .what = "no size of a device",
                   .field = "--space",
                   .expected = has_card(context) ? "GiB, or card" : "GiB",
                   .found = text};
    const Bytes space{gib << 30};
    if (has_card(context) && space > card_space(context))
      return Error{.kind = ErrorKind::out_of_memory,
                   .what = "the card has less free memory, with a margin for others",
                   .expected = format_binary_bytes(card_space(context)),
                   .found = format_binary_bytes(space)};
    return space;
  }

  static Bytes page_of(Bytes space) { return {space.count / kTokens * ops::kPageTokens}; }

  Result<const Scenario*> scenario_of(const lab::Context& context, const lab::Point& point, Bytes space,
                                      record::Experiment& record) {
    const std::string key = point.text("space") + point.text("trace");
    const auto known = scenarios_.find(key);
    if (known != scenarios_.end()) return &known->second;
    Scenario scenario;
    if (point.text("trace") == "plan") {
      scenario = plan_scenario(space);
    } else {
      RL_ASSIGN(scenario, serving_scenario(space, has_card(context) ? kCardRequests : kRequests, context.seed));
    }
    RL_TRY(scenario.trace.validate());
    record.notes.push_back(fmt::format(
        "Trace {} at {}: {} calls for {} tensors, at most {} at once; {} live at its end, then one tensor of {}.",
        point.text("trace"), format_binary_bytes(space), scenario.trace.events.size() - 1, scenario.trace.tensors(),
        format_binary_bytes(scenario.trace.peak_live()), format_binary_bytes(scenario.trace.live()),
        format_binary_bytes(scenario.large)));
    return &scenarios_.emplace(key, std::move(scenario)).first->second;
  }

  static Result<Placement> place_in_model(const lab::Context& context, const std::string& policy, Bytes space,
                                          const Scenario& scenario) {
    const alloc::Trace& trace = scenario.trace;
    RL_ASSIGN(const Setup state, set_up(policy, space, trace));
    RL_ASSIGN(const alloc::Replay replayed, alloc::replay(*state.policy, trace));
    RL_TRY(check_places(*state.policy, replayed));
    Placement found{.usage = state.policy->usage(),
                    .peak = state.policy->peak(),
                    .failed = replayed.failed,
                    .copied = replayed.copied,
                    .driver_calls = state.space->calls()};
    RL_ASSIGN(found.large_fits, has_place(policy, space, trace, scenario.large));
    RL_ASSIGN(found.largest, largest_place(policy, space, trace));
    RL_ASSIGN(found.call_time, time_replay(context.plan(), policy, space, trace, replayed.calls));
    return found;
  }

  static Result<Setup> set_up(const std::string& policy, Bytes space, const alloc::Trace& trace) {
    Setup setup{.space = std::make_unique<alloc::VirtualSpace>(space), .policy = nullptr};
    RL_ASSIGN(setup.policy, alloc::make_policy(policy, *setup.space, trace, page_of(space)));
    return setup;
  }

  // Whether a tensor of so many bytes finds a place after the trace. The arena knows of it from the start.
  static Result<bool> has_place(const std::string& policy, Bytes space, const alloc::Trace& trace, Bytes tensor) {
    const alloc::Trace longer = trace.with(tensor);
    const auto setup = set_up(policy, space, longer);
    if (!setup && setup.error().kind == ErrorKind::out_of_memory) return false;
    if (!setup) return setup.error();
    RL_ASSIGN(const alloc::Replay replayed, alloc::replay(*setup->policy, longer));
    return !replayed.last_failed;
  }

  // The largest tensor that finds a place after the trace, by bisection over fresh replays, to a 1024th of the
  // space (whole pages of the device).
  static Result<Bytes> largest_place(const std::string& policy, Bytes space, const alloc::Trace& trace) {
    const std::int64_t step = round_up(space.count / 1024, alloc::VirtualSpace::kPage);
    std::int64_t fits = 0, fails = space.count / step + 1;  // steps
    while (fails - fits > 1) {
      const std::int64_t middle = std::midpoint(fits, fails);
      RL_ASSIGN(const bool placed, has_place(policy, space, trace, {middle * step}));
      (placed ? fits : fails) = middle;
    }
    return Bytes{fits * step};
  }

  // Time of one call. Replays of short traces are timed several at once, so that the clock does not show.
  static Result<record::Metric> time_replay(measure::Plan plan, const std::string& policy, Bytes space,
                                            const alloc::Trace& trace, std::int64_t calls) {
    constexpr std::int64_t kCallsOfASample = 2000;
    std::vector<Setup> setups(static_cast<std::size_t>(std::max<std::int64_t>(1, kCallsOfASample / calls)));
    plan.timeout = std::min(plan.timeout, kMostTime);
    const measure::Task task{.name = policy,
                             .run = [&]() -> Status {
                               for (const Setup& setup : setups) RL_TRY(alloc::replay(*setup.policy, trace));
                               return ok();
                             },
                             .prepare = [&]() -> Status {
                               for (Setup& setup : setups) {
                                 setup.policy.reset();
                                 RL_ASSIGN(setup, set_up(policy, space, trace));
                               }
                               return ok();
                             }};
    RL_ASSIGN(const record::Metric time, measure::run(plan, task));
    return measure::scaled(time, "call_time", "s", 1 / static_cast<double>(calls * std::ssize(setups)));
  }

  static std::map<std::string, Verdict> verdicts_of(const record::Experiment& record) {
    std::map<std::string, Verdict> verdicts;
    for (const record::Row& row : record.rows) {
      const std::string* policy = lab::find_axis(row, "policy");
      const auto value = [&](const char* name) { return lab::value_of(row, name); };
      if (policy == nullptr || !row.validity.valid) continue;
      Verdict& verdict = verdicts[*policy];
      if (value("large_fits") == 1) {
        ++verdict.fits;
      } else if (value("free_bytes") >= value("large_bytes")) {
        verdict.fails.push_back(
            fmt::format("{} at {}", lab::axis_of(row, "trace"), place_name(lab::axis_of(row, "space"))));
      }
    }
    return verdicts;
  }

  static std::string failures(const std::map<std::string, Verdict>& verdicts) {
    std::string text;
    for (const auto& [policy, verdict] : verdicts)
      if (!verdict.fails.empty())
        text += fmt::format("{}{} ({})", text.empty() ? "" : "; ", policy, fmt::join(verdict.fails, ", "));
    return text;
  }

  // Of the policies that always find a place, the one that leaves the least memory unusable, and what it costs.
  static std::string advice(const record::Experiment& record, const std::vector<std::string>& placing, bool any) {
    if (!any)
      return "Any of these policies serves these traces; choose by time per call and by what the kernels can read.";
    if (placing.empty())
      return "None of these policies places it everywhere: keep more memory free, or allocate it first.";
    struct Cost {
      double calls = 0, copied = 0, waste = 0;
    };
    std::map<std::string, Cost> costs;
    for (const record::Row& row : record.rows) {
      const std::string& policy = lab::axis_of(row, "policy");
      if (std::find(placing.begin(), placing.end(), policy) == placing.end() || !row.validity.valid) continue;
      const double calls = lab::value_of(row, "driver_calls"), copied = lab::value_of(row, "copied_bytes"),
                   waste = lab::value_of(row, "internal_waste");
      if (!std::isfinite(calls + copied + waste)) continue;
      Cost& cost = costs[policy];
      cost.calls += calls;
      cost.copied += copied;
      cost.waste = std::max(cost.waste, waste);
    }
    std::string text;
    for (const auto& [policy, cost] : costs)
      text += fmt::format("{}{} ({:.0f} calls of the driver, {} copied, {:.1f}% lost inside)", text.empty() ? "" : "; ",
                          policy, cost.calls, format_binary_bytes({static_cast<std::int64_t>(cost.copied)}),
                          100 * cost.waste);
    return "Take a policy that places it on every trace: " + text + ".";
  }

  // One chart at the space of the first row, a group of bars for each policy.
  static void add_chart(record::Experiment& record, const char* metric) {
    static const std::map<std::string_view, const char*> titles = {
        {"external_fragmentation", "Share of the free memory that no one tensor can have"},
        {"reserved_bytes", "Taken from the device after the trim"},
        {"internal_waste", "Share of the allocated memory that nobody asked for"},
        {"call_time", "Time of one call"}};
    if (record.rows.empty()) return;
    const std::string* space = lab::find_axis(record.rows.front(), "space");
    if (space == nullptr) return;
    record.charts.push_back({.title = titles.at(metric),
                             .x = "policy",
                             .y = metric,
                             .series = "trace",
                             .where = {{"space", *space}},
                             .bars = true});
  }

  std::map<std::string, Scenario> scenarios_;
  Bytes card_space_;
};

}  // namespace

record::Metric counted(std::string name, std::string unit, record::Better better, double value) {
  return {.name = std::move(name), .unit = std::move(unit), .better = better, .value = value, .statistic = "count"};
}

Status check_places(const alloc::Policy& policy, const alloc::Replay& replayed) {
  policy.check_invariants();
  std::vector<alloc::Extent> all;
  for (const alloc::Handle handle : replayed.handles) {
    if (handle < 0) continue;
    for (const alloc::Extent& extent : policy.extents(handle)) all.push_back(extent);
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.address < b.address; });
  for (std::size_t i = 1; i < all.size(); ++i)
    if (all[i].address < all[i - 1].end())
      return Error{.kind = ErrorKind::internal,
                   .what = fmt::format("the {} allocator gave the same bytes to two tensors", policy.name()),
                   .rule = "fragmentation.overlap",
                   .found = fmt::format("address {}", all[i].address)};
  return ok();
}

lab::Entry fragmentation() {
  return {.info = fragmentation_info(),
          .make = []() -> std::unique_ptr<lab::Experiment> { return std::make_unique<FragmentationExperiment>(); }};
}

}  // namespace rl::experiments
