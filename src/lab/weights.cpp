#include "lab/weights.h"

namespace rl::lab {
namespace {

quant::ModelFormat format_of(const engine::EngineOptions& options) {
  if (options.weights) return *options.weights;
  for (const engine::NumberFormat& format : engine::formats())
    if (format.precision == options.precision) return format.weights;  // the first is the precision's own
  RL_CHECK_MSG(false, "a precision without a format");
}

}  // namespace

Result<const engine::Engine*> Weights::holder(const model::ModelSource& source, const ops::Backend& backend,
                                              MemoryResource& memory, const engine::EngineOptions& options) {
  const quant::ModelFormat format = format_of(options);
  std::unique_ptr<engine::Engine>& holder =
      holders_[fmt::format("{}: {}, {}", source.name, describe(format), engine::name_of(options.precision))];
  if (!holder) {
    RL_ASSIGN(holder, engine::Engine::make(source, backend, memory,
                                           {.precision = options.precision,
                                            .weights = format,
                                            .max_context = 2,
                                            .max_seqs = 1,
                                            .step_tokens = 1,
                                            .graphs = false,
                                            .prefix_reuse = false}));
  }
  return holder.get();
}

Result<std::unique_ptr<engine::Engine>> Weights::engine(const model::ModelSource& source, const ops::Backend& backend,
                                                        MemoryResource& memory, const engine::EngineOptions& options) {
  if (options.force.contains("linear")) return engine::Engine::make(source, backend, memory, options);
  RL_ASSIGN(const engine::Engine* there, holder(source, backend, memory, options));
  return engine::Engine::make_beside(*there, backend, memory, options);
}

}  // namespace rl::lab
