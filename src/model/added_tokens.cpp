#include "model/added_tokens.h"

#include <algorithm>

#include <fmt/core.h>

#include "model/tokenizer_unicode.h"

namespace rl::model {

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    by_id_.emplace(tokens_[i].id, i);
    by_content_.emplace(tokens_[i].content, i);
    const Kind kind = tokens_[i].normalized ? Kind::normalized : Kind::raw;
    matchers_[static_cast<std::size_t>(kind)].patterns.push_back(i);
  }
  for (Matcher& matcher : matchers_) {
    std::sort(matcher.patterns.begin(), matcher.patterns.end(),
              [&](std::size_t a, std::size_t b) { return wanted(a) < wanted(b); });
    for (std::size_t pattern : matcher.patterns) ++matcher.first[static_cast<unsigned char>(wanted(pattern)[0]) + 1u];
    for (std::size_t b = 1; b < matcher.first.size(); ++b) matcher.first[b] += matcher.first[b - 1];
  }
  if (std::any_of(tokens_.begin(), tokens_.end(), [](const AddedToken& token) { return token.single_word; })) {
    auto word = Regex::compile(fmt::format("\\A[{}]", kRustWordCharacters));
    RL_CHECK_MSG(word.has_value(), word.error().what);
    word_ = *std::move(word);
  }
}

const AddedToken* AddedTokens::find(TokenId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}
const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto found = by_content_.find(std::string(content));
  return found == by_content_.end() ? nullptr : &tokens_[found->second];
}

const AddedToken* AddedTokens::longest_at(const Matcher& matcher, std::string_view text, std::size_t at) const {
  const auto byte = static_cast<unsigned char>(text[at]);
  std::size_t low = matcher.first[byte], high = matcher.first[byte + 1u];
  const AddedToken* best = nullptr;
  // [low, high): the patterns that agree with the text in their first `depth` bytes; sorted, so the shortest is first.
  for (std::size_t depth = 1; low < high; ++depth) {
    if (wanted(matcher.patterns[low]).size() == depth) best = &tokens_[matcher.patterns[low++]];
    if (at + depth >= text.size()) break;
    const auto next = static_cast<unsigned char>(text[at + depth]);
    const auto begin = matcher.patterns.begin() + static_cast<std::ptrdiff_t>(low);
    const auto end = matcher.patterns.begin() + static_cast<std::ptrdiff_t>(high);
    const auto byte_of = [&](std::size_t pattern) { return static_cast<unsigned char>(wanted(pattern)[depth]); };
    const auto from =
        std::lower_bound(begin, end, next, [&](std::size_t p, unsigned char b) { return byte_of(p) < b; });
    const auto to = std::upper_bound(from, end, next, [&](unsigned char b, std::size_t p) { return b < byte_of(p); });
    low = static_cast<std::size_t>(from - matcher.patterns.begin());
    high = static_cast<std::size_t>(to - matcher.patterns.begin());
  }
  return best;
}

bool AddedTokens::is_word_after(std::string_view text, std::size_t at) const {
  if (at >= text.size()) return false;
  Regex::Finder finder(*word_);
  finder.start(text.substr(at, utf8_length(text[at])));
  Regex::Match match;
  return finder.next(match).value_or(false);
}

bool AddedTokens::is_word_before(std::string_view text, std::size_t at) const {
  if (at == 0) return false;
  std::size_t start = at - 1;
  while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
  return is_word_after(text, start);
}

void AddedTokens::split(std::string_view text, Kind kind, std::vector<Section>& out) const {
  const Matcher& matcher = matchers_[static_cast<std::size_t>(kind)];
  std::size_t plain_from = 0;
  // As AddedVocabulary::find_matches of the library: a match that is refused still uses up its text, and the search
  // goes on right after a match, also inside the white space that the match has taken along.
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const AddedToken* token = matcher.first[byte] == matcher.first[byte + 1u] ? nullptr : longest_at(matcher, text, at);
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at, end = at + token->normalized_content.size();
    at = end;
    if (token->single_word && (is_word_before(text, begin) || is_word_after(text, end))) continue;
    if (token->lstrip && begin > plain_from) begin -= white_space_at_end(text.substr(plain_from, begin - plain_from));
    if (token->rstrip) end += white_space_at_start(text.substr(end));
    if (plain_from < begin) out.push_back({plain_from, begin, -1});
    out.push_back({begin, end, token->id});
    plain_from = end;
  }
  if (plain_from < text.size()) out.push_back({plain_from, text.size(), -1});
}

}  // namespace rl::model
