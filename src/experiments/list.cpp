#include "experiments/list.h"

namespace rl::experiments {
namespace {

struct Planned {
  std::string id, title, plan, question, expected;
};

lab::Entry planned(Planned row) {
  return {.info = {.id = std::move(row.id),
                   .title = std::move(row.title),
                   .plan = std::move(row.plan),
                   .question = std::move(row.question),
                   .expected = std::move(row.expected)}};
}

std::vector<lab::Entry> make_list() {
  return {
      baseline(),
      attention(),
      fragmentation(),
      planned({.id = "quantization",
               .title = "FP8, INT8 and 16-bit formats",
               .plan = "2.1",
               .question = "What does each number format save, and what does it cost in quality?",
               .expected = "FP8 1.5-2x, INT8 2-3x"}),
      planned({.id = "graphs",
               .title = "CUDA graphs",
               .plan = "3.1",
               .question = "How much latency do captured steps save, and where?",
               .expected = "10-30% less latency"}),
      streams(),
      batching(),
      planned({.id = "power",
               .title = "Power limits",
               .plan = "4.1",
               .question = "Which power limit or clock gives the most work per joule?",
               .expected = "20-30% more per watt"}),
      planned({.id = "tensor-cores",
               .title = "Tensor core use",
               .plan = "4.2",
               .question = "How busy are the matrix units, by format and phase?"}),
      planned({.id = "engines",
               .title = "Other engines",
               .plan = "5.1",
               .question = "How do vLLM, TensorRT-LLM and llama.cpp compare on this machine?"}),
      planned({.id = "combined",
               .title = "All together",
               .plan = "improvements",
               .question = "Which combination is best under the user's limits?",
               .expected = "2-4x speed, 3-5x tok/s"}),
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
