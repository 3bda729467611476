// feed and deliver: one variant each, through pinned memory that the card reads and writes.

#include "cuda/host/cuda_device.h"
#include "cuda/host/error.h"
#include "cuda/kernels/step/step.h"
#include "cuda/variants.h"

namespace rl::cuda {
namespace {

constexpr ops::Facts kFacts{.graph_safe = true, .pdl_safe = true, .deterministic = true, .batch_invariant = true};

bool aligned(const TensorRef& t) { return reinterpret_cast<std::uintptr_t>(t.data) % 16 == 0; }

Status supports_feed(const ops::FeedArgs& args, const Arch& arch) {
  RL_TRY(need_cuda(arch));
  RL_TRY(need(args.out.shape[0] <= INT32_MAX, "counts words in 32 bits"));
  return need(aligned(args.host[0]) && aligned(args.host[1]) && aligned(args.out), "reads 16 bytes at once");
}
Status supports_deliver(const ops::DeliverArgs& args, const Arch& arch) {
  RL_TRY(need_cuda(arch));
  return need(args.drawn.shape[0] <= INT32_MAX, "counts rows in 32 bits");
}

Status launch_feed(const ops::FeedArgs& args, void*, Stream& stream) {
  return check(feed_words({.host = {args.host[0].as<const std::int32_t>(), args.host[1].as<const std::int32_t>()},
                           .turn = args.turn.as<std::int32_t>(),
                           .drawn = args.drawn.as<const std::int32_t>(),
                           .out = args.out.as<std::int32_t>(),
                           .words = static_cast<int>(args.words),
                           .ids_begin = static_cast<int>(ops::kFeedHeader),
                           .ids_end = static_cast<int>(ops::kFeedHeader + args.ids)},
                          handle_of(stream)),
               "feed_words");
}

Status launch_deliver(const ops::DeliverArgs& args, void*, Stream& stream) {
  return check(deliver_words({.drawn = args.drawn.as<const std::int32_t>(),
                              .block = args.block.as<const std::int32_t>(),
                              .out = {args.out[0].as<std::int32_t>(), args.out[1].as<std::int32_t>()},
                              .rows = static_cast<int>(args.drawn.shape[0])},
                             handle_of(stream)),
               "deliver_words");
}

constexpr ops::Variant<ops::FeedArgs> kFeed[] = {
    {"feed/cuda.mapped", kFacts, supports_feed, no_workspace, launch_feed}};
constexpr ops::Variant<ops::DeliverArgs> kDeliver[] = {
    {"deliver/cuda.mapped", kFacts, supports_deliver, no_workspace, launch_deliver}};

}  // namespace

std::span<const ops::Variant<ops::FeedArgs>> feed_variants() { return kFeed; }
std::span<const ops::Variant<ops::DeliverArgs>> deliver_variants() { return kDeliver; }

}  // namespace rl::cuda
