#pragma once
// A variant is one way to compute an op. Each backend lists its variants of each op by hand, best first, the naive one
// that takes every legal shape last.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "device/device.h"

namespace rl::ops {

struct Facts {
  bool graph_safe = false;       // may be captured: no allocation, no host synchronisation, no host-side decision
  bool pdl_safe = false;         // waits for its predecessor itself (programmatic dependent launch)
  bool deterministic = true;     // equal inputs, equal bits
  bool batch_invariant = false;  // a row's bits do not depend on the other rows of the batch
  // Beyond the rounding of fp32 sums, relative to the sum of |terms|: of matrix units that keep fewer bits of a sum.
  double sum_error = 0;
  // Computes weights of quantised formats without instructions made for them: the speed of such a format says nothing.
  bool emulated = false;
};

template <class Args>
struct Variant {
  const char* name;  // "attention/cpu.flash": op, backend, configuration; the same in code, records and --force
  Facts facts;
  // Why this variant cannot compute these args on this machine, or success. Reads shapes, types and layouts only: never
  // data.
  Status (*supports)(const Args& args, const Arch& arch);
  // Scratch memory launch needs, aligned to kAlignment.
  Bytes (*workspace)(const Args& args);
  // Enqueues the work. args have passed validate() and supports().
  Status (*launch)(const Args& args, void* workspace, Stream& stream);
};

// The variant to use: the one named `forced` (error if absent or unsupported: never another in silence), else the first
// that supports the args. Errors: usage for an unknown name, unsupported with every variant's reason.
template <class Args>
Result<const Variant<Args>*> choose(std::span<const Variant<Args>> variants, const Args& args, const Arch& arch,
                                    std::string_view forced = {}) {
  std::string reasons, names;
  for (const Variant<Args>& variant : variants) {
    names += std::string(names.empty() ? "" : ", ") + variant.name;
    if (!forced.empty() && forced != variant.name) continue;
    const Status can = variant.supports(args, arch);
    if (can) return &variant;
    reasons += std::string(reasons.empty() ? "" : "; ") + variant.name + ": " + can.error().what;
  }
  if (!forced.empty() && reasons.empty())
    return Error{.kind = ErrorKind::usage, .what = "no variant named '" + std::string(forced) + "'", .expected = names};
  return Error{.kind = ErrorKind::unsupported, .what = "no variant can compute this", .found = reasons};
}

// Those that a measurement may choose from: all that support the args, but the naive one at the list's end only where
// there is no other. Empty if choose() has an error to tell.
template <class Args>
std::vector<const Variant<Args>*> candidates(std::span<const Variant<Args>> variants, const Args& args,
                                             const Arch& arch) {
  std::vector<const Variant<Args>*> found;
  for (const Variant<Args>& variant : variants)
    if (variant.supports(args, arch) && (found.empty() || &variant != &variants.back())) found.push_back(&variant);
  return found;
}

}  // namespace rl::ops
