#include "app/cmd_verify.h"

#include <nlohmann/json.hpp>

#include "app/exit_code.h"
#include "app/find_run.h"
#include "app/wiring.h"
#include "base/file.h"
#include "experiments/list.h"
#include "lab/recompute.h"
#include "record/json.h"
#include "record/store.h"
#include "telemetry/build_info.h"

namespace rl::app {
namespace {

namespace fs = std::filesystem;
using record::Finding;

constexpr std::int64_t kMaxRecordBytes = std::int64_t{1} << 30;

struct Verified {
  std::string name;
  lab::Recomputation counts;  // with all findings
  bool files = false, store = false;
  std::string program;  // of another commit than this one, which may conclude otherwise: it is not asked to
};

void add(std::vector<Finding>& findings, std::vector<Finding> more) {
  std::move(more.begin(), more.end(), std::back_inserter(findings));
}

// The first line at which two texts part.
std::string first_difference(std::string_view found, std::string_view expected) {
  const auto at = std::mismatch(found.begin(), found.end(), expected.begin(), expected.end()).first;
  const auto line = 1 + std::count(found.begin(), at, '\n');
  const std::size_t start = found.rfind('\n', static_cast<std::size_t>(at - found.begin()) - (at == found.end())) + 1;
  return fmt::format("line {} ('{}')", line,
                     found.substr(start, std::min<std::size_t>(60, found.find('\n', start) - start)));
}

void recompute_all(const record::Run& run, const OpenBackend& open, Verified& verified) {
  CountingResource memory(open.device->memory());
  model::ModelSource model;
  model.name = run.model.name;
  if (run.environment.commit != telemetry::build_info().commit) verified.program = run.environment.commit;
  for (const record::Experiment& experiment : run.experiments) {
    lab::Context context{.backend = open.backend,
                         .oracle = oracle(),
                         .memory = memory,
                         .model = model,
                         .mode = run.mode == "full" ? lab::Mode::full : lab::Mode::quick,
                         .seed = run.seed};
    const lab::Entry* const entry = verified.program.empty() ? experiments::find(experiment.id) : nullptr;
    lab::Recomputation counts = lab::recompute(run, experiment, entry, context);
    verified.counts.metrics += counts.metrics;
    verified.counts.comparisons += counts.comparisons;
    verified.counts.outcomes += counts.outcomes;
    verified.counts.concluded += counts.concluded;
    add(verified.counts.findings, std::move(counts.findings));
  }
}

// The store that may know the run: the folder of runs it was asked for, that of its folder, or its own (--out).
std::vector<fs::path> stores_of(const RunPlace& place, const std::string& runs_folder) {
  std::vector<fs::path> folders{runs_folder};
  if (!place.file.empty()) {
    const fs::path folder = fs::absolute(place.folder()).lexically_normal();
    folders.push_back(folder);
    folders.push_back(folder.parent_path());
  }
  return folders;
}

Status check_store(const RunPlace& place, const std::string& id, const std::string& runs_folder,
                   const std::string& record_json, Verified& verified) {
  for (const fs::path& folder : stores_of(place, runs_folder)) {
    if (!has_store(folder)) continue;
    RL_ASSIGN(const record::Store store, record::Store::open(folder));
    RL_ASSIGN(const auto known, store.list());
    if (std::none_of(known.begin(), known.end(), [&](const auto& entry) { return entry.id == id; })) continue;
    verified.store = true;
    RL_ASSIGN(std::vector<Finding> findings, store.check(id));
    const bool intact = findings.empty();
    add(verified.counts.findings, std::move(findings));
    if (!intact || record_json.empty()) return ok();
    RL_ASSIGN(const record::Run kept, store.load(id));
    if (const std::string text = record::to_json(kept); text != record_json)
      verified.counts.findings.push_back(
          {"record.json", "differs from the store's copy of the run at " + first_difference(record_json, text)});
    return ok();
  }
  return ok();
}

Result<Verified> verify(const std::string& name, const std::string& runs_folder, const OpenBackend& open) {
  RL_ASSIGN(const RunPlace place, locate_run(name, runs_folder));
  Verified verified{.name = place.id.empty() ? place.file.string() : place.id};
  std::vector<Finding>& findings = verified.counts.findings;
  std::string text;
  Result<record::Run> run = record::Run{};
  if (!place.file.empty()) {
    verified.files = true;
    add(findings, record::check_sums(place.folder()));
    RL_ASSIGN(const FileView content, read_file(place.file, kMaxRecordBytes));
    text = content.text();
    run = record::from_json(text, place.file.string());
    if (run)
      if (const std::string canonical = record::to_json(*run); canonical != text)
        findings.push_back({"record.json", "is not as Redline writes it at " + first_difference(text, canonical)});
  } else {
    run = read_run(place, runs_folder);
  }
  if (!run)
    findings.push_back({place.file.empty() ? "store" : "record.json", "cannot be read: " + run.error().message()});
  const std::string id = run && place.id.empty() ? run->id : place.id;
  if (!id.empty()) RL_TRY(check_store(place, id, runs_folder, run ? text : "", verified));
  if (run) recompute_all(*run, open, verified);
  return verified;
}

void print(const Verified& verified, std::FILE* out) {
  const lab::Recomputation& counts = verified.counts;
  fmt::print(out, "{}  {}\n", verified.name, counts.findings.empty() ? "verified" : "DIFFERS");
  for (const Finding& finding : counts.findings) fmt::print(out, "  {} {}\n", finding.where, finding.what);
  fmt::print(out, "  checked: {}{}; computed again: {} metrics, {} comparisons, {} outcomes, {} conclusions\n",
             verified.files ? "files against their sums" : "no files", verified.store ? ", store" : ", not in a store",
             counts.metrics, counts.comparisons, counts.outcomes, counts.concluded);
  if (!verified.program.empty())
    fmt::print(out,
               "  conclusions: those of the program at commit {}; this one, at {}, might word or draw them otherwise\n",
               verified.program, telemetry::build_info().commit);
}

nlohmann::ordered_json json_of(const Verified& verified) {
  nlohmann::ordered_json findings = nlohmann::ordered_json::array();
  for (const Finding& finding : verified.counts.findings)
    findings.push_back({{"where", finding.where}, {"what", finding.what}});
  return {{"run", verified.name},
          {"verified", verified.counts.findings.empty()},
          {"findings", std::move(findings)},
          {"files", verified.files},
          {"store", verified.store},
          {"metrics", verified.counts.metrics},
          {"comparisons", verified.counts.comparisons},
          {"outcomes", verified.counts.outcomes},
          {"conclusions", verified.counts.concluded},
          {"other_program", verified.program}};
}

}  // namespace

Result<int> cmd_verify(const VerifyOptions& options, std::FILE* out) {
  RL_ASSIGN(const OpenBackend open, open_backend({}));
  std::vector<Verified> all;
  std::vector<std::string> names = options.runs;
  if (names.empty()) {
    if (!has_store(options.runs_folder)) return locate_run("", options.runs_folder).error();
    RL_ASSIGN(const record::Store store, record::Store::open(options.runs_folder));
    all.push_back({.name = "store", .store = true});
    RL_ASSIGN(all[0].counts.findings, store.check());
    RL_ASSIGN(const auto entries, store.list());
    for (const auto& entry : entries) names.push_back(entry.id);
  }
  for (const std::string& name : names) {
    RL_ASSIGN(Verified verified, verify(name, options.runs_folder, open));
    all.push_back(std::move(verified));
  }
  bool differs = false;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Verified& verified : all) {
    differs = differs || !verified.counts.findings.empty();
    if (options.json)
      list.push_back(json_of(verified));
    else
      print(verified, out);
  }
  if (options.json) fmt::print(out, "{}\n", list.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  return differs ? kExitInvalid : kExitOk;
}

}  // namespace rl::app
