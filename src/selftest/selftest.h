#pragma once
// The case tables on a user's own device: every variant of every op against the oracle. How a card on which nothing has
// run yet gets its first proof.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ops/catalog.h"

namespace rl::selftest {

struct VariantResult {
  std::string name;  // "attention/cuda.flash"
  int checked = 0;   // combinations of case and types; 0: it supports none of them on this device
  std::vector<std::string> failures;
};

// Cases with one of the tags (ops/case.h), of the variants whose names begin so, or of all without a beginning. The
// last variant of a CPU's list is the oracle itself and is left out. Errors: the device's; what a check finds is in the
// results.
Result<std::vector<VariantResult>> run(const ops::Backend& backend, unsigned tags, std::string_view beginning,
                                       const std::function<void(const VariantResult&)>& done);

}  // namespace rl::selftest
