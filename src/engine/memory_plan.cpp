#include "engine/memory_plan.h"

namespace rl::engine {

Bytes MemoryPlan::total() const {
  Bytes sum;
  for (const Line& line : lines)
    if (!line.pinned) sum += line.bytes;
  return sum;
}

Bytes MemoryPlan::of(const std::string& name) const {
  for (const Line& line : lines)
    if (line.name == name) return line.bytes;
  return {};
}

std::string MemoryPlan::table() const {
  std::string text;
  const auto row = [&](const std::string& name, Bytes bytes, const std::string& note) {
    const std::string line = fmt::format("{:<18}{:>11}  {}", name, format_binary_bytes(bytes), note);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  };
  for (const Line& line : lines)
    if (!line.pinned) row(line.name, line.bytes, line.note);
  row("total", total(), fmt::format("{} tokens of context in {} pages of {}", max_context_tokens, pages, page_tokens));
  for (const Line& line : lines)
    if (line.pinned) row(line.name, line.bytes, line.note);
  return text;
}

}  // namespace rl::engine
