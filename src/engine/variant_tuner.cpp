#include "engine/variant_tuner.h"

#include <algorithm>

#include "base/log.h"
#include "num/convert.h"
#include "num/random.h"
#include "tensor/element.h"

namespace rl::engine {
namespace {

constexpr int kRounds = 5;              // of which the median counts
constexpr std::size_t kLeastCalls = 4;  // in a round
// A variant further down the list has to gain more than this, which is about what two rounds differ by.
constexpr double kLeastGain = 0.02;
constexpr double kHopeless = 3;  // times the fastest first call: not timed further

// Random numbers that an input is filled with, over and over.
constexpr std::int64_t kPatternBytes = 1 << 20;

double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::vector<std::byte> pattern_of(DType type) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(kPatternBytes));
  const std::int64_t n = kPatternBytes / size_of(type);
  for (std::int64_t i = 0; i < n; i += 4) {
    const auto four = num::normal4(1, 0, static_cast<std::uint64_t>(i / 4));
    for (std::int64_t k = 0; k < 4; ++k) {
      const auto value = static_cast<double>(four[static_cast<std::size_t>(k)]);
      if (type == DType::i8)
        bytes[static_cast<std::size_t>(i + k)] = static_cast<std::byte>(static_cast<std::int8_t>(30 * value));
      else
        store_element(type, bytes.data(), i + k, type == DType::f8_e4m3 ? 100 * value : value);
    }
  }
  return bytes;
}

}  // namespace

std::string shape_of(const ops::LinearArgs& args, const std::vector<const ops::Variant<ops::LinearArgs>*>& candidates,
                     const std::optional<VariantTuner::Before>& before) {
  std::string text =
      fmt::format("linear {} x {} x {}, {} x {} -> {}", args.x.shape[0], args.weight.rows, args.weight.cols,
                  name_of(args.x.dtype), name_of(args.weight.format), name_of(args.out.dtype));
  if (args.x.strides[0] != args.weight.cols) text += fmt::format(", rows {} apart", args.x.strides[0]);
  if (args.bias) text += ", bias";
  if (args.accumulate) text += ", adds";
  if (before) text += ", after " + before->name;
  text += ", of";
  for (const auto* const variant : candidates) text += fmt::format(" {}", variant->name);
  return text;
}

Result<const ops::Variant<ops::LinearArgs>*> VariantTuner::choose(const Candidates& candidates,
                                                                  std::span<const ops::LinearArgs> calls,
                                                                  void* workspace,
                                                                  const std::optional<Before>& before) {
  RL_CHECK(!candidates.empty() && !calls.empty());
  if (candidates.size() == 1) return candidates.front();
  const std::string shape = shape_of(calls.front(), candidates, before);
  std::optional<ops::Choice> choice = choices_.find(shape);
  if (!choice) {
    RL_ASSIGN(choice, measure(candidates, calls, workspace, before));
    choices_.insert(shape, *choice);
    std::string times;
    for (const auto& timed : choice->timed)
      times += fmt::format("{}{} {}", times.empty() ? "" : ", ", timed.variant, format_seconds(timed.seconds));
    log::debug("{}: {}", shape, times);
  }
  for (const auto* const variant : candidates)
    if (choice->best() == variant->name) return variant;
  return candidates.front();  // a file that somebody wrote by hand
}

// Rows [n, cols], which may lie apart.
Status VariantTuner::fill(const TensorRef& rows) {
  const std::vector<std::byte> pattern = pattern_of(rows.dtype);
  const std::int64_t bytes = rows.shape[0] * rows.strides[0] * size_of(rows.dtype);
  for (std::int64_t at = 0; at < bytes; at += std::ssize(pattern))
    RL_TRY(stream_.copy_to_device(static_cast<std::byte*>(rows.data) + at, pattern.data(),
                                  {std::min(bytes - at, std::ssize(pattern))}));
  return stream_.synchronize();
}

Status VariantTuner::fill_input(const ops::LinearArgs& args) {
  RL_TRY(fill(args.x));
  if (!args.x_scales) return ok();
  const std::vector<float> scales(static_cast<std::size_t>(args.x_scales.elements()), 0.01f);
  RL_TRY(stream_.copy_to_device(args.x_scales.data, scales.data(), {args.x_scales.elements() * 4}));
  return stream_.synchronize();
}

Result<ops::Choice> VariantTuner::measure(const Candidates& candidates, std::span<const ops::LinearArgs> calls,
                                          void* workspace, const std::optional<Before>& before) {
  RL_TRY(fill_input(calls.front()));
  if (before) RL_TRY(fill(before->input));
  RL_ASSIGN(const std::unique_ptr<Event> begin, device_.make_timed_event());
  RL_ASSIGN(const std::unique_ptr<Event> end, device_.make_timed_event());
  const auto timed = [&](const std::function<Status()>& work) -> Result<double> {
    RL_TRY(stream_.record(*begin));
    RL_TRY(work());
    RL_TRY(stream_.record(*end));
    RL_TRY(stream_.synchronize());
    RL_ASSIGN(const Seconds seconds, device_.elapsed(*begin, *end));
    return seconds.count;
  };
  const std::size_t count = std::max(calls.size(), kLeastCalls);

  struct Run {
    const ops::Variant<ops::LinearArgs>* variant = nullptr;  // null: the op before alone
    double first = 0;                                        // seconds of one call
    std::unique_ptr<CapturedStep> captured;
    std::vector<double> seconds;
  };
  std::vector<Run> runs;
  for (const auto* const variant : candidates) {
    const auto call = [&] { return variant->launch(calls.front(), workspace, stream_); };
    RL_TRY(call());  // loads the kernel
    RL_ASSIGN(const double first, timed(call));
    runs.push_back({.variant = variant, .first = first, .captured = {}, .seconds = {}});
  }
  double fastest = runs.front().first;
  for (const Run& run : runs) fastest = std::min(fastest, run.first);
  std::erase_if(runs, [&](const Run& run) { return run.first > kHopeless * fastest; });

  // As in a step: one call after the other without the host between them.
  const auto all = [&](const Run& run) -> Status {
    for (std::size_t i = 0; i < count; ++i) {
      if (before) RL_TRY(before->launch(stream_));
      if (run.variant != nullptr) RL_TRY(run.variant->launch(calls[i % calls.size()], workspace, stream_));
    }
    return ok();
  };
  if (before) runs.push_back({.variant = nullptr, .captured = {}, .seconds = {}});
  for (Run& run : runs) {
    if (!device_.can_capture() || (run.variant != nullptr && !run.variant->facts.graph_safe)) continue;
    RL_TRY(stream_.begin_capture());
    const Status recorded = all(run);
    auto captured = stream_.end_capture({});
    RL_TRY(recorded);
    if (!captured) return std::move(captured).error();
    run.captured = std::move(*captured);
  }
  for (int round = -1; round < kRounds; ++round)  // the first is not counted
    for (Run& run : runs) {
      RL_ASSIGN(const double seconds, timed([&] { return run.captured ? stream_.replay(*run.captured) : all(run); }));
      if (round >= 0) run.seconds.push_back(seconds / static_cast<double>(count));
    }

  double alone = 0;  // of the op before
  if (before) {
    alone = median(runs.back().seconds);
    runs.pop_back();
  }
  ops::Choice choice;
  for (const Run& run : runs)
    choice.timed.push_back({.variant = run.variant->name, .seconds = {std::max(median(run.seconds) - alone, 1e-9)}});
  // The first of the list that none gains enough on; the others by their times.
  double least = choice.timed.front().seconds.count;
  for (const auto& t : choice.timed) least = std::min(least, t.seconds.count);
  const auto best = std::find_if(choice.timed.begin(), choice.timed.end(),
                                 [&](const auto& t) { return t.seconds.count <= least * (1 + kLeastGain); });
  std::rotate(choice.timed.begin(), best, best + 1);
  std::stable_sort(choice.timed.begin() + 1, choice.timed.end(),
                   [](const auto& a, const auto& b) { return a.seconds < b.seconds; });
  return choice;
}

}  // namespace rl::engine
