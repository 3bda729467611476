#include "engine/text.h"

#include "base/clock.h"

namespace rl::engine {

TextStream::TextStream(const model::Tokenizer& tokenizer, std::vector<std::string> stop_strings)
    : decoder_(tokenizer, /*skip_special_tokens=*/true), filter_(std::move(stop_strings)) {}

std::string TextStream::push(const TokenEvent& event) {
  std::string text;
  if (event.token >= 0 && event.finished != FinishReason::stop) text = filter_.push(decoder_.push(event.token));
  if (event.finished) {
    text += filter_.push(decoder_.finish());
    text += filter_.finish();
  }
  return text;
}

double decode_bytes(const Engine& engine, double context) {
  const auto window = static_cast<double>(engine.config().sliding_window);
  if (window > 0) context = std::min(context, window);
  return static_cast<double>(engine.weight_bytes_per_token().count) +
         context * static_cast<double>(engine.kv_bytes_per_token().count);
}

namespace {

// Times of a request's tokens, folded into its figures.
struct Timeline {
  Seconds begin, first, last;
  std::int64_t tokens = 0;

  void add(Seconds time) {
    if (tokens++ == 0) first = time;
    last = time;
  }

  GenerationStats stats(const Engine& engine, std::int64_t prompt_tokens) const {
    GenerationStats stats{.prompt_tokens = prompt_tokens, .generated_tokens = tokens};
    if (tokens > 0) {
      stats.ttft = first - begin;
      stats.prefill_tokens_per_second = static_cast<double>(prompt_tokens) / stats.ttft.count;
      stats.decode = last - first;
    }
    if (tokens > 1) {
      const auto steps = static_cast<double>(tokens - 1);
      stats.tpot = Seconds{stats.decode.count / steps};
      stats.tokens_per_second = steps / stats.decode.count;
    }
    // Decode step i = 1 .. n-1 sees prompt + i tokens; a window bends this line, so it is summed.
    double bytes = 0;
    const std::int64_t steps = std::max<std::int64_t>(tokens - 1, 1);
    for (std::int64_t i = 1; i <= steps; ++i) bytes += decode_bytes(engine, static_cast<double>(prompt_tokens + i));
    stats.bytes_per_token = {std::llround(bytes / static_cast<double>(steps))};
    return stats;
  }
};

}  // namespace

Result<TextResult> TextGenerator::generate(const TextRequest& request,
                                           const std::function<bool(std::string_view)>& on_text) {
  RL_CHECK_MSG(engine_.idle(), "generate() needs an idle engine");
  Timeline timeline{.begin = monotonic_now()};
  for (const std::string& stop : request.stop)
    if (stop.empty())
      return Error{.kind = ErrorKind::invalid_input, .what = "a stop string is empty", .rule = "request.stop"};
  TextResult result;
  RL_ASSIGN(result.prompt_ids, encoder_.encode(request.prompt));
  RL_ASSIGN(const RequestId id,
            engine_.submit({.prompt = result.prompt_ids,
                            .sampling = request.sampling,
                            .max_tokens = request.max_tokens,
                            .stop_ids = request.ignore_eos ? std::vector<TokenId>() : engine_.config().eos}));
  TextStream stream(tokenizer_, request.stop);
  bool wanted = true, done = false;
  const auto take = [&](const TokenEvent& event) {
    if (done) return;
    if (event.token >= 0) {
      timeline.add(event.time);
      result.ids.push_back(event.token);
    }
    if (event.finished) result.finish = *event.finished, done = true;
    const std::string text = stream.push(event);
    result.text += text;
    if (!text.empty()) wanted = on_text(text);
    if (stream.stopped()) result.finish = FinishReason::stop, done = true;
    if (!wanted && !done) result.finish = FinishReason::cancelled, done = true;
    if (done && !event.finished) engine_.cancel(id);
  };
  // Until the engine has taken notice of a cancellation too, so that it is left idle.
  while (!engine_.idle()) {
    auto events = engine_.step();
    if (!events) {
      engine_.cancel(id);
      return std::move(events).error();
    }
    for (const TokenEvent& event : *events)
      if (event.request == id) take(event);
  }
  if (result.finish == FinishReason::error)
    return Error{.kind = ErrorKind::internal,
                 .what = fmt::format("the model's logits are not numbers after {} tokens", result.ids.size()),
                 .rule = "generate.nan_logits",
                 .hint = "the weights may hold NaN or overflow at this precision: try --precision fp32"};
  result.stats = timeline.stats(engine_, std::ssize(result.prompt_ids));
  return result;
}

}  // namespace rl::engine
