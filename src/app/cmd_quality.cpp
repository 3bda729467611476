#include "app/cmd_quality.h"

#include "app/open_model.h"
#include "base/json_text.h"
#include "engine/prompt.h"
#include "model/embedded_demo.h"
#include "model/model.h"
#include "quality/perplexity.h"
#include "telemetry/host.h"

namespace rl::app {
namespace {

constexpr std::int64_t kMaxTextBytes = std::int64_t{256} << 20;

Result<FileView> read_text(const QualityOptions& options) {
  if (options.text.empty()) return model::embedded_demo_files()->open("eval.txt");
  return read_file(options.text, kMaxTextBytes);
}

}  // namespace

Status cmd_quality(const QualityOptions& options, std::FILE* out) {
  if (options.precision != "bf16" && options.precision != "fp32")
    return Error{.kind = ErrorKind::usage,
                 .what = "unknown precision",
                 .field = "--precision",
                 .expected = "bf16 or fp32",
                 .found = options.precision};
  RL_ASSIGN(const OpenBackend open, open_backend(options.device));
  RL_ASSIGN(const model::ModelSource source, open_model(options.model));
  if (source.synthetic)
    return Error{.kind = ErrorKind::unsupported,
                 .what = "the weights of " + source.name + " are random numbers: its quality would mean nothing",
                 .hint = "give a trained model with -m"};
  RL_ASSIGN(const model::Tokenizer tokenizer, model::Tokenizer::load(*source.files));
  RL_ASSIGN(const engine::PromptEncoder encoder,
            engine::PromptEncoder::make(tokenizer, source.files.get(), source.config));
  RL_ASSIGN(const FileView text, read_text(options));
  RL_ASSIGN(const std::vector<TokenId> ids, tokenizer.encode(text.text(), false));

  const engine::EngineOptions engine_options{
      .precision = options.precision == "fp32" ? engine::Precision::f32 : engine::Precision::bf16,
      .max_context = std::min(options.window, source.config.max_positions),
      .max_seqs = 1};
  RL_ASSIGN(const std::unique_ptr<engine::Engine> engine,
            engine::Engine::make(source, open.backend, open.device->memory(), engine_options));
  // Where the tokenizer's template puts the begin token itself, the config names it.
  const std::optional<TokenId> bos = encoder.bos() ? encoder.bos() : source.config.bos;
  RL_ASSIGN(const quality::Perplexity result,
            quality::perplexity(*engine, ids, {.window = options.window, .bos = bos, .progress = {}}));

  const std::string name = telemetry::scrub(source.name), file = telemetry::scrub(text.name());
  if (options.json) {
    fmt::print(out,
               "{{\"model\": {}, \"text\": {}, \"precision\": {}, \"window\": {}, \"tokens\": {}, \"mean_nll\": {}, "
               "\"mean_ppl\": {}, \"mean_ppl_se\": {}}}\n",
               json_string(name), json_string(file), json_string(options.precision), options.window, result.tokens,
               result.mean_nll(), result.ppl(), result.standard_error());
    return ok();
  }
  fmt::print(out, "perplexity {:.5f} +/- {:.5f}\n{} tokens of {}, windows of {}, {} in {}\n", result.ppl(),
             result.standard_error(), result.tokens, file, options.window, name, options.precision);
  return ok();
}

}  // namespace rl::app
