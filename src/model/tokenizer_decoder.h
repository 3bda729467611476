#pragma once
// Decoders of tokenizer.json, token by token: whole texts and streams take the same path, so that they cannot differ.

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/pretokenizer_regex.h"

namespace rl::model {

// What a file says, in its order; nested sequences are flattened.
namespace decode_step {
struct ByteLevel {};
struct ByteFallback {};
struct Fuse {};
struct ReplaceString {
  std::string pattern, content;
};
struct ReplaceRegex {
  std::shared_ptr<const Regex> pattern;
  std::string content;
};
struct Strip {
  std::string content;  // one character
  std::int64_t start = 0, stop = 0;
};
struct Metaspace {
  std::string replacement;  // one character
  bool drop_in_first = true;
};
// No decoder in the file: tokens with a space between.
struct Spaces {};
}  // namespace decode_step

using DecodeStep =
    std::variant<decode_step::ByteLevel, decode_step::ByteFallback, decode_step::Fuse, decode_step::ReplaceString,
                 decode_step::ReplaceRegex, decode_step::Strip, decode_step::Metaspace, decode_step::Spaces>;

// A decoding under way.
class DecodeChain {
 public:
  explicit DecodeChain(const std::vector<DecodeStep>& steps);
  ~DecodeChain();
  DecodeChain(DecodeChain&&) noexcept;
  DecodeChain& operator=(DecodeChain&&) noexcept;

  void push(std::string_view token);
  void finish();
  // The text that is certain since the last call: whole UTF-8 sequences.
  std::string take();

  // One decoder of the chain. A token arrives as texts and an end; a step may join or cut them.
  class Step {
   public:
    virtual ~Step() = default;
    virtual void text(std::string_view part) = 0;
    virtual void end_token() = 0;
    virtual void finish() = 0;
  };

 private:
  std::vector<std::unique_ptr<Step>> steps_;  // each knows the next; the last collects
  std::unique_ptr<std::string> out_;
};

}  // namespace rl::model
