#pragma once
// Added tokens of tokenizer.json: strings that become one token wherever they occur, before BPE sees the text.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "model/pretokenizer_regex.h"

namespace rl::model {

struct AddedToken {
  TokenId id = -1;
  std::string content;
  std::string normalized_content;  // what is looked for and decoded; equal to content unless `normalized`
  bool single_word = false;        // only where no word character stands on either side
  bool lstrip = false;             // takes the white space before it along
  bool rstrip = false;             // and after it
  bool normalized = false;         // looked for in the normalised text, not in the raw one
  bool special = false;
};

// A stretch of text: of an added token, or plain (id < 0).
struct Section {
  std::size_t begin = 0, end = 0;
  TokenId id = -1;
};

class AddedTokens {
 public:
  AddedTokens() = default;
  // Contents and ids are distinct, contents not empty.
  explicit AddedTokens(std::vector<AddedToken> tokens);

  enum class Kind { raw, normalized };
  // Cuts a text at the tokens of a kind: the leftmost match, and of those the longest. Time: the text's length times
  // the longest content at worst.
  void split(std::string_view text, Kind kind, std::vector<Section>& out) const;

  bool empty(Kind kind) const { return matchers_[static_cast<std::size_t>(kind)].patterns.empty(); }
  const AddedToken* find(TokenId id) const;
  const AddedToken* find(std::string_view content) const;
  const std::vector<AddedToken>& tokens() const { return tokens_; }

 private:
  struct Matcher {
    std::vector<std::size_t> patterns;       // indices into tokens_, sorted by what is looked for
    std::array<std::uint32_t, 257> first{};  // patterns that begin with byte b: [first[b], first[b + 1])
  };
  const std::string& wanted(std::size_t token) const { return tokens_[token].normalized_content; }
  // The longest token at text[at], or null.
  const AddedToken* longest_at(const Matcher& matcher, std::string_view text, std::size_t at) const;
  bool is_word_before(std::string_view text, std::size_t at) const;
  bool is_word_after(std::string_view text, std::size_t at) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<TokenId, std::size_t> by_id_;
  std::unordered_map<std::string, std::size_t> by_content_;
  std::array<Matcher, 2> matchers_;
  std::optional<Regex> word_;  // one word character; made if a token asks for it
};

}  // namespace rl::model
