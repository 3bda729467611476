#pragma once
// Tokenizer: tokenizer.json of the Hugging Face form. Encoding and decoding give what the `tokenizers` library gives
// for the same file, in time linear in the text. Thread-safe after loading.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/ids.h"
#include "base/result.h"

namespace rl::model {

class Tokenizer {
 public:
  // Reads tokenizer.json. Errors: invalid_input with rule, field and offset; unsupported by name for a normaliser,
  // pre-tokenizer, model, post-processor or decoder that is not implemented.
  static Result<Tokenizer> load(const FileSet& files);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // text: UTF-8. Errors: invalid_input if it is not.
  Result<std::vector<TokenId>> encode(std::string_view text, bool add_special_tokens) const;
  std::string decode(std::span<const TokenId> ids, bool skip_special_tokens) const;

  std::int64_t vocab_size() const;  // largest id + 1
  std::optional<TokenId> id_of(std::string_view token) const;
  std::string_view token_of(TokenId id) const;  // "" beyond the vocabulary
  bool is_special(TokenId id) const;
  const std::string& fingerprint() const;  // SHA-256 of tokenizer.json, hexadecimal

 private:
  friend class StreamDecoder;
  struct Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

// Decodes token by token: the pieces joined are exactly decode() of all ids, and no piece ends inside a UTF-8 sequence.
// A piece comes as soon as no later token can change it: bytes of an unfinished sequence wait, with byte fallback until
// the run of byte tokens ends. The tokenizer must outlive the decoder; it may be moved meanwhile.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens);
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;
  ~StreamDecoder();

  std::string push(TokenId id);  // text that is now certain; may be empty
  std::string finish();          // what was held back; the decoder is then as new

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rl::model
