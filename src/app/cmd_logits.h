#pragma once
// `redline logits`: the logits of given token ids as a file, to compare with another implementation.

#include <string>

#include "base/result.h"
#include "ops/catalog.h"

namespace rl::app {

struct LogitsOptions {
  std::string model;
  std::string ids_file;  // token ids between white space
  std::string out;       // safetensors file: tensor `logits` [tokens, vocab] float32
  std::string format = "fp32";
};

// Errors: usage; those of loading; io; invalid_input with byte offset for a token that is not a number or not in the
// vocabulary, for an empty file, and for more tokens than the model has positions. Nothing is written then.
Status cmd_logits(const LogitsOptions& options, const ops::Backend& backend);

}  // namespace rl::app
