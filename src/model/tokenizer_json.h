#pragma once
// Reading the parts of tokenizer.json. Each function takes the value of one top-level field, null included, and refuses
// by name what it does not implement (unsupported) or what contradicts the format (invalid_input).

#include <memory>
#include <vector>

#include "model/json.h"
#include "model/tokenizer_impl.h"

namespace rl::model {

Result<Bpe> read_bpe(const json::Value& model);
Result<std::vector<std::unique_ptr<Normalizer>>> read_normalizers(const json::Value& normalizer);
Result<std::vector<std::unique_ptr<PreTokenizer>>> read_pretokenizers(const json::Value& pre_tokenizer);
Result<std::vector<DecodeStep>> read_decoder(const json::Value& decoder);

// Fields. Null counts as absent.
Result<bool> read_flag(const json::Value& object, std::string_view key, bool otherwise);
Result<std::string_view> read_string(const json::Value& object, std::string_view key);
Result<std::string_view> read_type(const json::Value& object);

// `inner`, which knows nothing of the file, as an error about this value.
Error locate(const json::Value& value, const Error& inner);

// The parts of a field in their order: itself, or those of nested {"type": "Sequence", <list_key>: [...]}. Bounds their
// number, so that a small file cannot ask for much work.
Result<std::vector<json::Value>> flatten(const json::Value& value, std::string_view list_key);

}  // namespace rl::model
