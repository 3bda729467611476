#pragma once
// The first card of the machine; tests without one are skipped.

#include <set>

#include "check/result.h"
#include "cuda/catalog.h"
#include "cuda/host/cuda_device.h"

#define RL_NEED_CARD() \
  if (const auto rl_cards = ::rl::cuda::list_cards(); !rl_cards) GTEST_SKIP() << rl_cards.error().message()

namespace rl::cuda {

// The tests of what a card of this compute capability cannot run, by their own account: they skip (skips.cpp).
inline std::set<std::string>& ruled_out() {
  static std::set<std::string> names;
  return names;
}

struct Card {
  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;
  ops::Backend backend() const { return {.name = "cuda", .device = device.get(), .catalog = catalog()}; }
};

inline Result<Card> open_card() {
  Card card;
  RL_ASSIGN(card.device, make_device(0));
  RL_ASSIGN(card.stream, card.device->make_stream());
  return card;
}

}  // namespace rl::cuda
