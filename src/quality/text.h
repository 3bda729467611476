#pragma once
// The text that quality is measured on, as the model's tokens.

#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/model.h"

namespace rl::quality {

struct Text {
  std::string name;  // of the file
  std::vector<TokenId> ids;
  std::optional<TokenId> bos;  // what windows begin with
};

// Reads and encodes a UTF-8 text; an empty `file` is the demo model's held-out text. Errors: unsupported for a
// synthetic model (random weights have no quality); io; those of the tokenizer.
Result<Text> read_text(const model::ModelSource& source, const std::string& file);

}  // namespace rl::quality
