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
      graphs(),
      streams(),
      batching(),
      power(),
      tensor_cores(),
      engines(),
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
