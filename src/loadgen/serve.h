#pragma once
// A load that is checked: what a number about serving rests on. Every experiment that serves requests does it here, so
// that one set of rules decides whether a load measured what it says. docs/measuring.md lists the rules.

#include <span>
#include <string>

#include "loadgen/load.h"

namespace rl::loadgen {

// What a load says of its prompts. distinct: no two are alike, so each is computed. any: some may be, which a cache of
// prefixes would answer without computing.
enum class Prompts { distinct, any };

// The client's own time may be this share of a load; above it, what was measured is the client.
inline constexpr double kMostClientShare = 0.05;
// In an open loop one request in a hundred may be handed over this late.
inline constexpr Seconds kMostClientDelay{1e-3};

// Why the client, and not what it asks, set the pace of a load; empty if it did not. Where requests arrive over time:
// client_delay_p99 is above kMostClientDelay. Everywhere: client_share is above kMostClientShare.
std::string client_bound(const Load& load);

// The client's own time between steps over the duration of the load, without the longest hundredth of these times (at
// least one): a client that something else interrupted once is not a slow one.
double client_share(const Load& load);

// Runs the load on an idle target and checks the prompts before and what came of them after. A client that was the
// bottleneck is for the caller to judge, with client_bound: its numbers are worth showing, but not valid. Errors: the
// target's; internal with rule
//   "load.duplicate_prompts"  two prompts are alike though the load says that they are distinct, or though the target
//                             reuses prefixes
//   "load.warm_prefix"        tokens of a prompt came from the prefix cache instead of being computed
//   "load.truncated"          a request ended before its last token
Result<Load> serve(Target& target, std::span<const Arrival> arrivals, const Admission& admission,
                   Prompts prompts = Prompts::distinct, Clock& clock = real_clock());

// The same, and a client that was the bottleneck is an error too, rule "load.client_bound": for loads of which nothing
// but their time is wanted.
Result<Load> serve_timed(Target& target, std::span<const Arrival> arrivals, const Admission& admission,
                         Prompts prompts = Prompts::distinct, Clock& clock = real_clock());

}  // namespace rl::loadgen
