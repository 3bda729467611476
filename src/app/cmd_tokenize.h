#pragma once
// `redline tokenize`: ids of a text, of a file or of a list of cases, and what the ids decode to.

#include <cstdio>
#include <string>

#include "base/result.h"

namespace rl::app {

struct TokenizeOptions {
  std::string model;  // as find_files takes it; only its tokenizer.json is read
  std::string text;   // with has_text
  std::string file;   // a text
  std::string cases;  // a JSON array of {"text", "add_special_tokens"}
  bool json = false;
  bool has_text = false;
  bool add_special_tokens = true;  // cases may say otherwise, each for itself
};

// Prints, for each text, ids, tokens and what the ids decode to, special tokens included; with json, one array of
// {"ids": [...], "decoded": "..."} and nothing else. Nothing is printed if any text is refused. Errors: usage unless
// exactly one of text, file and cases is given; those of finding and reading the tokenizer and the files; invalid_input
// for a text that is not UTF-8 or a case that is not of the form; io if the output cannot be written.
Status cmd_tokenize(const TokenizeOptions& options, std::FILE* out);

}  // namespace rl::app
