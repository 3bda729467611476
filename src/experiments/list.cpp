#include "experiments/list.h"

namespace rl::experiments {
namespace {

std::vector<lab::Entry> make_list() {
  return {
      baseline(), attention(), fragmentation(), quantization(), graphs(),   streams(),
      batching(), power(),     tensor_cores(),  engines(),      combined(),
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
