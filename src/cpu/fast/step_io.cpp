// feed and deliver in place: a step's inputs are a few hundred words, which one thread copies.

#include "cpu/fast/variants.h"

namespace rl::cpu {
namespace {

constexpr ops::Facts kFacts{.graph_safe = true, .deterministic = true, .batch_invariant = true};

template <class Args>
Status supports(const Args&, const Arch& arch) {
  if (arch.family == Arch::Family::cpu) return ok();
  return Error{.kind = ErrorKind::unsupported, .what = "computes on the processor only"};
}
template <class Args>
Bytes no_workspace(const Args&) {
  return {};
}

Status launch_feed(const ops::FeedArgs& args, void*, Stream&) {
  auto& turn = *args.turn.as<std::int32_t>();
  const auto* from = args.host[turn].as<const std::int32_t>();
  const auto* drawn = args.drawn.as<const std::int32_t>();
  auto* to = args.out.as<std::int32_t>();
  const std::int64_t end = args.words + from[1];
  std::copy_n(from, end, to);
  const auto fill_in = [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i)
      if (to[i] < 0) to[i] = std::max(drawn[-1 - to[i]], 0);
  };
  fill_in(ops::kFeedHeader, ops::kFeedHeader + args.ids);
  fill_in(args.words, end);
  turn = 1 - turn;
  return ok();
}

Status launch_deliver(const ops::DeliverArgs& args, void*, Stream&) {
  const std::int32_t turn = *args.block.as<const std::int32_t>();
  std::copy_n(args.drawn.as<const std::int32_t>(), args.drawn.shape[0], args.out[turn].as<std::int32_t>());
  return ok();
}

constexpr ops::Variant<ops::FeedArgs> kFeed[] = {{"feed/cpu.copy", kFacts, supports, no_workspace, launch_feed}};
constexpr ops::Variant<ops::DeliverArgs> kDeliver[] = {
    {"deliver/cpu.copy", kFacts, supports, no_workspace, launch_deliver}};

}  // namespace

std::span<const ops::Variant<ops::FeedArgs>> feed_variants() { return kFeed; }
std::span<const ops::Variant<ops::DeliverArgs>> deliver_variants() { return kDeliver; }

}  // namespace rl::cpu
