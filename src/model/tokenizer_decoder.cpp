#include "model/tokenizer_decoder.h"

#include <algorithm>

#include "model/bpe.h"
#include "model/tokenizer_unicode.h"

namespace rl::model {
namespace {

using Step = DecodeChain::Step;

class Collect final : public Step {
 public:
  explicit Collect(std::string& out) : out_(out) {}
  void text(std::string_view part) override { out_.append(part); }
  void end_token() override {}
  void finish() override {}

 private:
  std::string& out_;
};

// A step that works on whole tokens.
class TokenStep : public Step {
 public:
  explicit TokenStep(Step& next) : next_(next) {}
  void text(std::string_view part) final { token_.append(part); }
  void end_token() final {
    token(token_);
    token_.clear();
  }

 protected:
  virtual void token(std::string_view token) = 0;
  void emit(std::string_view token) {
    next_.text(token);
    next_.end_token();
  }
  Step& next_;

 private:
  std::string token_;
};

// Joins all tokens to bytes and reads them as UTF-8. A token with a character outside the byte alphabet stands for its
// own bytes, whole.
class ByteLevelStep final : public TokenStep {
 public:
  using TokenStep::TokenStep;
  void finish() override {
    if (!bytes_.empty()) next_.text(kReplacementCharacter);  // one sequence that the end has cut
    next_.end_token();
    next_.finish();
  }

 private:
  void token(std::string_view token) override {
    const std::size_t before = bytes_.size();
    std::size_t length = 0;
    for (std::size_t i = 0; i < token.size(); i += length) {
      const char32_t code = code_point(token, i, length);
      const int byte = code < byte_alphabet().byte.size() ? byte_alphabet().byte[code] : -1;
      if (byte < 0) {
        bytes_.resize(before);
        bytes_.append(token);
        break;
      }
      bytes_.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
    }
    std::size_t at = 0;
    std::string text;
    while (at < bytes_.size()) {
      const Utf8Step step = utf8_step(std::string_view(bytes_).substr(at));
      if (step.kind == Utf8Step::Kind::incomplete) break;
      if (step.kind == Utf8Step::Kind::valid)
        text.append(bytes_, at, step.bytes);
      else
        text.append(kReplacementCharacter);
      at += step.bytes;
    }
    bytes_.erase(0, at);
    if (!text.empty()) next_.text(text);
  }

  std::string bytes_;  // not read yet: the beginning of a sequence
};

// Runs of "<0xE2>" tokens become the text they spell; a run that is not UTF-8 as a whole, one U+FFFD for each byte.
class ByteFallbackStep final : public TokenStep {
 public:
  using TokenStep::TokenStep;
  void finish() override {
    put_run();
    next_.finish();
  }

 private:
  static int byte_of(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return -1;
    int byte = 0;
    for (char c : token.substr(3, 2)) {
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                               : -1;
      if (digit < 0) return -1;
      byte = byte * 16 + digit;
    }
    return byte;
  }
  void token(std::string_view token) override {
    if (const int byte = byte_of(token); byte >= 0) {
      run_.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
      return;
    }
    put_run();
    emit(token);
  }
  void put_run() {
    if (run_.empty()) return;
    if (find_invalid_utf8(run_) == std::string_view::npos)
      emit(run_);
    else
      for (std::size_t i = 0; i < run_.size(); ++i) emit(kReplacementCharacter);
    run_.clear();
  }

  std::string run_;
};

class FuseStep final : public Step {
 public:
  explicit FuseStep(Step& next) : next_(next) {}
  void text(std::string_view part) override { next_.text(part); }
  void end_token() override {}
  void finish() override {
    next_.end_token();
    next_.finish();
  }

 private:
  Step& next_;
};

class ReplaceStringStep final : public Step {
 public:
  ReplaceStringStep(Step& next, const decode_step::ReplaceString& what) : next_(next), what_(what) {}
  void text(std::string_view part) override {
    held_.append(part);
    std::string out;
    std::size_t at = 0;
    for (std::size_t found = held_.find(what_.pattern); found != std::string::npos;
         found = held_.find(what_.pattern, at)) {
      out.append(held_, at, found - at).append(what_.content);
      at = found + what_.pattern.size();
    }
    // The longest end of what is left that may begin a match stays, from a character's first byte on.
    std::size_t keep = std::min(what_.pattern.size() - 1, held_.size() - at);
    while (keep > 0 && !what_.pattern.starts_with(std::string_view(held_).substr(held_.size() - keep))) --keep;
    out.append(held_, at, held_.size() - keep - at);
    held_.erase(0, held_.size() - keep);
    if (!out.empty()) next_.text(out);
  }
  void end_token() override {
    if (!held_.empty()) next_.text(held_);
    held_.clear();
    next_.end_token();
  }
  void finish() override { next_.finish(); }

 private:
  Step& next_;
  const decode_step::ReplaceString& what_;
  std::string held_;
};

class ReplaceRegexStep final : public TokenStep {
 public:
  ReplaceRegexStep(Step& next, const decode_step::ReplaceRegex& what)
      : TokenStep(next), finder_(*what.pattern), content_(what.content) {}
  void finish() override { next_.finish(); }

 private:
  void token(std::string_view token) override {
    std::string out;
    std::size_t at = 0;
    Regex::Match match;
    finder_.start(token);
    while (!token.empty() && finder_.next(match).value_or(false)) {  // out of steps: the rest stays as it is
      out.append(token.substr(at, match.begin - at)).append(content_);
      at = match.end;
    }
    emit(out.append(token.substr(at)));
  }

  Regex::Finder finder_;
  std::string_view content_;
};

// Takes up to `start` characters from the beginning of each token and up to `stop` from its end, if they are `content`.
class StripStep final : public Step {
 public:
  StripStep(Step& next, const decode_step::Strip& what) : next_(next), what_(what) {}
  void text(std::string_view part) override {
    for (; at_start_ && taken_ < what_.start && part.starts_with(what_.content); ++taken_)
      part.remove_prefix(what_.content.size());
    if (part.empty()) return;
    at_start_ = false;
    if (what_.stop == 0) return next_.text(part);
    held_.append(part);
    std::size_t tail = held_.size();
    for (std::int64_t i = 0; i < what_.stop && std::string_view(held_).substr(0, tail).ends_with(what_.content); ++i)
      tail -= what_.content.size();
    if (tail > 0) next_.text(std::string_view(held_).substr(0, tail));
    held_.erase(0, tail);
  }
  void end_token() override {
    held_.clear();
    at_start_ = true;
    taken_ = 0;
    next_.end_token();
  }
  void finish() override { next_.finish(); }

 private:
  Step& next_;
  const decode_step::Strip& what_;
  bool at_start_ = true;
  std::int64_t taken_ = 0;
  std::string held_;  // characters that go if the token ends here
};

class MetaspaceStep final : public TokenStep {
 public:
  MetaspaceStep(Step& next, const decode_step::Metaspace& what) : TokenStep(next), what_(what) {}
  void finish() override { next_.finish(); }

 private:
  void token(std::string_view token) override {
    std::string out;
    std::size_t at = 0;
    for (std::size_t found = token.find(what_.replacement); found != std::string_view::npos;
         found = token.find(what_.replacement, at)) {
      out.append(token.substr(at, found - at));
      if (!first_ || !what_.drop_in_first) out += ' ';
      at = found + what_.replacement.size();
    }
    first_ = false;
    emit(out.append(token.substr(at)));
  }

  const decode_step::Metaspace& what_;
  bool first_ = true;
};

class SpacesStep final : public Step {
 public:
  explicit SpacesStep(Step& next) : next_(next) {}
  void text(std::string_view part) override {
    begin();
    next_.text(part);
  }
  void end_token() override {
    begin();
    begun_ = false;
    next_.end_token();
  }
  void finish() override { next_.finish(); }

 private:
  void begin() {
    if (begun_) return;
    if (!first_) next_.text(" ");
    first_ = false;
    begun_ = true;
  }
  Step& next_;
  bool first_ = true, begun_ = false;
};

struct MakeStep {
  Step& next;
  std::unique_ptr<Step> operator()(const decode_step::ByteLevel&) const {
    return std::make_unique<ByteLevelStep>(next);
  }
  std::unique_ptr<Step> operator()(const decode_step::ByteFallback&) const {
    return std::make_unique<ByteFallbackStep>(next);
  }
  std::unique_ptr<Step> operator()(const decode_step::Fuse&) const { return std::make_unique<FuseStep>(next); }
  std::unique_ptr<Step> operator()(const decode_step::ReplaceString& what) const {
    return std::make_unique<ReplaceStringStep>(next, what);
  }
  std::unique_ptr<Step> operator()(const decode_step::ReplaceRegex& what) const {
    return std::make_unique<ReplaceRegexStep>(next, what);
  }
  std::unique_ptr<Step> operator()(const decode_step::Strip& what) const {
    return std::make_unique<StripStep>(next, what);
  }
  std::unique_ptr<Step> operator()(const decode_step::Metaspace& what) const {
    return std::make_unique<MetaspaceStep>(next, what);
  }
  std::unique_ptr<Step> operator()(const decode_step::Spaces&) const { return std::make_unique<SpacesStep>(next); }
};

}  // namespace

DecodeChain::DecodeChain(const std::vector<DecodeStep>& steps) : out_(std::make_unique<std::string>()) {
  steps_.push_back(std::make_unique<Collect>(*out_));
  for (auto step = steps.rbegin(); step != steps.rend(); ++step)
    steps_.push_back(std::visit(MakeStep{*steps_.back()}, *step));
}
DecodeChain::~DecodeChain() = default;
DecodeChain::DecodeChain(DecodeChain&&) noexcept = default;
DecodeChain& DecodeChain::operator=(DecodeChain&&) noexcept = default;

void DecodeChain::push(std::string_view token) {
  steps_.back()->text(token);
  steps_.back()->end_token();
}
void DecodeChain::finish() { steps_.back()->finish(); }

std::string DecodeChain::take() { return std::exchange(*out_, {}); }

}  // namespace rl::model
