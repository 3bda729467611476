#pragma once
// Every experiment of the plan, in the order they run. Those not built yet are listed as such.

#include <span>

#include "lab/experiment.h"

namespace rl::experiments {

std::span<const lab::Entry> all();
const lab::Entry* find(std::string_view id);  // null if there is none

// One factory per file of this room.
lab::Entry baseline();
lab::Entry attention();
lab::Entry quantization();
lab::Entry combined();
lab::Entry fragmentation();
lab::Entry streams();
lab::Entry batching();
lab::Entry power();
lab::Entry graphs();
lab::Entry tensor_cores();
lab::Entry engines();

}  // namespace rl::experiments
