#pragma once
// What a load asks for and when: everything is a function of the seed, so that each way of serving meets the same
// requests.

#include <cstdint>
#include <vector>

#include "loadgen/load.h"

namespace rl::loadgen {

// Lengths of requests, each drawn so that its logarithm is uniform: many short ones, a few long ones.
struct Lengths {
  std::int64_t prompt_low = 1, prompt_high = 1;  // tokens, both included
  std::int64_t output_low = 1, output_high = 1;
  std::int64_t context() const { return prompt_high + output_high; }  // that an engine needs
};

// `n` requests with random prompts, no two alike, all there at the start; greedy, without stop tokens, so that each
// generates exactly its max_tokens.
std::vector<Arrival> make_requests(std::int64_t n, const Lengths& lengths, std::int64_t vocab, std::uint64_t seed);

// Sets the arrival times to those of a Poisson process: independent exponential gaps of mean 1 / per_second.
void schedule_poisson(std::vector<Arrival>& arrivals, double per_second, std::uint64_t seed);

}  // namespace rl::loadgen
