#include "app/cmd_logits.h"

#include <charconv>

#include "app/open_model.h"
#include "base/file.h"
#include "engine/engine.h"
#include "model/model.h"
#include "model/safetensors_writer.h"

namespace rl::app {
namespace {

constexpr std::int64_t kMaxIdsBytes = 64 << 20;

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

Result<std::vector<TokenId>> read_ids(const std::string& path, const model::ModelConfig& config) {
  RL_ASSIGN(const FileView file, read_file(path, kMaxIdsBytes));
  const std::string_view text = file.text();
  std::vector<TokenId> ids;
  for (std::size_t at = 0; at < text.size();) {
    if (is_space(text[at])) {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < text.size() && !is_space(text[end])) ++end;
    const std::string_view word = text.substr(at, end - at);
    std::int64_t id = -1;
    const auto [stop, code] = std::from_chars(word.data(), word.data() + word.size(), id);
    const bool number = code == std::errc() && stop == word.data() + word.size();
    if (!number || id < 0 || id >= config.vocab)
      return Error{.kind = ErrorKind::invalid_input,
                   .what = number ? "token id outside the vocabulary" : "not a token id",
                   .rule = number ? "logits.token_id" : "logits.ids_file",
                   .file = path,
                   .offset = static_cast<std::int64_t>(at),
                   .expected = fmt::format("an integer from 0 to {}", config.vocab - 1),
                   .found = "'" + std::string(word.substr(0, 40)) + "'"};
    ids.push_back(static_cast<TokenId>(id));
    at = end;
  }
  if (ids.empty() || std::ssize(ids) > config.max_positions)
    return Error{.kind = ErrorKind::invalid_input,
                 .what = ids.empty() ? "the file holds no token ids" : "more tokens than the model has positions",
                 .rule = ids.empty() ? "logits.empty" : "logits.length",
                 .file = path,
                 .expected = fmt::format("1 to {} token ids between white space", config.max_positions),
                 .found = std::to_string(ids.size())};
  return ids;
}

}  // namespace

Status cmd_logits(const LogitsOptions& options, const ops::Backend& backend) {
  RL_ASSIGN(const engine::NumberFormat format, engine::format_from(options.format));
  RL_ASSIGN(const model::ModelSource source, open_model(options.model));
  RL_ASSIGN(const std::vector<TokenId> ids, read_ids(options.ids_file, source.config));
  RL_ASSIGN(const std::unique_ptr<engine::Engine> engine,
            engine::Engine::make(source, backend, backend.device->memory(),
                                 {.precision = format.precision,
                                  .weights = format.weights,
                                  .max_context = std::max<std::int64_t>(2, std::ssize(ids)),
                                  .max_seqs = 1}));
  RL_ASSIGN(
      model::SafetensorsWriter writer,
      model::SafetensorsWriter::create(
          options.out, {{.name = "logits", .dtype = DType::f32, .shape = {std::ssize(ids), source.config.vocab}}}));
  RL_TRY(engine->score(ids, [&](std::int64_t, const TensorRef& logits) {
    return writer.write({static_cast<const std::byte*>(logits.data), static_cast<std::size_t>(logits.elements()) * 4});
  }));
  return writer.commit();
}

}  // namespace rl::app
