#include "loadgen/serve.h"

#include <numeric>

#include "loadgen/latency.h"

namespace rl::loadgen {
namespace {

Error broken(std::string rule, std::string what, std::string expected, std::string found, std::string hint = "") {
  return {.kind = ErrorKind::internal,
          .what = std::move(what),
          .rule = std::move(rule),
          .expected = std::move(expected),
          .found = std::move(found),
          .hint = std::move(hint)};
}

Status check_prompts(const Target& target, std::span<const Arrival> arrivals, Prompts prompts) {
  if (prompts == Prompts::any && !target.reuses_prefixes()) return ok();
  std::vector<std::size_t> order(arrivals.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto prompt = [&](std::size_t i) -> const auto& { return arrivals[i].request.prompt; };
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return prompt(a) < prompt(b); });
  const auto twin = std::adjacent_find(order.begin(), order.end(),
                                       [&](std::size_t a, std::size_t b) { return prompt(a) == prompt(b); });
  if (twin == order.end()) return ok();
  return broken(
      "load.duplicate_prompts", "two requests of a load have the same prompt",
      prompts == Prompts::distinct ? "prompts of which no two are alike" : "no equal prompts where prefixes are reused",
      fmt::format("requests {} and {}, {} tokens", std::min(twin[0], twin[1]), std::max(twin[0], twin[1]),
                  prompt(*twin).size()),
      "make each prompt from another seed or stream");
}

Status check_served(const Served& served, std::int64_t wanted, std::size_t index) {
  if (served.complete() && std::ssize(served.tokens) == wanted) return ok();
  return broken("load.truncated", fmt::format("request {} ended before its last token", index),
                fmt::format("{} tokens", wanted),
                fmt::format("{} tokens, {}", served.tokens.size(),
                            !served.refused.empty() ? served.refused
                            : served.finished       ? engine::name_of(*served.finished)
                                                    : "no end"));
}

}  // namespace

double client_share(const Load& load) {
  std::vector<Seconds> times = load.client_times;
  if (times.empty() || !(load.duration.count > 0)) return 0;
  std::sort(times.begin(), times.end());
  times.resize(times.size() - (times.size() + 99) / 100);
  double sum = 0;
  for (const Seconds time : times) sum += time.count;
  return sum / load.duration.count;
}

std::string client_bound(const Load& load) {
  const bool open_loop = std::any_of(load.requests.begin(), load.requests.end(),
                                     [](const Served& served) { return served.scheduled.count > 0; });
  if (const Seconds delay = client_delay_p99(load); open_loop && delay > kMostClientDelay)
    return fmt::format("client-bound: the client handed one request in a hundred over {} late", format_seconds(delay));
  if (const double share = client_share(load); share > kMostClientShare)
    return fmt::format("client-bound: {}% of the time was the client's own", format_significant(100 * share, 2));
  return {};
}

Result<Load> serve(Target& target, std::span<const Arrival> arrivals, const Admission& admission, Prompts prompts,
                   Clock& clock) {
  RL_TRY(check_prompts(target, arrivals, prompts));
  const std::int64_t reused = target.reused_tokens();
  RL_ASSIGN(Load load, run_load(target, arrivals, admission, clock));
  if (target.reused_tokens() != reused)
    return broken("load.warm_prefix", "a prompt was not computed from an empty cache",
                  "no token of a prompt in the prefix cache", fmt::format("{} tokens", target.reused_tokens() - reused),
                  "turn prefix_reuse off in the engine's options");
  for (std::size_t i = 0; i < arrivals.size(); ++i)
    RL_TRY(check_served(load.requests[i], arrivals[i].request.max_tokens, i));
  return load;
}

Result<Load> serve_timed(Target& target, std::span<const Arrival> arrivals, const Admission& admission, Prompts prompts,
                         Clock& clock) {
  RL_ASSIGN(Load load, serve(target, arrivals, admission, prompts, clock));
  if (std::string why = client_bound(load); !why.empty())
    return broken("load.client_bound", std::move(why),
                  fmt::format("at most {}% of the time the client's own", 100 * kMostClientShare),
                  fmt::format("{} requests in {}", arrivals.size(), format_seconds(load.duration)),
                  "measure while nothing else uses the processors, or take a larger model");
  return load;
}

}  // namespace rl::loadgen
