#include "quality/text.h"

#include "engine/prompt.h"
#include "model/embedded_demo.h"
#include "model/tokenizer.h"

namespace rl::quality {
namespace {

constexpr std::int64_t kMaxTextBytes = std::int64_t{256} << 20;

}  // namespace

Result<Text> read_text(const model::ModelSource& source, const std::string& file) {
  if (source.synthetic)
    return Error{.kind = ErrorKind::unsupported,
                 .what = "the weights of " + source.name + " are random numbers: its quality would mean nothing",
                 .rule = "quality.synthetic",
                 .hint = "give a trained model with -m"};
  RL_ASSIGN(const model::Tokenizer tokenizer, model::Tokenizer::load(*source.files));
  RL_ASSIGN(const engine::PromptEncoder encoder,
            engine::PromptEncoder::make(tokenizer, source.files.get(), source.config));
  RL_ASSIGN(const FileView text,
            file.empty() ? model::embedded_demo_files()->open("eval.txt") : read_file(file, kMaxTextBytes));
  // Where the tokenizer's template puts the begin token itself, the config names it.
  Text result{.name = text.name(), .bos = encoder.bos() ? encoder.bos() : source.config.bos};
  auto ids = tokenizer.encode(text.text(), false);
  if (!ids) {
    Error error = ids.error();
    error.file = text.name();
    return error;
  }
  result.ids = *std::move(ids);
  return result;
}

}  // namespace rl::quality
