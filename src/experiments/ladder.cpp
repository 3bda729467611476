#include "experiments/ladder.h"

#include <fmt/ranges.h>

namespace rl::experiments {
namespace {

struct Facts {
  const char* id;
  const char* name;
};
constexpr std::array<Facts, kTechniques.size()> kFacts = {{{"flash", "flash attention"},
                                                           {"format", "8-bit format"},
                                                           {"graphs", "captured steps"},
                                                           {"batching", "continuous batching"},
                                                           {"power", "power limit"}}};
constexpr std::string_view kWithout = "without-";

const Facts& facts(Technique technique) { return kFacts[static_cast<std::size_t>(technique)]; }

}  // namespace

const char* id_of(Technique technique) { return facts(technique).id; }
const char* name_of(Technique technique) { return facts(technique).name; }
int plan_priority(Technique technique) { return static_cast<int>(technique) + 1; }

std::vector<std::string> rung_ids() {
  std::vector<std::string> ids = {"baseline"};
  for (const Technique technique : kTechniques) ids.emplace_back(id_of(technique));
  for (const Technique technique : kTechniques) ids.push_back(std::string(kWithout) + id_of(technique));
  return ids;
}

Result<Rung> rung_from(std::string_view id) {
  Rung rung{.id = std::string(id)};
  if (id == "baseline") return rung;
  const bool without = id.starts_with(kWithout);
  for (const Technique technique : kTechniques) {
    rung.on[static_cast<std::size_t>(technique)] = true;
    if (without || id != id_of(technique)) continue;
    rung.added = technique;
    return rung;
  }
  for (const Technique technique : kTechniques) {
    if (!without || id.substr(kWithout.size()) != id_of(technique)) continue;
    rung.on[static_cast<std::size_t>(technique)] = false;
    rung.left_out = technique;
    return rung;
  }
  return Error{.kind = ErrorKind::usage,
               .what = "no such rung",
               .field = "--rung",
               .expected = fmt::format("{}", fmt::join(rung_ids(), ", ")),
               .found = std::string(id)};
}

Result<std::unique_ptr<RungEngine>> RungEngine::make(lab::Context& context, const model::ModelSource& source,
                                                     lab::Weights& weights, const Rung& rung,
                                                     const std::optional<std::string>& format, const LadderLoad& load) {
  std::unique_ptr<RungEngine> made(new RungEngine(context.memory, load, rung.has(Technique::batching), context.seed));
  engine::EngineOptions options{.max_context = load.shape.prompt + load.shape.generated,
                                .max_seqs = rung.has(Technique::batching) ? load.queued : 1,
                                .graphs = rung.has(Technique::graphs),
                                .prefix_reuse = false};
  if (rung.has(Technique::format) && format) {
    RL_ASSIGN(const engine::NumberFormat chosen, engine::format_from(*format));
    options.weights = chosen.weights;
  }
  if (!rung.has(Technique::flash)) {
    for (const auto& variant : context.backend.catalog.attention)
      if (std::string_view(variant.name).ends_with(".standard")) options.force["attention"] = variant.name;
  }
  RL_ASSIGN(const engine::Engine* holder, weights.holder(source, context.backend, context.memory, options));
  made->weights_ = holder->memory_plan().of("weights");
  RL_ASSIGN(made->engine_, engine::Engine::make_beside(*holder, context.backend, made->memory_, options));
  return made;
}

measure::Task RungEngine::one_request(std::string name) { return task(std::move(name), 1); }
measure::Task RungEngine::queue(std::string name) { return task(std::move(name), served()); }

measure::Task RungEngine::task(std::string name, std::int64_t requests) {
  return {.name = std::move(name),
          .run = [this] { return lab::serve_all(*engine_, next_); },
          .prepare =
              [this, requests] {
                next_ = lab::random_requests(requests, load_.shape, engine_->config().vocab, seed_++);
                return ok();
              }};
}

}  // namespace rl::experiments
