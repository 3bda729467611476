#pragma once
// The rungs of the experiment `combined`: which techniques are on, the engine that has them, and the two loads.

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "lab/engine_load.h"
#include "lab/experiment.h"

namespace rl::experiments {

// In the order in which the ladder adds them, which is the plan's list of priorities.
enum class Technique { flash, format, graphs, batching, power };
inline constexpr std::array kTechniques = {Technique::flash, Technique::format, Technique::graphs, Technique::batching,
                                           Technique::power};
const char* id_of(Technique technique);    // "flash": the rung that adds it, and of "without-flash"
const char* name_of(Technique technique);  // "flash attention"
// Its rank in the plan's "Implementation Priority"; its fourth, streams, is batching here: both let requests overlap.
int plan_priority(Technique technique);

struct Rung {
  std::string id;  // "baseline", "flash", ..., "power", "without-flash", ..., "without-power"
  std::optional<Technique> added, left_out;
  std::array<bool, kTechniques.size()> on{};  // by Technique
  bool has(Technique technique) const { return on[static_cast<std::size_t>(technique)]; }
};
std::vector<std::string> rung_ids();
// Errors: usage for another name.
Result<Rung> rung_from(std::string_view id);

// What is served: requests of one shape, alone or all queued at the start.
struct LadderLoad {
  lab::RequestShape shape;
  std::int64_t queued = 0;  // requests of the throughput load; as many may run at once where batching is on
  // Of these, how many a rung that serves one at a time is timed with: they are alike, so all take as much longer as
  // there are more of them.
  std::int64_t alone = 0;
};

// An engine with a rung's techniques and its own count of memory.
class RungEngine {
 public:
  // `format`: the weights' where the rung has Technique::format; `weights`: where they are, or are kept from now on.
  // Errors: the engine's.
  static Result<std::unique_ptr<RungEngine>> make(lab::Context& context, const model::ModelSource& source,
                                                  lab::Weights& weights, const Rung& rung,
                                                  const std::optional<std::string>& format, const LadderLoad& load);

  engine::Engine& engine() { return *engine_; }
  Bytes memory() const { return weights_ + memory_.peak(); }
  Bytes weights() const { return weights_; }

  // Serve one request, or the queue, with prompts that no earlier call had. The tasks hold this engine.
  measure::Task one_request(std::string name);
  measure::Task queue(std::string name);
  // Requests of the queue that the task serves.
  std::int64_t served() const { return batching_ ? load_.queued : load_.alone; }

 private:
  RungEngine(MemoryResource& memory, const LadderLoad& load, bool batching, std::uint64_t seed)
      : memory_(memory), load_(load), batching_(batching), seed_(seed) {}
  measure::Task task(std::string name, std::int64_t requests);

  CountingResource memory_;  // outlives the engine
  Bytes weights_;
  std::unique_ptr<engine::Engine> engine_;
  LadderLoad load_;
  bool batching_;
  std::uint64_t seed_;
  std::vector<engine::Request> next_;
};

}  // namespace rl::experiments
