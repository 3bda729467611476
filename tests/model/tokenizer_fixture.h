#pragma once
// Tokenizers of the fixtures, and tokenizer.json texts made up for a test.

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <nlohmann/json.hpp>

#include "check/result.h"
#include "model/tokenizer.h"

namespace rl::model::test {

using Json = nlohmann::json;

inline const std::vector<std::string>& fixture_names() {
  static const std::vector<std::string> names = {"gpt2", "llama3", "qwen2", "spm-prepend", "spm-metaspace"};
  return names;
}

inline std::filesystem::path source_dir() { return REDLINE_SOURCE_DIR; }
inline std::filesystem::path fixture_dir(const std::string& name) {
  return name == "demo" ? source_dir() / "models/demo" : source_dir() / "tests/data/tokenizers" / name;
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  RL_CHECK_MSG(in.good(), path.string());
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}
inline Json read_json(const std::filesystem::path& path) { return Json::parse(read_text(path)); }

inline Result<Tokenizer> load_fixture(const std::string& name) {
  return Tokenizer::load(*folder_files(fixture_dir(name)));
}

// A folder that holds one tokenizer.json, in memory.
class OneFile final : public FileSet {
 public:
  explicit OneFile(std::string text) : text_(std::move(text)) {}
  std::string name() const override { return "made-up"; }
  bool exists(std::string_view file) const override { return file == "tokenizer.json"; }
  Result<FileView> open(std::string_view file) const override {
    RL_CHECK(file == "tokenizer.json");
    return FileView::of_string("made-up/tokenizer.json", text_);
  }

 private:
  std::string text_;
};
inline Result<Tokenizer> load_text(std::string text) { return Tokenizer::load(OneFile(std::move(text))); }
inline Result<Tokenizer> load_json(const Json& json) { return load_text(json.dump()); }

// The smallest useful file: characters a to e and space, merges ab, abc, de; no stages.
inline Json small_tokenizer() {
  return Json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, " ": 5, "ab": 6, "abc": 7, "de": 8},
              "merges": ["a b", "ab c", ["d", "e"]]}})");
}

}  // namespace rl::model::test
