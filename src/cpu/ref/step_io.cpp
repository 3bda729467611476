#include "cpu/ref/ref.h"

namespace rl::cpu::ref {

Fed feed(const ops::FeedArgs& args) {
  const std::int32_t turn = *args.turn.as<const std::int32_t>();
  RL_CHECK(turn == 0 || turn == 1);
  const auto* from = args.host[turn].as<const std::int32_t>();
  const auto* stays = args.out.as<const std::int32_t>();
  Fed fed{.block = {stays, stays + args.out.shape[0]}, .turn = 1 - turn};
  const std::int64_t end = args.words + from[1];
  RL_CHECK(from[0] == turn && from[1] >= 0 && end <= args.out.shape[0]);
  for (std::int64_t i = 0; i < end; ++i) {
    std::int32_t word = from[i];
    const bool token = (i >= ops::kFeedHeader && i < ops::kFeedHeader + args.ids) || i >= args.words;
    if (token && word < 0) {
      RL_CHECK(-1 - word < args.drawn.shape[0]);
      word = std::max(args.drawn.as<const std::int32_t>()[-1 - word], 0);
    }
    fed.block[static_cast<std::size_t>(i)] = word;
  }
  return fed;
}

std::array<std::vector<std::int32_t>, 2> deliver(const ops::DeliverArgs& args) {
  const std::int32_t turn = *args.block.as<const std::int32_t>();
  RL_CHECK(turn == 0 || turn == 1);
  std::array<std::vector<std::int32_t>, 2> outs;
  for (std::size_t i = 0; i < 2; ++i) {
    const auto* words = (static_cast<std::int32_t>(i) == turn ? args.drawn : args.out[i]).as<const std::int32_t>();
    outs[i].assign(words, words + args.drawn.shape[0]);
  }
  return outs;
}

}  // namespace rl::cpu::ref
