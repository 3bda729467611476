#include "app/cmd_bench.h"

#include "app/open_model.h"
#include "base/json_text.h"
#include "engine/engine.h"
#include "lab/engine_load.h"
#include "measure/measure.h"
#include "telemetry/host.h"

namespace rl::app {
namespace {

struct BenchRow {
  std::string test;  // "pp512", "tg128 @ d2048", "tg128 x 16"
  std::int64_t n_prompt = 0, n_gen = 0, n_depth = 0, n_batch = 1;
  record::Metric rate;          // tok/s
  double achieved = 0;          // FLOP/s of the matrix products (prefill) or B/s read (decode)
  std::optional<double> share;  // of the ceiling
  std::string path;
};

// Taken beside each row, not once: a shared machine's state changes while a bench runs.
Result<record::Metric> take(const ops::Backend& backend, std::string_view name) {
  for (const Probe& probe : backend.probes) {
    if (probe.name != name) continue;
    RL_ASSIGN(const std::unique_ptr<ProbeRun> run, probe.prepare(*backend.device));
    const measure::Plan plan{.min_samples = 5, .min_time = {0.2}, .timeout = {1}, .target = 0.02};
    RL_ASSIGN(const record::Metric time, measure::run(plan, {.name = probe.name, .run = [&] { return run->run(); }}));
    return measure::rate_of(time, probe.name, probe.unit, run->amount());
  }
  return Error{.kind = ErrorKind::unsupported, .what = fmt::format("no probe named {}", name)};
}

measure::Plan plan_of(const BenchOptions& options) {
  return {.warmup = 1,
          .warmup_time = {0},
          .min_samples = options.repetitions,
          .max_samples = options.repetitions,
          .min_time = {0},
          .timeout = {3600},
          .target = 0,
          .seed = options.seed};
}

// "bf16", or "bf16 + fp8 KV".
std::string type_of(const BenchOptions& options) {
  return options.kv_cache == "auto" ? options.format : options.format + " + " + options.kv_cache + " KV";
}

void print_md(const std::vector<BenchRow>& rows, const model::ModelSource& source, const BenchOptions& options,
              std::FILE* out) {
  fmt::print(out, "| model | params | type | test | tok/s | 95% interval | reached | ceiling share |\n");
  fmt::print(out, "| ----- | -----: | ---- | ---- | ----: | -----------: | ------: | ------------: |\n");
  for (const BenchRow& row : rows) {
    const bool prefill = row.n_prompt > 0;
    fmt::print(
        out, "| {} | {} M | {} | {} | {} | {} | {} | {} |\n", source.name,
        format_significant(static_cast<double>(source.config.parameters()) * 1e-6), type_of(options), row.test,
        format_significant(row.rate.value, 4),
        row.rate.ci95 ? fmt::format("{} to {}", format_significant(row.rate.ci95->low, 4),
                                    format_significant(row.rate.ci95->high, 4))
                      : "-",
        prefill ? format_flops({row.achieved}) : format_rate({row.achieved}),
        row.share ? fmt::format("{:.0f}% of {}", 100 * *row.share, prefill ? "matrix rate" : "read bandwidth") : "-");
  }
}

std::string json_row(const BenchRow& row, const model::ModelSource& source, const BenchOptions& options,
                     const record::Environment& environment) {
  // llama-bench's field names; times per token of the row's kind.
  const double tokens = static_cast<double>(row.n_prompt > 0 ? row.n_prompt : row.n_gen * row.n_batch);
  std::string samples_ts, samples_ns;
  for (const double rate : row.rate.samples) {
    samples_ts += fmt::format("{}{}", samples_ts.empty() ? "" : ", ", rate);
    samples_ns += fmt::format("{}{:.0f}", samples_ns.empty() ? "" : ", ", 1e9 * tokens / rate);
  }
  return fmt::format(
      "{{\"build_commit\": {}, \"cpu_info\": {}, \"model_filename\": {}, \"model_n_params\": {}, \"type\": {}, "
      "\"kv_cache\": {}, \"n_threads\": {}, "
      "\"test\": {}, \"n_prompt\": {}, \"n_gen\": {}, \"n_depth\": {}, \"n_batch\": {}, \"avg_ts\": {}, \"avg_ns\": "
      "{:.0f}, "
      "\"reached_{}\": {}, \"ceiling_share\": {}, \"path\": {}, \"samples_ns\": [{}], \"samples_ts\": [{}]}}",
      json_string(environment.commit), json_string(environment.cpu), json_string(telemetry::scrub(source.name)),
      source.config.parameters(), json_string(options.format), json_string(options.kv_cache), environment.cores,
      json_string(row.test), row.n_prompt, row.n_gen, row.n_depth, row.n_batch, row.rate.value,
      1e9 * tokens / row.rate.value, row.n_prompt > 0 ? "flops" : "bytes_per_second", row.achieved,
      row.share ? fmt::format("{}", *row.share) : "null", json_string(row.path), samples_ns, samples_ts);
}

void print_csv(const std::vector<BenchRow>& rows, const model::ModelSource& source, const BenchOptions& options,
               std::FILE* out) {
  fmt::print(out,
             "model,params,type,test,n_prompt,n_gen,n_depth,n_batch,avg_ts,low_ts,high_ts,reached,ceiling_share\n");
  for (const BenchRow& row : rows)
    fmt::print(out, "\"{}\",{},{},\"{}\",{},{},{},{},{},{},{},{},{}\n", source.name, source.config.parameters(),
               type_of(options), row.test, row.n_prompt, row.n_gen, row.n_depth, row.n_batch, row.rate.value,
               row.rate.ci95 ? row.rate.ci95->low : row.rate.value,
               row.rate.ci95 ? row.rate.ci95->high : row.rate.value, row.achieved,
               row.share ? fmt::format("{}", *row.share) : "");
}

std::string path_text(const std::vector<std::string>& path) {
  std::string text;
  for (const std::string& step : path) text += (text.empty() ? "" : "; ") + step;
  return text;
}

// The ceilings of the arithmetic that a format's products may run on, the one that fits best first: a backend has those
// of the instructions it has.
std::vector<const char*> matrix_rates_of(const engine::NumberFormat& format) {
  switch (format.weights.layers) {
    case quant::Format::bf16:
      return {"matrix_rate_bf16"};
    case quant::Format::f16:
      return {"matrix_rate_f16", "matrix_rate_f32"};
    case quant::Format::int8:
      return {"matrix_rate_int8"};
    case quant::Format::fp8:
    case quant::Format::fp8_tensor:
    case quant::Format::fp8_block:
      return {"matrix_rate_fp8", "matrix_rate_f32"};
    case quant::Format::int8_wo:
    case quant::Format::fp8_wo:
      return {"matrix_rate_bf16"};
    case quant::Format::f32:
      break;
  }
  return {"matrix_rate_f32"};
}

}  // namespace

Status cmd_bench(const BenchOptions& options, std::FILE* out) {
  RL_ASSIGN(const engine::NumberFormat format, engine::format_from(options.format));
  RL_ASSIGN(const engine::KvCacheType kv_cache, engine::kv_cache_type_from(options.kv_cache));
  if (options.repetitions < 1)
    return Error{.kind = ErrorKind::usage, .what = "too few repetitions", .field = "-r", .expected = "at least 1"};
  if (options.output != "md" && options.output != "csv" && options.output != "json" && options.output != "jsonl")
    return Error{.kind = ErrorKind::usage,
                 .what = "unknown output form",
                 .field = "-o",
                 .expected = "md, csv, json or jsonl",
                 .found = options.output};
  RL_ASSIGN(const OpenBackend open, open_backend(options.device));
  RL_ASSIGN(const model::ModelSource source, open_model(options.model));

  std::int64_t context = 1, seqs = 1;
  for (const std::int64_t n : options.prompt) context = std::max(context, n + 1);
  for (const std::int64_t b : options.batch) seqs = std::max(seqs, b);
  for (const std::int64_t d : options.depth)
    for (const std::int64_t n : options.decode)
      context = std::max(context, lab::DecodeLoad{.depth = d, .seqs = seqs, .steps = n}.context());
  engine::EngineOptions engine_options{.precision = format.precision,
                                       .weights = format.weights,
                                       .kv_cache = kv_cache,
                                       .max_context = context,
                                       .max_seqs = seqs,
                                       .prefix_reuse = false};
  for (const std::string& item : options.force) {
    const auto equals = item.find('=');
    if (equals == item.npos)
      return Error{.kind = ErrorKind::usage,
                   .what = "unexpected value",
                   .field = "--force",
                   .expected = "OP=VARIANT",
                   .found = item};
    engine_options.force[item.substr(0, equals)] = item.substr(equals + 1);
  }
  CountingResource memory(open.device->memory());
  RL_ASSIGN(const std::unique_ptr<engine::Engine> engine,
            engine::Engine::make(source, open.backend, memory, engine_options));
  if (engine->emulated())
    return Error{.kind = ErrorKind::unsupported,
                 .what = fmt::format("this machine has no instructions for {}: the speed of its emulation would say "
                                     "nothing about the format",
                                     format.name),
                 .rule = "bench.emulated",
                 .hint = "measure its quality: redline quality --formats " + format.name};

  std::vector<BenchRow> rows;
  const measure::Plan plan = plan_of(options);
  for (const std::int64_t n : options.prompt) {
    if (n <= 0) continue;
    BenchRow row{.test = fmt::format("pp{}", n), .n_prompt = n};
    RL_ASSIGN(row.rate, lab::measure_prefill(*engine, n, plan));
    row.achieved = row.rate.value * lab::prefill_flops(source.config, n) / static_cast<double>(n);
    for (const char* rate : matrix_rates_of(format)) {
      const auto peak = take(open.backend, rate);
      if (!peak) continue;
      row.share = row.achieved / peak->value;
      break;
    }
    row.path = path_text(engine->path());
    rows.push_back(std::move(row));
  }
  for (const std::int64_t b : options.batch)
    for (const std::int64_t d : options.depth)
      for (const std::int64_t n : options.decode) {
        if (n <= 0) continue;
        BenchRow row{.test = fmt::format("tg{}{}{}", n, d > 0 ? fmt::format(" @ d{}", d) : "",
                                         b > 1 ? fmt::format(" x {}", b) : ""),
                     .n_gen = n,
                     .n_depth = d,
                     .n_batch = b};
        RL_ASSIGN(row.rate, lab::measure_decode(*engine, {.depth = d, .seqs = b, .steps = n}, plan));
        const double bytes_per_step = static_cast<double>(engine->weight_bytes_per_token().count +
                                                          b * (d + n / 2) * engine->kv_bytes_per_token().count);
        row.achieved = row.rate.value / static_cast<double>(b) * bytes_per_step;
        if (const auto peak = take(open.backend, "read_bandwidth")) row.share = row.achieved / peak->value;
        row.path = path_text(engine->path());
        rows.push_back(std::move(row));
      }

  if (options.output == "md") print_md(rows, source, options, out);
  if (options.output == "csv") print_csv(rows, source, options, out);
  if (options.output == "json" || options.output == "jsonl") {
    const record::Environment environment = telemetry::capture_environment();
    const bool array = options.output == "json";
    if (array) fmt::print(out, "[\n");
    for (std::size_t i = 0; i < rows.size(); ++i)
      fmt::print(out, "{}{}{}\n", array ? "  " : "", json_row(rows[i], source, options, environment),
                 array && i + 1 < rows.size() ? "," : "");
    if (array) fmt::print(out, "]\n");
  }
  return ok();
}

}  // namespace rl::app
