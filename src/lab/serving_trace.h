#pragma once
// What serving asks of an allocator, recorded from the engine's scheduler at work: a seeded load of requests of many
// lengths runs through the very scheduler that serves, over a pool of pages with nothing behind them, and each
// sequence's keys and values are logged as one tensor: allocated when the sequence is admitted, one token larger with
// each step of decode, freed when it ends or is preempted.

#include "device/allocators/trace.h"

namespace rl::lab {

struct ServingLoad {
  std::int64_t requests = 0;
  std::int64_t min_prompt = 0, max_prompt = 0;  // tokens, log-uniform between the two
  std::int64_t min_output = 0, max_output = 0;  // likewise
  std::int64_t max_seqs = 0, step_tokens = 0;   // of the scheduler
  std::int64_t pages = 0, page_tokens = 0;      // of the pool
  std::int64_t token_bytes = 0;                 // of one token's keys and values, all layers
  std::uint64_t seed = 1;
};

// All requests wait at the start; the recording ends in the middle of work, once the last has been admitted. Errors: a
// request that can never fit in the pool (invalid_input).
Result<alloc::Trace> record_serving_trace(const ServingLoad& load);

}  // namespace rl::lab
