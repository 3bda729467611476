#include "app/cmd_fit.h"

#include "app/open_model.h"
#include "app/wiring.h"
#include "base/json_text.h"
#include "engine/fit.h"

namespace rl::app {
namespace {

struct Row {
  std::string format;
  std::int64_t context = 0;
  engine::Fit fit;
  // Cache of one sequence with its whole context.
  Bytes sequence() const { return {fit.plan.of("kv pages").count / std::max<std::int64_t>(fit.seqs, 1)}; }
};

std::vector<std::int64_t> standard_contexts(std::int64_t most) {
  std::vector<std::int64_t> contexts;
  for (std::int64_t tokens = 1024; tokens < most; tokens *= 4) contexts.push_back(tokens);
  contexts.push_back(most);
  return contexts;
}

void print_table(const std::vector<Row>& rows, std::FILE* out) {
  fmt::print(out, "{:<10}{:>9}{:>11}{:>12}{:>14}{:>13}\n", "format", "context", "sequences", "weights", "per sequence",
             "in all");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    if (i > 0 && rows[i - 1].format != row.format) fmt::print(out, "\n");
    fmt::print(out, "{:<10}{:>9}{:>11}{:>12}{:>14}{:>13}{}\n", row.format, row.context,
               row.fit.seqs > 0 ? std::to_string(row.fit.seqs) : "none",
               format_binary_bytes(row.fit.plan.of("weights")), format_binary_bytes(row.sequence()),
               format_binary_bytes(row.fit.plan.total()),
               row.fit.seqs == 0                   ? "  for 1"
               : row.fit.seqs == engine::kMostSeqs ? "  limit"
                                                   : "");
  }
}

std::string json_rows(const std::vector<Row>& rows) {
  std::string text;
  for (const Row& row : rows)
    text += fmt::format(
        "{}{{\"format\": {}, \"context\": {}, \"sequences\": {}, \"weight_bytes\": {}, \"bytes_per_sequence\": {}, "
        "\"total_bytes\": {}}}",
        text.empty() ? "" : ", ", json_string(row.format), row.context, row.fit.seqs, row.fit.plan.of("weights").count,
        row.sequence().count, row.fit.plan.total().count);
  return "[" + text + "]";
}

}  // namespace

Status cmd_fit(const FitOptions& options, std::FILE* out) {
  RL_ASSIGN(const model::ModelSource source, open_model(options.model));
  const model::ModelConfig& config = source.config;
  RL_ASSIGN(const OpenBackend open, open_backend({}));
  Bytes memory = open.device->available_memory();
  if (!options.memory.empty()) {
    RL_ASSIGN(memory, parse_bytes(options.memory));
  }
  RL_ASSIGN(const engine::KvCacheType kv_cache, engine::kv_cache_type_from(options.kv_cache));
  std::vector<std::string> formats = options.formats;
  if (formats.empty())
    for (const engine::NumberFormat& format : engine::formats()) formats.push_back(format.name);
  const std::vector<std::int64_t> contexts =
      options.contexts.empty() ? standard_contexts(config.max_positions) : options.contexts;

  std::vector<Row> rows;
  std::string not_here;  // formats that this backend's kernels do not compute in, unless asked for by name
  for (const std::string& name : formats) {
    RL_ASSIGN(const engine::NumberFormat format, engine::format_from(name));
    for (const std::int64_t context : contexts) {
      auto fit = engine::largest_batch(config, open.backend,
                                       {.precision = format.precision, .weights = format.weights, .kv_cache = kv_cache},
                                       context, memory);
      if (!fit && fit.error().kind == ErrorKind::unsupported && options.formats.empty()) {
        not_here += (not_here.empty() ? "" : ", ") + name;
        break;
      }
      if (!fit) return std::move(fit).error();
      rows.push_back({.format = name, .context = context, .fit = std::move(*fit)});
    }
  }
  if (options.json) {
    fmt::print(out, "{{\"model\": {}, \"backend\": {}, \"memory_bytes\": {}, \"fits\": {}}}\n",
               json_string(source.name), json_string(open.backend.name), memory.count, json_rows(rows));
    return ok();
  }
  fmt::print(out, "{} in {}{}\nsequences at once, each with its whole context:\n\n", source.name,
             format_binary_bytes(memory), options.memory.empty() ? " (available here)" : "");
  print_table(rows, out);
  if (!not_here.empty()) fmt::print(out, "\nnot on the {} backend: {}\n", open.backend.name, not_here);
  fmt::print(out,
             "\nPlanned for the {} backend, whose kernels decide layouts and workspaces.\n"
             "In all: weights, cache, activations, workspace and logits of the engine; what a\n"
             "driver or other programs take is not in it.\n",
             open.backend.name);
  return ok();
}

}  // namespace rl::app
