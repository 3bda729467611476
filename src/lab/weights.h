#pragma once
// Weights that are loaded once and shared by every engine that asks for them in the same form. Loading a large model
// takes longer than most measurements with it.

#include <map>
#include <memory>
#include <string>

#include "engine/engine.h"
#include "model/model.h"
#include "ops/catalog.h"

namespace rl::lab {

class Weights {
 public:
  // An engine with these options on weights kept here, which are loaded if they are not there in this form yet. An
  // engine with a forced product, which may need another layout, gets weights of its own. Errors: Engine::make's.
  Result<std::unique_ptr<engine::Engine>> engine(const model::ModelSource& source, const ops::Backend& backend,
                                                 MemoryResource& memory, const engine::EngineOptions& options);
  // The smallest engine there is on these weights: others are made beside it (Engine::make_beside), and its memory plan
  // says how many bytes they are. Errors: as engine().
  Result<const engine::Engine*> holder(const model::ModelSource& source, const ops::Backend& backend,
                                       MemoryResource& memory, const engine::EngineOptions& options);
  // Those that no engine is on are given back now, the others with their last engine.
  void drop() { holders_.clear(); }

 private:
  std::map<std::string, std::unique_ptr<engine::Engine>> holders_;  // by model and format
};

}  // namespace rl::lab
