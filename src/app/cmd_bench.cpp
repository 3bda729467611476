#include "app/cmd_bench.h"

#include "app/bench_check.h"
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
  std::string pdl;              // whether captured steps have programmatic edges
  // To plan a step and to start it, where the host does not compute it as well: a captured one, if any was. The median,
  // and what the least tenth of the steps do not exceed.
  std::optional<double> host_seconds, host_seconds_least;
  std::int64_t peak_memory_bytes = 0;
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
              const std::optional<LogitsCheck>& check, std::FILE* out) {
  fmt::print(out,
             "| model | params | type | test | pdl | tok/s | 95% interval | reached | ceiling share "
             "| host, a step (least 10%) | peak memory |\n"
             "| ----- | -----: | ---- | ---- | --- | ----: | -----------: | ------: | ------------: | ---: | ---: |\n");
  for (const BenchRow& row : rows) {
    const bool prefill = row.n_prompt > 0;
    fmt::print(
        out, "| {} | {} M | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n", source.name,
        format_significant(static_cast<double>(source.config.parameters()) * 1e-6), type_of(options), row.test, row.pdl,
        format_significant(row.rate.value, 4),
        row.rate.ci95 ? fmt::format("{} to {}", format_significant(row.rate.ci95->low, 4),
                                    format_significant(row.rate.ci95->high, 4))
                      : "-",
        prefill ? format_flops({row.achieved}) : format_rate({row.achieved}),
        row.share ? fmt::format("{:.0f}% of {}", 100 * *row.share, prefill ? "matrix rate" : "read bandwidth") : "-",
        row.host_seconds
            ? fmt::format("{} ({})", format_seconds({*row.host_seconds}), format_seconds({*row.host_seconds_least}))
            : "-",
        format_binary_bytes({row.peak_memory_bytes}));
  }
  fmt::print(out, "\nHead and sampling are part of every row. ");
  if (check) fmt::print(out, "In this run {}. ", check->text());
  fmt::print(out, "Variants: {}.\n", rows.empty() ? "none" : rows.back().path);
}

std::string text_of(const std::optional<double>& value, const char* if_none) {
  return value ? fmt::format("{}", *value) : if_none;
}

std::string json_row(const BenchRow& row, const model::ModelSource& source, const BenchOptions& options,
                     const std::optional<LogitsCheck>& check, const record::Environment& environment) {
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
      "\"test\": {}, \"n_prompt\": {}, \"n_gen\": {}, \"n_depth\": {}, \"n_batch\": {}, \"pdl\": {}, \"avg_ts\": {}, "
      "\"avg_ns\": {:.0f}, "
      "\"reached_{}\": {}, \"ceiling_share\": {}, \"host_seconds_per_step\": {}, "
      "\"host_seconds_per_step_least_tenth\": {}, \"peak_memory_bytes\": {}, "
      "\"logits_checked\": {}, \"path\": {}, \"samples_ns\": [{}], \"samples_ts\": [{}]}}",
      json_string(environment.commit), json_string(environment.cpu), json_string(telemetry::scrub(source.name)),
      source.config.parameters(), json_string(options.format), json_string(options.kv_cache), environment.cores,
      json_string(row.test), row.n_prompt, row.n_gen, row.n_depth, row.n_batch, json_string(row.pdl), row.rate.value,
      1e9 * tokens / row.rate.value, row.n_prompt > 0 ? "flops" : "bytes_per_second", row.achieved,
      text_of(row.share, "null"), text_of(row.host_seconds, "null"), text_of(row.host_seconds_least, "null"),
      row.peak_memory_bytes, check ? json_string(check->text()) : "null", json_string(row.path), samples_ns,
      samples_ts);
}

void print_csv(const std::vector<BenchRow>& rows, const model::ModelSource& source, const BenchOptions& options,
               std::FILE* out) {
  fmt::print(out,
             "model,params,type,test,n_prompt,n_gen,n_depth,n_batch,pdl,avg_ts,low_ts,high_ts,reached,ceiling_share,"
             "host_seconds_per_step,host_seconds_per_step_least_tenth,peak_memory_bytes,path\n");
  for (const BenchRow& row : rows)
    fmt::print(out, "\"{}\",{},{},\"{}\",{},{},{},{},{},{},{},{},{},{},{},{},{},\"{}\"\n", source.name,
               source.config.parameters(), type_of(options), row.test, row.n_prompt, row.n_gen, row.n_depth,
               row.n_batch, row.pdl, row.rate.value, row.rate.ci95 ? row.rate.ci95->low : row.rate.value,
               row.rate.ci95 ? row.rate.ci95->high : row.rate.value, row.achieved, text_of(row.share, ""),
               text_of(row.host_seconds, ""), text_of(row.host_seconds_least, ""), row.peak_memory_bytes, row.path);
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

// The rows of one engine.
struct Bench {
  const BenchOptions& options;
  const engine::NumberFormat& format;
  const model::ModelSource& source;
  const ops::Backend& backend;
  CountingResource& memory;
  engine::Engine& engine;
  std::string pdl;

  Status take_rows(std::vector<BenchRow>& rows) const {
    for (const std::int64_t n : options.prompt)
      if (n > 0) {
        RL_ASSIGN(BenchRow row, prefill(n));
        rows.push_back(std::move(row));
      }
    for (const std::int64_t b : options.batch)
      for (const std::int64_t d : options.depth)
        for (const std::int64_t n : options.decode)
          if (n > 0) {
            RL_ASSIGN(BenchRow row, decode(n, d, b));
            rows.push_back(std::move(row));
          }
    return ok();
  }

 private:
  Result<BenchRow> prefill(std::int64_t n) const {
    BenchRow row{.test = fmt::format("pp{}", n), .n_prompt = n};
    RL_TRY(time(row, [&] { return lab::measure_prefill(engine, n, plan_of(options)); }));
    row.achieved = row.rate.value * lab::prefill_flops(source.config, n) / static_cast<double>(n);
    for (const char* rate : matrix_rates_of(format)) {
      const auto peak = take(backend, rate);
      if (!peak) continue;
      row.share = row.achieved / peak->value;
      break;
    }
    return row;
  }

  Result<BenchRow> decode(std::int64_t n, std::int64_t d, std::int64_t b) const {
    BenchRow row{
        .test = fmt::format("tg{}{}{}", n, d > 0 ? fmt::format(" @ d{}", d) : "", b > 1 ? fmt::format(" x {}", b) : ""),
        .n_gen = n,
        .n_depth = d,
        .n_batch = b};
    RL_TRY(
        time(row, [&] { return lab::measure_decode(engine, {.depth = d, .seqs = b, .steps = n}, plan_of(options)); }));
    const double bytes_per_step = static_cast<double>(engine.weight_bytes_per_token().count +
                                                      b * (d + n / 2) * engine.kv_bytes_per_token().count);
    row.achieved = row.rate.value / static_cast<double>(b) * bytes_per_step;
    if (const auto peak = take(backend, "read_bandwidth")) row.share = row.achieved / peak->value;
    return row;
  }

  template <class Measure>
  Status time(BenchRow& row, const Measure& measure) const {
    memory.reset_peak();
    const engine::HostCost before = engine.host_cost();
    RL_ASSIGN(row.rate, measure());
    const engine::HostCost& after = engine.host_cost();
    if (backend.device->is_queue()) {
      const auto host_cost = [&](double share) {
        return (engine::plan_cost_per_step(before, after, share) + engine::launch_cost_per_step(before, after, share))
            .count;
      };
      row.host_seconds = host_cost(engine::kMedian);
      row.host_seconds_least = host_cost(engine::kLeastTenth);
    }
    row.peak_memory_bytes = memory.peak().count;
    row.pdl = pdl;
    row.path = path_text(engine.path());
    return ok();
  }
};

}  // namespace

Status cmd_bench(const BenchOptions& options, std::FILE* out) {
  RL_ASSIGN(const engine::NumberFormat format, engine::format_from(options.format));
  RL_ASSIGN(const engine::KvCacheType kv_cache, engine::kv_cache_type_from(options.kv_cache));
  if (options.repetitions < 1)
    return Error{.kind = ErrorKind::usage, .what = "too few repetitions", .field = "-r", .expected = "at least 1"};
  const auto none = [](const std::vector<std::int64_t>& tokens) {
    return std::all_of(tokens.begin(), tokens.end(), [](std::int64_t n) { return n == 0; });
  };
  if (none(options.prompt) && none(options.decode))
    return Error{.kind = ErrorKind::usage,
                 .what = "there is nothing to measure",
                 .expected = "-p or -n with a number of tokens above 0"};
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
  std::vector<BenchRow> rows;
  std::optional<LogitsCheck> check;
  std::unique_ptr<engine::Engine> engine;
  for (const std::string& pdl : options.pdl) {
    engine_options.programmatic = pdl == "on";
    const std::unique_ptr<engine::Engine> weights = std::move(engine);
    RL_ASSIGN(engine, weights ? engine::Engine::make_beside(*weights, open.backend, memory, engine_options)
                              : engine::Engine::make(source, open.backend, memory, engine_options));
    if (engine->emulated())
      return Error{.kind = ErrorKind::unsupported,
                   .what = fmt::format("this machine has no instructions for {}: the speed of its emulation would say "
                                       "nothing about the format",
                                       format.name),
                   .rule = "bench.emulated",
                   .hint = "measure its quality: redline quality --formats " + format.name};
    if (options.check && !check) {
      RL_ASSIGN(check, check_logits(*engine, open.backend, memory, format, options.seed));
    }
    Bench bench{.options = options,
                .format = format,
                .source = source,
                .backend = open.backend,
                .memory = memory,
                .engine = *engine,
                .pdl = pdl};
    RL_TRY(bench.take_rows(rows));
  }

  if (options.output == "md") print_md(rows, source, options, check, out);
  if (options.output == "csv") print_csv(rows, source, options, out);
  if (options.output == "json" || options.output == "jsonl") {
    const record::Environment environment = telemetry::capture_environment();
    const bool array = options.output == "json";
    if (array) fmt::print(out, "[\n");
    for (std::size_t i = 0; i < rows.size(); ++i)
      fmt::print(out, "{}{}{}\n", array ? "  " : "", json_row(rows[i], source, options, check, environment),
                 array && i + 1 < rows.size() ? "," : "");
    if (array) fmt::print(out, "]\n");
  }
  return ok();
}

}  // namespace rl::app
