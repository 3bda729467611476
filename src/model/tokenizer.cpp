#include "model/tokenizer.h"

#include <fmt/core.h>

#include "model/tokenizer_impl.h"
#include "model/tokenizer_unicode.h"

namespace rl::model {
namespace {

constexpr const char* kFile = "tokenizer.json";

// The string that stands for an id in decoding; nullopt for ids that name no token and for skipped ones. A special
// token whose content the normaliser changes is not skipped: the library looks for the changed content among the
// special ones.
std::optional<std::string_view> decoded_token(const TokenizerParts& parts, TokenId id, bool skip_special_tokens) {
  if (const AddedToken* token = parts.added.find(id)) {
    if (skip_special_tokens && token->special && token->normalized_content == token->content) return std::nullopt;
    return token->normalized_content;
  }
  if (!parts.bpe.vocabulary().has(id)) return std::nullopt;
  return parts.bpe.vocabulary().token(id);
}

}  // namespace

Result<Tokenizer> Tokenizer::load(const FileSet& files) {
  if (!files.exists(kFile)) {
    const bool other = files.exists("tokenizer.model") || files.exists("vocab.json");
    return Error{.kind = ErrorKind::io,
                 .what = "the model has no tokenizer.json",
                 .rule = "tokenizer.missing",
                 .file = files.name() + "/" + kFile,
                 .hint = other ? "the folder has a tokenizer of another form; AutoTokenizer.from_pretrained(folder)"
                                 ".save_pretrained(folder) of the Python package `transformers` writes tokenizer.json"
                               : "copy tokenizer.json of the same model into the folder"};
  }
  RL_ASSIGN(const FileView file, files.open(kFile));
  auto impl = std::make_unique<Impl>();
  RL_ASSIGN(static_cast<TokenizerParts&>(*impl), read_tokenizer(file));
  return Tokenizer(std::move(impl));
}

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<std::vector<TokenId>> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  if (const std::size_t bad = find_invalid_utf8(text); bad != std::string_view::npos)
    return Error{.kind = ErrorKind::invalid_input,
                 .what = "the text is not UTF-8",
                 .rule = "tokenizer.text_utf8",
                 .offset = static_cast<std::int64_t>(bad),
                 .expected = "UTF-8",
                 .found = fmt::format("byte 0x{:02X}", static_cast<unsigned char>(text[bad]))};
  if (text.size() >= kMaxTextBytes)
    return Error{.kind = ErrorKind::unsupported,
                 .what = "the text is too long to be tokenised at once",
                 .rule = "tokenizer.text_length",
                 .expected = fmt::format("less than {} bytes", kMaxTextBytes),
                 .found = fmt::format("{} bytes", text.size())};
  std::vector<TokenId> ids;
  for (const TemplatePart& part : impl_->post) {
    if (part.is_text)
      RL_TRY(encode_text(*impl_, text, ids));
    else if (add_special_tokens)
      ids.insert(ids.end(), part.ids.begin(), part.ids.end());
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  DecodeChain chain(impl_->decoder);
  for (TokenId id : ids)
    if (const auto token = decoded_token(*impl_, id, skip_special_tokens)) chain.push(*token);
  chain.finish();
  return chain.take();
}

std::int64_t Tokenizer::vocab_size() const { return impl_->end_id; }

std::optional<TokenId> Tokenizer::id_of(std::string_view token) const {
  if (const AddedToken* added = impl_->added.find(token)) return added->id;
  return impl_->bpe.vocabulary().find(token);
}

std::string_view Tokenizer::token_of(TokenId id) const {
  if (const AddedToken* added = impl_->added.find(id)) return added->content;
  return impl_->bpe.vocabulary().token(id);
}

bool Tokenizer::is_special(TokenId id) const {
  const AddedToken* added = impl_->added.find(id);
  return added != nullptr && added->special;
}

const std::string& Tokenizer::fingerprint() const { return impl_->fingerprint; }

struct StreamDecoder::State {
  const TokenizerParts& parts;
  bool skip_special_tokens;
  DecodeChain chain;
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : state_(new State{*tokenizer.impl_, skip_special_tokens, DecodeChain(tokenizer.impl_->decoder)}) {}
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;
StreamDecoder::~StreamDecoder() = default;

std::string StreamDecoder::push(TokenId id) {
  if (const auto token = decoded_token(state_->parts, id, state_->skip_special_tokens)) state_->chain.push(*token);
  return state_->chain.take();
}

std::string StreamDecoder::finish() {
  state_->chain.finish();
  std::string text = state_->chain.take();
  state_->chain = DecodeChain(state_->parts.decoder);
  return text;
}

}  // namespace rl::model
