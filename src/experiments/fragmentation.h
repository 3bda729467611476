#pragma once
// What the fragmentation experiment finds about one policy after one trace: over a virtual space (fragmentation.cpp),
// or on the memory of a card (fragmentation_card.cpp).

#include "device/allocators/trace.h"
#include "lab/experiment.h"

namespace rl::experiments {

struct Scenario {
  alloc::Trace trace;  // ends with a trim
  Bytes large;         // the tensor that is asked for then
};

struct Placement {
  alloc::Usage usage, peak;  // after the trace, and at most
  std::int64_t failed = 0;   // calls that found no place
  Bytes copied;              // by tensors that moved to grow
  std::int64_t driver_calls = 0;
  bool large_fits = false;
  Bytes largest;                     // that finds a place
  record::Metric call_time;          // of one call
  std::vector<record::Metric> more;  // only there: what the driver says
};

record::Metric counted(std::string name, std::string unit, record::Better better, double value);

// The gate: the policy's books agree, and no two tensors share a byte.
Status check_places(const alloc::Policy& policy, const alloc::Replay& replayed);

inline constexpr const char* kCard = "card";  // a value of the axis "space"

// Whether the backend's memory can be measured: it is a GPU's, and the driver has virtual memory and pools.
bool has_card(const lab::Context& context);
// What of the card's memory a policy may have: what is free now, but for a margin that stays with other programs.
Bytes card_space(const lab::Context& context);
// Replays the trace on the card's memory: tensors are real, and their first and last bytes are written and read back.
// Takes about `time` for the call times. Errors: the device's.
Result<Placement> place_on_card(const lab::Context& context, const std::string& policy, Bytes space, Bytes page,
                                const Scenario& scenario, Seconds time);

}  // namespace rl::experiments
