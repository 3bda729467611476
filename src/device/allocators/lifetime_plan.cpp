#include "device/allocators/lifetime_plan.h"

#include <numeric>

#include "base/checked.h"

namespace rl::alloc {

LifetimePlan plan_lifetimes(const std::vector<Lifetime>& values, std::int64_t alignment) {
  std::vector<std::size_t> by_size(values.size());
  std::iota(by_size.begin(), by_size.end(), std::size_t{0});
  std::stable_sort(by_size.begin(), by_size.end(),
                   [&](std::size_t a, std::size_t b) { return values[a].bytes > values[b].bytes; });

  LifetimePlan plan{.offset = std::vector<std::int64_t>(values.size(), 0)};
  std::vector<std::size_t> placed;  // by offset
  for (const std::size_t v : by_size) {
    if (values[v].last < values[v].first) continue;
    const std::int64_t bytes = round_up(values[v].bytes, alignment);
    std::int64_t offset = 0;
    for (const std::size_t other : placed) {
      const bool meet = values[v].first <= values[other].last && values[other].first <= values[v].last;
      if (!meet) continue;
      if (offset + bytes <= plan.offset[other]) break;  // fits in the gap before it
      offset = std::max(offset, plan.offset[other] + round_up(values[other].bytes, alignment));
    }
    plan.offset[v] = offset;
    plan.total = std::max(plan.total, Bytes{offset + bytes});
    placed.insert(std::upper_bound(placed.begin(), placed.end(), v,
                                   [&](std::size_t a, std::size_t b) { return plan.offset[a] < plan.offset[b]; }),
                  v);
  }
  return plan;
}

}  // namespace rl::alloc
