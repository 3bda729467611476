#include "app/cmd_tokenize.h"

#include <cerrno>
#include <vector>

#include <fmt/core.h>
#include <fmt/format.h>

#include "base/file.h"
#include "base/json_text.h"
#include "model/json.h"
#include "model/model.h"
#include "model/tokenizer.h"

namespace rl::app {
namespace {

constexpr std::int64_t kMaxFileBytes = std::int64_t{1} << 30;

struct Case {
  std::string text;
  bool add_special_tokens = true;
  std::string file;   // where the text comes from, for messages
  std::string field;  // "[3].text"
};

Result<std::vector<Case>> read_cases(const TokenizeOptions& options) {
  namespace json = model::json;
  RL_ASSIGN(const FileView file, read_file(options.cases, kMaxFileBytes));
  RL_ASSIGN(const json::Document document, json::Document::parse(file));
  const json::Value root = document.root();
  RL_TRY(root.expect(json::Type::array));
  std::vector<Case> cases;
  cases.reserve(static_cast<std::size_t>(root.size()));
  for (const auto [key, value] : root.items()) {
    Case one{.add_special_tokens = options.add_special_tokens, .file = options.cases};
    RL_ASSIGN(const json::Value text, value.at("text"));
    RL_ASSIGN(one.text, text.string());
    one.field = fmt::format("[{}].text", cases.size());
    if (const auto flag = value.get("add_special_tokens")) {
      RL_ASSIGN(one.add_special_tokens, flag->boolean());
    }
    cases.push_back(std::move(one));
  }
  return cases;
}

Result<std::vector<Case>> gather(const TokenizeOptions& options) {
  const int sources = int{options.has_text} + int{!options.file.empty()} + int{!options.cases.empty()};
  if (sources != 1)
    return Error{.kind = ErrorKind::usage,
                 .what = sources == 0 ? "nothing to tokenise" : "more than one thing to tokenise",
                 .rule = "tokenize.source",
                 .expected = "one of: a text, --file FILE, --cases CASES.json",
                 .hint = "redline tokenize \"some text\""};
  if (!options.cases.empty()) return read_cases(options);
  Case one{.text = options.text, .add_special_tokens = options.add_special_tokens};
  if (!options.file.empty()) {
    RL_ASSIGN(const FileView file, read_file(options.file, kMaxFileBytes));
    one.text = file.text();
    one.file = options.file;
  }
  return std::vector<Case>{std::move(one)};
}

std::string as_json(const std::vector<TokenId>& ids, const std::string& decoded) {
  return fmt::format("{{\"ids\":[{}],\"decoded\":{}}}", fmt::join(ids, ","), json_string(decoded));
}

std::string as_text(const model::Tokenizer& tokenizer, const std::vector<TokenId>& ids, const std::string& decoded) {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (TokenId id : ids) tokens.push_back(json_string(tokenizer.token_of(id)));
  return fmt::format("ids     {}\ntokens  {}\ntext    {}\ncount   {}\n", fmt::join(ids, " "), fmt::join(tokens, " "),
                     json_string(decoded), ids.size());
}

}  // namespace

Status cmd_tokenize(const TokenizeOptions& options, std::FILE* out) {
  RL_ASSIGN(const std::vector<Case> cases, gather(options));
  RL_ASSIGN(const std::unique_ptr<FileSet> files, model::find_files(options.model));
  RL_ASSIGN(const model::Tokenizer tokenizer, model::Tokenizer::load(*files));
  std::string text = options.json ? "[" : "";
  for (std::size_t i = 0; i < cases.size(); ++i) {
    auto ids = tokenizer.encode(cases[i].text, cases[i].add_special_tokens);
    if (!ids) {
      ids.error().file = cases[i].file;
      ids.error().field = cases[i].field;
      return std::move(ids).error();
    }
    const std::string decoded = tokenizer.decode(*ids, false);
    if (i > 0) text += options.json ? ",\n " : "\n";
    text += options.json ? as_json(*ids, decoded) : as_text(tokenizer, *ids, decoded);
  }
  if (options.json) text += "]\n";
  if (std::fwrite(text.data(), 1, text.size(), out) != text.size() || std::fflush(out) != 0)
    return Error{.kind = ErrorKind::io,
                 .what = "the output could not be written",
                 .rule = "tokenize.output",
                 .native_code = errno};
  return ok();
}

}  // namespace rl::app
