#include "app/cmd_generate.h"

#include <nlohmann/json.hpp>

#include "app/console.h"
#include "app/open_model.h"
#include "base/file.h"
#include "engine/text.h"
#include "model/model.h"

namespace rl::app {
namespace {

constexpr std::int64_t kMaxPromptBytes = 64 << 20;

Result<std::string> prompt_text(const GenerateOptions& options) {
  if (options.file.empty()) return options.prompt;
  if (!options.prompt.empty())
    return Error{.kind = ErrorKind::usage, .what = "give a prompt or a prompt file, not both", .found = options.file};
  RL_ASSIGN(const FileView file, read_file(options.file, kMaxPromptBytes));
  return std::string(file.text());
}

// As much context as prompt and answer need, within the model's.
std::int64_t context_for(const GenerateOptions& options, const model::ModelConfig& config, std::int64_t prompt) {
  if (options.ctx != 0) return options.ctx;
  const std::int64_t answer = std::clamp<std::int64_t>(options.max_tokens, 1, config.max_positions);
  return std::min(config.max_positions, std::max<std::int64_t>(2, prompt + answer));
}

Status write(std::FILE* out, std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), out) == text.size() && std::fflush(out) == 0) return ok();
  return Error{.kind = ErrorKind::io,
               .what = "cannot write the generated text",
               .found = std::strerror(errno),
               .native_code = errno};
}

struct Figures {
  const engine::TextResult& result;
  Bytes last_cache;                         // of the machine
  std::optional<BytesPerSecond> bandwidth;  // of its memory
  std::string format;                       // as given
  Bytes loaded;                             // weights as stored
  Seconds load_time;
  std::optional<BytesPerSecond> pinned_copy;  // the most that loading could reach

  std::optional<BytesPerSecond> read_rate() const {
    if (!result.stats.tpot) return std::nullopt;
    return result.stats.bytes_per_token / *result.stats.tpot;
  }
  std::optional<double> share() const {
    const auto rate = read_rate();
    if (!rate || !bandwidth) return std::nullopt;
    return rate->count / bandwidth->count;
  }

  std::optional<double> load_share() const {
    if (!pinned_copy) return std::nullopt;
    return (loaded / load_time).count / pinned_copy->count;
  }

  // Then what is read comes from the cache, and a share of the memory's bandwidth can be above 1.
  bool in_cache() const { return result.stats.bytes_per_token <= last_cache; }

  std::string text() const {
    const engine::GenerationStats& stats = result.stats;
    std::string lines = fmt::format("prompt   {} tokens, TTFT {}", stats.prompt_tokens, format_seconds(stats.ttft));
    if (stats.prefill_tokens_per_second)
      lines += fmt::format(" ({} tok/s)", format_significant(*stats.prefill_tokens_per_second));
    lines += fmt::format("\ndecode   {} tokens, {}", stats.generated_tokens, name_of(result.finish));
    if (stats.tpot)
      lines +=
          fmt::format(", {} tok/s, TPOT {}", format_significant(*stats.tokens_per_second), format_seconds(*stats.tpot));
    lines += fmt::format("\nreads    {} per token", format_bytes(stats.bytes_per_token));
    if (const auto rate = read_rate()) lines += fmt::format(", {}", format_rate(*rate));
    if (const auto part = share())
      lines += in_cache() ? fmt::format(" out of the {} last cache (memory: {})", format_bytes(last_cache),
                                        format_rate(*bandwidth))
                          : fmt::format(", {}% of the {} this machine reads", format_significant(100 * *part),
                                        format_rate(*bandwidth));
    lines += fmt::format("\nload     {} in {}, {}", format_bytes(loaded), format_seconds(load_time),
                         format_rate(loaded / load_time));
    if (const auto part = load_share())
      lines += fmt::format(", {}% of the {} that pinned memory is copied with", format_significant(100 * *part),
                           format_rate(*pinned_copy));
    return lines + "\n";
  }

  std::string json(const engine::Engine& engine) const {
    const engine::GenerationStats& stats = result.stats;
    const auto or_null = [](const auto& value) {
      return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
    };
    nlohmann::ordered_json object;
    object["prompt_n"] = stats.prompt_tokens;
    object["prompt_ms"] = stats.ttft.count * 1e3;
    object["predicted_n"] = stats.generated_tokens;
    object["predicted_ms"] = stats.decode.count * 1e3;
    object["ttft_ms"] = stats.ttft.count * 1e3;
    object["tpot_ms"] = stats.tpot ? nlohmann::ordered_json(stats.tpot->count * 1e3) : nlohmann::ordered_json();
    object["prompt_tokens_per_second"] = or_null(stats.prefill_tokens_per_second);
    object["tokens_per_second"] = or_null(stats.tokens_per_second);
    object["bytes_per_token"] = stats.bytes_per_token.count;
    object["read_bandwidth"] = bandwidth ? nlohmann::ordered_json(bandwidth->count) : nlohmann::ordered_json();
    object["read_bandwidth_share"] = or_null(share());
    object["fits_in_cache"] = in_cache();
    object["load_bytes"] = loaded.count;
    object["load_ms"] = load_time.count * 1e3;
    object["pinned_copy"] = pinned_copy ? nlohmann::ordered_json(pinned_copy->count) : nlohmann::ordered_json();
    object["load_share"] = or_null(load_share());
    object["formulas"] = engine::GenerationStats::kFormulas;
    object["format"] = format;
    object["kv_cache"] = engine::name_of(engine.options().kv_cache);
    object["finish_reason"] = name_of(result.finish);
    object["text"] = result.text;
    object["prompt_ids"] = result.prompt_ids;
    object["ids"] = result.ids;
    object["path"] = engine.path();
    return object.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }
};

}  // namespace

Status cmd_generate(const GenerateOptions& options, const ops::Backend& backend,
                    const std::function<Result<BytesPerSecond>(const char* probe)>& bandwidth, std::FILE* out) {
  RL_ASSIGN(const engine::NumberFormat format, engine::format_from(options.format));
  RL_ASSIGN(const engine::KvCacheType kv_cache, engine::kv_cache_type_from(options.kv_cache));
  RL_ASSIGN(const std::string prompt, prompt_text(options));
  RL_ASSIGN(const model::ModelSource source, open_model(options.model));
  // Generated weights come without files; --save gives them the demo tokenizer, and so does this. The text means
  // nothing, the figures do.
  std::unique_ptr<FileSet> demo_files;
  if (!source.files) {
    RL_ASSIGN(demo_files, model::find_files("demo"));
  }
  const FileSet& files = source.files ? *source.files : *demo_files;
  RL_ASSIGN(const model::Tokenizer tokenizer, model::Tokenizer::load(files));
  RL_ASSIGN(const engine::PromptEncoder encoder, engine::PromptEncoder::make(tokenizer, &files, source.config));
  const auto encoded = encoder.encode(prompt);
  if (!encoded) {
    Error error = encoded.error();
    error.file = options.file;
    return error;
  }
  const std::vector<TokenId>& prompt_ids = *encoded;
  RL_ASSIGN(const std::unique_ptr<engine::Engine> engine,
            engine::Engine::make(source, backend, backend.device->memory(),
                                 {.precision = format.precision,
                                  .weights = format.weights,
                                  .kv_cache = kv_cache,
                                  .max_context = context_for(options, source.config, std::ssize(prompt_ids)),
                                  .max_seqs = 1,
                                  .force = options.force}));

  engine::TextGenerator generator(tokenizer, encoder, *engine);
  Status written;
  const auto stream = [&](std::string_view text) {
    if (!options.json) written = write(out, text);
    return written.has_value();
  };
  RL_ASSIGN(const engine::TextResult result,
            generator.generate({.prompt = prompt,
                                .sampling = {.temperature = options.temperature,
                                             .top_k = options.top_k,
                                             .top_p = options.top_p,
                                             .min_p = options.min_p,
                                             .repetition_penalty = options.repetition_penalty,
                                             .seed = options.seed},
                                .max_tokens = options.max_tokens,
                                .stop = options.stop,
                                .ignore_eos = options.ignore_eos},
                               stream));
  RL_TRY(std::move(written));

  Figures figures{.result = result,
                  .last_cache = backend.device->info().last_cache,
                  .bandwidth = {},
                  .format = options.format,
                  .loaded = engine->loaded_bytes(),
                  .load_time = engine->load_time(),
                  .pinned_copy = {}};
  if (bandwidth) {
    if (const auto measured = bandwidth("read_bandwidth")) figures.bandwidth = *measured;
    // Only where weights went to a device: generated ones were not read from anywhere.
    if (!backend.device->host_reads_memory() && !source.synthetic)
      if (const auto measured = bandwidth("pinned_copy")) figures.pinned_copy = *measured;
  }
  if (options.json) return write(out, figures.json(*engine));
  if (!result.text.ends_with('\n')) RL_TRY(write(out, "\n"));
  say("\n{}", figures.text());
  return ok();
}

}  // namespace rl::app
