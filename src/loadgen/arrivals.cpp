#include "loadgen/arrivals.h"

#include <cmath>

#include "num/random.h"

namespace rl::loadgen {
namespace {

// Streams of the generator: tokens of request i use stream kTokens + i.
constexpr std::uint64_t kPromptLength = 0x10000, kOutputLength = 0x10001, kGap = 0x10002, kTokens = 0x20000;

double uniform(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  const num::PhiloxBlock block = num::random_block(seed, stream, counter);
  return num::uniform53(block[0], block[1]);
}

std::int64_t log_uniform(std::int64_t low, std::int64_t high, double u) {
  const double a = std::log(static_cast<double>(low)), b = std::log(static_cast<double>(high + 1));
  return std::clamp(static_cast<std::int64_t>(std::exp(a + (b - a) * u)), low, high);
}

}  // namespace

std::vector<Arrival> make_requests(std::int64_t n, const Lengths& lengths, std::int64_t vocab, std::uint64_t seed) {
  RL_CHECK(lengths.prompt_low >= 1 && lengths.prompt_high >= lengths.prompt_low);
  RL_CHECK(lengths.output_low >= 1 && lengths.output_high >= lengths.output_low);
  std::vector<Arrival> arrivals(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < arrivals.size(); ++i) {
    engine::Request& request = arrivals[i].request;
    const std::int64_t prompt = log_uniform(lengths.prompt_low, lengths.prompt_high, uniform(seed, kPromptLength, i));
    request.max_tokens = log_uniform(lengths.output_low, lengths.output_high, uniform(seed, kOutputLength, i));
    for (std::int64_t t = 0; t < prompt; ++t)
      request.prompt.push_back(static_cast<TokenId>(
          num::uniform_below(seed, kTokens + i, static_cast<std::uint64_t>(t), static_cast<std::uint64_t>(vocab))));
  }
  return arrivals;
}

void schedule_poisson(std::vector<Arrival>& arrivals, double per_second, std::uint64_t seed) {
  RL_CHECK(per_second > 0);
  double at = 0;
  for (std::size_t i = 0; i < arrivals.size(); ++i) {
    at -= std::log1p(-uniform(seed, kGap, i)) / per_second;
    arrivals[i].at = {at};
  }
}

}  // namespace rl::loadgen
