#include "experiments/list.h"

namespace rl::experiments {
namespace {

lab::Entry planned(std::string id, std::string title, std::string plan, std::string question) {
  return {
      .info = {
          .id = std::move(id), .title = std::move(title), .plan = std::move(plan), .question = std::move(question)}};
}

std::vector<lab::Entry> make_list() {
  return {
      baseline(),
      attention(),
      planned("fragmentation", "VRAM fragmentation", "1.2",
              "Which allocator policies fragment memory until a large allocation fails?"),
      planned("quantization", "FP8, INT8 and 16-bit formats", "2.1",
              "What does each number format save, and what does it cost in quality?"),
      planned("graphs", "CUDA graphs", "3.1", "How much latency do captured steps save, and where?"),
      planned("streams", "Several streams", "3.2",
              "Do concurrent streams beat one after the other, and beat one batch?"),
      planned("batching", "Batching and scheduling", "3.2",
              "How much throughput does continuous batching give, and what does it cost in latency?"),
      planned("power", "Power limits", "4.1", "Which power limit or clock gives the most work per joule?"),
      planned("tensor-cores", "Tensor core use", "4.2", "How busy are the matrix units, by format and phase?"),
      planned("engines", "Other engines", "5.1", "How do vLLM, TensorRT-LLM and llama.cpp compare on this machine?"),
      planned("combined", "All together", "improvements", "Which combination is best under the user's limits?"),
  };
}

}  // namespace

std::span<const lab::Entry> all() {
  static const std::vector<lab::Entry> entries = make_list();
  return entries;
}

const lab::Entry* find(std::string_view id) {
  for (const lab::Entry& entry : all())
    if (entry.info.id == id) return &entry;
  return nullptr;
}

}  // namespace rl::experiments
