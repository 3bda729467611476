#include "quality/consistency.h"

namespace rl::quality {

double Consistency::identical() const {
  double same = 0;
  for (const Output& output : outputs) same += !output.differs_at;
  return same / static_cast<double>(outputs.size());
}

double Consistency::first_difference() const {
  double sum = 0;
  for (const Output& output : outputs) sum += static_cast<double>(output.differs_at.value_or(tokens));
  return sum / static_cast<double>(outputs.size());
}

Result<std::vector<std::vector<TokenId>>> greedy(engine::Engine& engine, std::span<const std::vector<TokenId>> prompts,
                                                 std::int64_t tokens, std::int64_t batch) {
  std::vector<std::vector<TokenId>> outputs(prompts.size());
  for (std::size_t first = 0; first < prompts.size(); first += static_cast<std::size_t>(batch)) {
    std::vector<RequestId> ids;
    for (std::size_t i = first; i < std::min(prompts.size(), first + static_cast<std::size_t>(batch)); ++i) {
      RL_ASSIGN(const RequestId id, engine.submit({.prompt = prompts[i], .max_tokens = tokens}));
      ids.push_back(id);
    }
    while (!engine.idle()) {
      RL_ASSIGN(const auto events, engine.step());
      for (const engine::TokenEvent& event : events) {
        const auto which = static_cast<std::size_t>(std::find(ids.begin(), ids.end(), event.request) - ids.begin());
        if (event.token >= 0) outputs[first + which].push_back(event.token);
      }
    }
  }
  for (const std::vector<TokenId>& output : outputs)
    if (std::ssize(output) != tokens)
      return Error{.kind = ErrorKind::internal,
                   .what = "an output ended early",
                   .rule = "quality.truncated",
                   .expected = fmt::format("{} tokens", tokens),
                   .found = std::to_string(output.size())};
  return outputs;
}

Result<Consistency> consistency(engine::Engine& base, engine::Engine& candidate, const ConsistencyPlan& plan) {
  RL_ASSIGN(const auto expected, greedy(base, plan.prompts, plan.tokens, 1));
  Consistency result{.tokens = plan.tokens};
  for (const std::int64_t batch : plan.batches)
    for (int repeat = 0; repeat < plan.repeats; ++repeat) {
      RL_ASSIGN(const auto outputs, greedy(candidate, plan.prompts, plan.tokens, batch));
      for (std::size_t prompt = 0; prompt < outputs.size(); ++prompt) {
        Output output{.batch = batch, .repeat = repeat, .prompt = prompt};
        const auto [e, o] = std::ranges::mismatch(expected[prompt], outputs[prompt]);
        if (e != expected[prompt].end()) output.differs_at = e - expected[prompt].begin();
        result.outputs.push_back(output);
      }
    }
  return result;
}

}  // namespace rl::quality
