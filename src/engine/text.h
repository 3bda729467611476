#pragma once
// Generation on the level of text: a prompt in, pieces of text out, stop strings, and the figures of a request.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "engine/prompt.h"
#include "engine/stop_filter.h"
#include "model/tokenizer.h"

namespace rl::engine {

// The text of one request as its tokens arrive: whole UTF-8 sequences only, without special tokens, up to a stop
// string.
class TextStream {
 public:
  TextStream(const model::Tokenizer& tokenizer, std::vector<std::string> stop_strings);

  // Text that is now certain; may be empty. The event that ends a request gives out what was held back; a stop token is
  // not part of the text.
  std::string push(const TokenEvent& event);
  // A stop string is complete: the request has its text, and should be cancelled if it has not ended.
  bool stopped() const { return filter_.stopped(); }

 private:
  model::StreamDecoder decoder_;
  StopFilter filter_;
};

struct TextRequest {
  std::string prompt;
  SamplingParams sampling;
  std::int64_t max_tokens = 128;
  std::vector<std::string> stop;  // strings that end the text and are not part of it
  bool ignore_eos = false;        // go on past the model's end tokens
};

// Figures of one request, measured at the engine. t0: generate() is called, before the prompt is tokenised; t1: the
// first token is there; tn: the last.
struct GenerationStats {
  static constexpr int kFormulas = 1;  // version of the definitions below
  std::int64_t prompt_tokens = 0;
  std::int64_t generated_tokens = 0;                // by token ids, the stop token included
  Seconds ttft;                                     // t1 - t0
  Seconds decode;                                   // tn - t1
  std::optional<Seconds> tpot;                      // (tn - t1) / (n - 1); none for n < 2
  std::optional<double> prefill_tokens_per_second;  // prompt tokens / ttft
  std::optional<double> tokens_per_second;          // 1 / tpot: of decode alone
  Bytes bytes_per_token;  // read by a decode step, on average over this request: weights and the KV cache in use
};

struct TextResult {
  std::string text;
  std::vector<TokenId> prompt_ids, ids;
  FinishReason finish = FinishReason::stop;
  GenerationStats stats;
};

// The bytes a decode step of one sequence reads, at a context of this many tokens (its own included): all weights but
// an untied embedding, and the keys and values in the window.
double decode_bytes(const Engine& engine, double context);

class TextGenerator {
 public:
  // All three must outlive the generator.
  TextGenerator(const model::Tokenizer& tokenizer, const PromptEncoder& encoder, Engine& engine)
      : tokenizer_(tokenizer), encoder_(encoder), engine_(engine) {}

  // Runs one request to its end on an engine that is otherwise idle; on_text gets the text piece by piece (never an
  // empty one) and returns false to cancel. Errors: invalid_input for the prompt, an empty stop string, or parameters;
  // the engine's; internal if the logits were not numbers.
  Result<TextResult> generate(const TextRequest& request, const std::function<bool(std::string_view)>& on_text);

 private:
  const model::Tokenizer& tokenizer_;
  const PromptEncoder& encoder_;
  Engine& engine_;
};

}  // namespace rl::engine
