// Every flag of every verb: the only unit that includes CLI11. Flags fill the option structs of the commands.

#include "app/cli.h"

#include <charconv>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "app/cmd_bench.h"
#include "app/cmd_compare.h"
#include "app/cmd_doctor.h"
#include "app/cmd_fit.h"
#include "app/cmd_generate.h"
#include "app/cmd_history.h"
#include "app/cmd_logits.h"
#include "app/cmd_quality.h"
#include "app/cmd_report.h"
#include "app/cmd_run.h"
#include "app/cmd_selftest.h"
#include "app/cmd_tokenize.h"
#include "app/cmd_verify.h"
#include "app/console.h"
#include "app/exit_code.h"
#include "app/machine.h"
#include "app/open_model.h"
#include "base/log.h"
#include "engine/engine.h"
#include "model/model.h"
#include "telemetry/build_info.h"

namespace rl::app {
namespace {

// Verbs of later versions are not listed: a flag or verb that does nothing does not exist.
struct Verb {
  CLI::App* app;
  std::function<Result<int>()> run;
  const std::string* model = nullptr;  // of verbs that have one
};

int fail(const Error& error) {
  say("redline: {}: {}\n", to_string(error.kind), error.message());
  return exit_code(error.kind);
}

Result<int> done(Status status) {
  if (!status) return std::move(status).error();
  return kExitOk;
}

// CLI11's own checks of numbers take NaN, and say their bounds with 300 digits.
template <class T>
CLI::Validator number_from(T least, T most, const char* expected) {
  const auto check = [=](const std::string& text) -> std::string {
    T value{};
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool read = code == std::errc() && end == text.data() + text.size();
    return read && value >= least && value <= most ? "" : fmt::format("expected {}, found '{}'", expected, text);
  };
  return CLI::Validator(check, "");
}
const CLI::Validator kNotNegative = number_from(0.0, 1e15, "a number from 0 on"),
                     kPositive = number_from(1.0, 1e15, "a number from 1 on"),
                     kShare = number_from(0.0, 1.0, "a share from 0 to 1"),
                     // CLI11 makes a negative number a large one.
    kSeed =
        number_from(std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max(), "a whole number from 0 to 2^64 - 1");
// An unset variable of a script, say: the flag would do nothing, and nobody would know.
const CLI::Validator kNotEmpty(
    [](const std::string& text) { return text.empty() ? std::string("expected a value, found an empty one") : ""; },
    "");

const char* kModelHelp = "a folder, OWNER/NAME in the Hugging Face cache, or synthetic:NAME; default: the demo model";

// `save` is one for all verbs: the model is written there before the verb runs.
void add_model(CLI::App* app, std::string& model, std::string& save) {
  app->add_option("-m,--model", model, kModelHelp)->type_name("MODEL");
  app->add_option("--save", save, "write the model as a Hugging Face folder that other engines load, then go on")
      ->type_name("DIR");
}

void add_device(CLI::App* app, DeviceOptions& device) {
  app->add_option("--device", device.device, "auto, cpu, cuda or cuda:N")->type_name("NAME");
  app->add_option("-t,--threads", device.threads, "threads of the CPU; default: one per core")->type_name("N");
  app->add_option("--isa", device.isa, "highest instruction set to use: amx, avx512_bf16, avx512, avx2 or none")
      ->type_name("NAME");
  app->add_option("--tune-variants", device.tune_variants,
                  "choose the variants of products by their time on this device: auto (on a GPU), on or off")
      ->capture_default_str()
      ->type_name("WHEN");
  app->add_flag("--retune", device.retune, "measure again which variants are fastest");
  app->add_option("--variant-cache", device.variant_cache, "where that is kept; default: in the user's cache folder")
      ->type_name("FILE");
}

const char* kForceHelp = "OP=VARIANT, e.g. attention=attention/cpu.standard; may be repeated";

// --precision is the older name.
void add_format(CLI::App* app, std::string& format) {
  app->add_option("--format,--precision", format, "number format of weights and activations: " + engine::format_names())
      ->capture_default_str();
}

void add_kv_cache(CLI::App* app, std::string& type) {
  app->add_option("--kv-cache-dtype", type, "of keys and values: auto (as the activations) or fp8 (e4m3)")
      ->capture_default_str();
}

void add_limits(CLI::App* app, RunOptions& options) {
  const lab::Limits own;
  app->add_option("--max-kld", options.max_kld,
                  fmt::format("mean KL divergence to the baseline that a format may have; default: {}", own.max_kld))
      ->check(kNotNegative);
  app->add_option("--max-ppl-loss", options.max_ppl_loss,
                  fmt::format("share by which a format may raise the perplexity; default: {}", own.max_ppl_loss))
      ->check(kNotNegative);
  app->add_option("--max-foreign-load", options.max_foreign_load,
                  fmt::format("share of the processors' time that other processes may take before a speed is invalid; "
                              "default: {}; 1: never",
                              own.max_foreign_load))
      ->check(kShare);
}

// What `run` and `experiment` share.
void add_run_flags(CLI::App* app, RunOptions& options, std::string& save) {
  add_model(app, options.model, save);
  add_device(app, options.device);
  auto* quick = app->add_flag("--quick", options.quick, "short axes, wider intervals (default on a CPU)");
  app->add_flag("--full", options.full, "all axes, narrow intervals")->excludes(quick);
  app->add_flag("--dry-run", options.dry_run, "list what would be measured and end");
  app->add_option("--runs", options.runs_folder, "folder of all runs")->capture_default_str()->type_name("DIR");
  auto* out = app->add_option("--out", options.out, "folder of this run; default: RUNS/<id>")
                  ->check(kNotEmpty)
                  ->type_name("DIR");
  app->add_option_function<std::uint64_t>(
         "--seed",
         [&](std::uint64_t seed) {
           options.seed = seed;
           options.seed_given = true;
         },
         "of inputs and intervals; default: 1")
      ->check(kSeed)
      ->type_name("N");
  add_limits(app, options);
  app->add_option_function<std::string>(
         "--resume", [&](const std::string& run) { options.resume = run; },
         "go on with an interrupted run; default: the newest")
      ->expected(0, 1)
      ->type_name("RUN");
  app->add_option("--save-baseline", options.save_baseline, "a name for this run, to compare later ones with")
      ->check(kNotEmpty)
      ->type_name("NAME")
      ->excludes(out);
  app->add_option("--baseline", options.baseline, "compare with this run at the end; exits as compare does")
      ->check(kNotEmpty)
      ->type_name("NAME");
  app->add_flag("--json", options.json, "print the record instead of the report");
  app->allow_extras();
}

Verb add_run(CLI::App& root, RunOptions& options, std::string& save) {
  CLI::App* app = root.add_subcommand("run", "every experiment on this machine, one report");
  add_run_flags(app, options, save);
  app->add_option("--only", options.only, "experiments to run: --only baseline,attention")
      ->delimiter(',')
      ->type_name("IDS");
  app->add_flag("--list", options.list, "list the experiments and end");
  return {app,
          [&options, app]() -> Result<int> {
            RL_ASSIGN(options.axes, read_axes(app->remaining()));
            return cmd_run(options, stdout);
          },
          &options.model};
}

Verb add_experiment(CLI::App& root, RunOptions& options, std::string& name, std::string& save) {
  CLI::App* app =
      root.add_subcommand("experiment", "one experiment with chosen axes: experiment attention --seq 128..4096");
  app->add_option("NAME", name, "its id: see redline run --list")->required();
  add_run_flags(app, options, save);
  return {app,
          [&options, &name, app]() -> Result<int> {
            RL_ASSIGN(options.axes, read_axes(app->remaining()));
            options.only = {name};
            return cmd_run(options, stdout);
          },
          &options.model};
}

Verb add_bench(CLI::App& root, BenchOptions& options, std::string& save) {
  CLI::App* app =
      root.add_subcommand("bench", "prefill and decode rates in llama-bench's terms, beside the machine's ceilings");
  add_model(app, options.model, save);
  add_device(app, options.device);
  app->add_option("-p,--n-prompt", options.prompt, "tokens of a prefill; 0: none")
      ->delimiter(',')
      ->check(kNotNegative)
      ->capture_default_str();
  app->add_option("-n,--n-gen", options.decode, "tokens of a decode; 0: none")
      ->delimiter(',')
      ->check(kNotNegative)
      ->capture_default_str();
  app->add_option("-d,--n-depth", options.depth, "tokens of context before a decode")
      ->delimiter(',')
      ->check(kNotNegative)
      ->capture_default_str();
  app->add_option("-b,--batch", options.batch, "sequences decoded together")
      ->delimiter(',')
      ->check(kPositive)
      ->capture_default_str();
  app->add_option("-r,--repetitions", options.repetitions, "samples of each row")->capture_default_str();
  app->add_option("--pdl", options.pdl,
                  "on, off or both: whether kernels of captured steps may begin while their predecessor ends")
      ->delimiter(',')
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
  app->add_flag("--check", options.check, "compare the logits with those of plain variants before anything is timed");
  add_format(app, options.format);
  add_kv_cache(app, options.kv_cache);
  app->add_option("--force", options.force, kForceHelp)->type_name("OP=VARIANT")->expected(1)->take_all();
  app->add_option("-o,--output", options.output, "md, csv, json or jsonl")->capture_default_str();
  app->add_option("--seed", options.seed, "of the random prompts")->check(kSeed)->capture_default_str();
  return {app, [&] { return done(cmd_bench(options, stdout)); }, &options.model};
}

Verb add_generate(CLI::App& root, GenerateOptions& options, DeviceOptions& device, std::string& save) {
  CLI::App* app = root.add_subcommand("generate", "text from a prompt, then what it cost");
  app->add_option("PROMPT", options.prompt, "the prompt's text");
  app->add_option("-f,--file", options.file, "read the prompt from a file")->type_name("FILE");
  add_model(app, options.model, save);
  add_device(app, device);
  app->add_option("-n,--max-tokens", options.max_tokens, "tokens to generate at most")->capture_default_str();
  app->add_option("--temperature,--temp", options.temperature, "0: always the most likely token")
      ->capture_default_str();
  app->add_option("--top-k", options.top_k, "only the k most likely tokens; 0: off")->capture_default_str();
  app->add_option("--top-p", options.top_p, "only the most likely tokens of together this probability; 1: off")
      ->capture_default_str();
  app->add_option("--min-p", options.min_p, "only tokens of at least this share of the likeliest's probability; 0: off")
      ->capture_default_str();
  app->add_option("--repetition-penalty", options.repetition_penalty, "1: off")->capture_default_str();
  app->add_option("--seed", options.seed, "same seed, same tokens")->check(kSeed)->capture_default_str();
  app->add_option("--stop", options.stop, "end at this text; may be repeated")
      ->type_name("TEXT")
      ->expected(1)
      ->take_all();
  app->add_flag("--ignore-eos", options.ignore_eos, "do not stop at the model's end token");
  app->add_option("-c,--ctx", options.ctx, "tokens of context; 0: what prompt and answer need")->capture_default_str();
  add_format(app, options.format);
  add_kv_cache(app, options.kv_cache);
  app->add_option_function<std::vector<std::string>>(
         "--force",
         [&](const std::vector<std::string>& items) {
           for (const std::string& item : items) {
             const auto equals = item.find('=');
             if (equals == item.npos) throw CLI::ValidationError("--force", "expected OP=VARIANT, found " + item);
             options.force[item.substr(0, equals)] = item.substr(equals + 1);
           }
         },
         kForceHelp)
      ->type_name("OP=VARIANT")
      ->expected(1)
      ->take_all();
  app->add_flag("--json", options.json, "one JSON object on standard output");
  return {app,
          [&]() -> Result<int> {
            RL_ASSIGN(const OpenBackend open, open_backend(device));
            return done(cmd_generate(
                options, open.backend, [&](const char* probe) { return bandwidth(open.backend, probe); }, stdout));
          },
          &options.model};
}

Verb add_logits(CLI::App& root, LogitsOptions& options, DeviceOptions& device, std::string& save) {
  CLI::App* app = root.add_subcommand("logits", "logits of given token ids, to compare with another implementation");
  add_model(app, options.model, save);
  add_device(app, device);
  app->add_option("--ids-file", options.ids_file, "token ids between white space")->required()->type_name("FILE");
  app->add_option("-o,--out", options.out, "safetensors file: tensor logits [tokens, vocab] float32")
      ->required()
      ->type_name("FILE");
  add_format(app, options.format);
  return {app,
          [&]() -> Result<int> {
            RL_ASSIGN(const OpenBackend open, open_backend(device));
            return done(cmd_logits(options, open.backend));
          },
          &options.model};
}

Verb add_quality(CLI::App& root, QualityOptions& options, std::string& save) {
  CLI::App* app = root.add_subcommand("quality", "perplexity of a text, and what formats cost beside a baseline");
  add_model(app, options.model, save);
  add_device(app, options.device);
  app->add_option("--text", options.text, "UTF-8 text; default: the demo model's held-out text")->type_name("FILE");
  app->add_option("--window", options.window, "tokens of a window, the begin token included")->capture_default_str();
  app->add_option("--tokens", options.tokens, "tokens to score at most; 0: the whole text")
      ->capture_default_str()
      ->check(kNotNegative);
  add_format(app, options.format);
  add_kv_cache(app, options.kv_cache);
  app->add_option("--formats", options.formats, "compare these with the baseline: --formats fp32,int8")
      ->delimiter(',')
      ->type_name("NAMES");
  app->add_option("--prompts", options.prompts, "prompts of the text whose greedy outputs are compared")
      ->capture_default_str()
      ->check(kPositive);
  app->add_option("--baseline", options.baseline, "the format that others are compared with")->capture_default_str();
  app->add_flag("--json", options.json, "one JSON object on standard output");
  return {app, [&] { return done(cmd_quality(options, stdout)); }, &options.model};
}

Verb add_tokenize(CLI::App& root, TokenizeOptions& options, std::string& text) {
  CLI::App* app = root.add_subcommand("tokenize", "token ids of a text, and the text they decode to");
  CLI::Option* given = app->add_option("TEXT", text, "the text");
  app->add_option("-m,--model", options.model,
                  "a folder with tokenizer files, or OWNER/NAME in the Hugging Face cache; default: the demo model")
      ->type_name("MODEL");
  auto* file =
      app->add_option("-f,--file", options.file, "read the text from a file")->type_name("FILE")->excludes(given);
  app->add_option("--cases", options.cases, "JSON array of {\"text\", \"add_special_tokens\"}")
      ->type_name("FILE")
      ->excludes(given)
      ->excludes(file);
  app->add_flag("!--no-special-tokens", options.add_special_tokens, "add none of the tokenizer's special tokens");
  app->add_flag("--json", options.json, "a JSON array of {\"ids\", \"decoded\"} and nothing else");
  return {app, [&options, &text, given] {
            options.text = text;
            options.has_text = given->count() > 0;
            return done(cmd_tokenize(options, stdout));
          }};
}

Verb add_report(CLI::App& root, ReportOptions& options) {
  CLI::App* app = root.add_subcommand("report", "show a run again, or write it in another form");
  app->add_option("RUN", options.run, "its id, folder or record.json; default: the newest");
  app->add_option("--runs", options.runs_folder, "folder of all runs")->capture_default_str()->type_name("DIR");
  app->add_option("--out", options.out, "write report.html, report.md, results.csv and record.json here")
      ->type_name("DIR");
  app->add_option("-o,--output", options.format, "terminal, md, html, csv or json")->capture_default_str();
  return {app, [&] { return done(cmd_report(options, stdout)); }};
}

Verb add_history(CLI::App& root, HistoryOptions& options) {
  CLI::App* app = root.add_subcommand("history", "list the runs that were made, baselines, the trend of the headlines");
  app->add_option("--runs", options.runs_folder, "folder of all runs")->capture_default_str()->type_name("DIR");
  auto* baselines = app->add_flag("--baselines", options.baselines, "list the baselines");
  auto* drop = app->add_option("--drop-baseline", options.drop_baseline, "forget a baseline's name; its run stays")
                   ->type_name("NAME")
                   ->excludes(baselines);
  app->add_flag("--trend", options.trend, "each experiment's headline over the newest runs")
      ->excludes(baselines)
      ->excludes(drop);
  return {app, [&] { return done(cmd_history(options, stdout)); }};
}

Verb add_verify(CLI::App& root, VerifyOptions& options) {
  CLI::App* app = root.add_subcommand("verify", "whether runs are as they were written and follow from their samples");
  app->add_option("RUN", options.runs, "ids, folders, record.json, baselines, last, last~1; default: the whole store");
  app->add_option("--runs", options.runs_folder, "folder of all runs")->capture_default_str()->type_name("DIR");
  app->add_flag("--json", options.json, "a JSON list on standard output");
  return {app, [&] { return cmd_verify(options, stdout); }};
}

Verb add_compare(CLI::App& root, CompareCommand& command) {
  CLI::App* app =
      root.add_subcommand("compare", "what is better or worse in run B than in run A; exits 1 if anything is");
  app->add_option("A", command.baseline, "the baseline: id, folder, record.json, baseline's name, last, last~1")
      ->required();
  app->add_option("B", command.candidate, "the candidate")->required();
  app->add_option("--allow-differences", command.options.allowed,
                  "compare across these: " + CLI::detail::join(lab::difference_names(), ", ") + ", all")
      ->delimiter(',')
      ->type_name("NAMES");
  app->add_option("--smallest-effect", command.options.smallest_effect, "relative; smaller changes count as the same")
      ->capture_default_str();
  app->add_option("--runs", command.runs_folder, "folder of all runs")->capture_default_str()->type_name("DIR");
  app->add_flag("--all", command.all, "also list what is the same");
  auto* md = app->add_flag_callback(
      "--md", [&] { command.format = "md"; }, "Markdown on standard output");
  app->add_flag_callback(
         "--json", [&] { command.format = "json"; }, "JSON on standard output")
      ->excludes(md);
  return {app, [&] { return cmd_compare(command, stdout); }};
}

Verb add_doctor(CLI::App& root, DoctorOptions& options, FitOptions& fit) {
  CLI::App* app =
      root.add_subcommand("doctor", "what this machine has, what each missing part would enable, how to get it");
  app->add_flag("--json", options.json, "one JSON object on standard output");
  CLI::Option* wanted = app->add_flag("--fit", options.fit, "how many sequences fit a memory, by format and context");
  const auto of_fit = [&](const char* name, auto& value, const char* type, const char* help) {
    return app->add_option(name, value, help)->type_name(type)->needs(wanted);
  };
  of_fit("-m,--model", fit.model, "MODEL", kModelHelp);
  of_fit("--format", fit.formats, "LIST", "bf16,int8; default: all")->delimiter(',');
  of_fit("--kv-cache-dtype", fit.kv_cache, "TYPE", "of keys and values: auto (as the activations) or fp8 (e4m3)");
  of_fit("--vram,--memory", fit.memory, "SIZE", "memory to fit: 32GiB, 24GB; default: what is available here");
  of_fit("--context", fit.contexts, "LIST", "tokens of a sequence: 4096,32768; default: up to the model's")
      ->delimiter(',');
  return {app, [&] {
            fit.json = options.json;
            return done(options.fit ? cmd_fit(fit, stdout) : cmd_doctor(options, stdout));
          }};
}

Verb add_selftest(CLI::App& root, SelftestOptions& options) {
  CLI::App* app = root.add_subcommand("selftest", "every kernel of this machine's backend beside a plain reference");
  add_device(app, options.device);
  auto* small = app->add_flag("--small", options.small, "the smallest cases alone, as for a run under a sanitizer");
  app->add_flag("--full", options.full, "large shapes of real models as well: many minutes")->excludes(small);
  app->add_option("--only", options.only, "variants whose names begin so: linear, or attention/cuda.flash")
      ->type_name("NAME");
  app->add_option("-o,--output", options.output, "write the result as JSON, free of personal data")->type_name("FILE");
  return {app, [&] { return cmd_selftest(options, stdout); }};
}

Status save_to(const std::string& model, const std::string& folder) {
  RL_ASSIGN(const model::ModelSource source, open_model(model));
  RL_TRY(model::save_model(source, folder));
  say("redline: wrote {} to {}\n", source.name, folder);
  return ok();
}

Error cannot_write(int code) {
  return {.kind = ErrorKind::io, .what = "cannot write standard output", .found = std::strerror(code)};
}

// What is thrown through a verb: by the standard library where memory ends, by fmt where it cannot write.
Result<int> run_verb(const Verb& verb) {
  try {
    return verb.run();
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  } catch (const std::system_error& error) {
    if (std::ferror(stdout) != 0) return cannot_write(error.code().value());
    return Error{.kind = ErrorKind::io, .what = "the system refused a call", .found = error.what()};
  }
  return Error{.kind = ErrorKind::out_of_memory, .what = "this machine has too little memory for it"};
}

// As wide as the terminal, within what reports are made for; files and pipes get 80 columns.
int report_width() {
  const int columns = columns_of(STDOUT_FILENO);
  return columns == 0 ? 80 : std::clamp(columns, 40, 120);
}

}  // namespace

int run_command_line(int argc, const char* const* argv) {
  CLI::App root(
      "Redline: what each inference optimisation is worth on this machine, which combination is best, and how to run "
      "it");
  root.name("redline");
  const telemetry::BuildInfo build = telemetry::build_info();
  root.set_version_flag("--version", fmt::format("redline {} ({})\n{}", build.version, build.commit, backends_line()));
  root.require_subcommand(1);
  bool verbose = false;
  root.add_flag("-v,--verbose", verbose, "more on standard error");

  RunOptions run, experiment;
  BenchOptions bench;
  GenerateOptions generate;
  LogitsOptions logits;
  QualityOptions quality;
  TokenizeOptions tokenize;
  ReportOptions report;
  HistoryOptions history;
  VerifyOptions verify;
  CompareCommand compare;
  DoctorOptions doctor;
  FitOptions fit;
  SelftestOptions selftest;
  DeviceOptions generate_device, logits_device;
  std::string experiment_name, tokenize_text, save;
  const Verb verbs[] = {add_run(root, run, save),
                        add_experiment(root, experiment, experiment_name, save),
                        add_bench(root, bench, save),
                        add_generate(root, generate, generate_device, save),
                        add_logits(root, logits, logits_device, save),
                        add_quality(root, quality, save),
                        add_tokenize(root, tokenize, tokenize_text),
                        add_report(root, report),
                        add_history(root, history),
                        add_verify(root, verify),
                        add_compare(root, compare),
                        add_doctor(root, doctor, fit),
                        add_selftest(root, selftest)};
  try {
    root.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = root.exit(error);
    if (code == 0 && !std::cout.flush()) return fail(cannot_write(errno));
    return code == 0 ? kExitOk : kExitUsage;
  }
  if (verbose) log::set_level(log::Level::debug);
  run.command = experiment.command = command_text(argc, argv);
  run.color = experiment.color = report.color = ::isatty(STDOUT_FILENO) == 1;
  run.width = experiment.width = report.width = report_width();
  for (const Verb& verb : verbs) {
    if (!verb.app->parsed()) continue;
    if (!save.empty() && verb.model != nullptr) {
      if (const Status saved = save_to(*verb.model, save); !saved) return fail(saved.error());
      if (verb.app->get_name() == "generate" && generate.prompt.empty() && generate.file.empty()) return kExitOk;
    }
    const Result<int> code = run_verb(verb);
    if (std::fflush(stdout) != 0 && code) return fail(cannot_write(errno));
    return code ? *code : fail(code.error());
  }
  return kExitUsage;
}

}  // namespace rl::app
