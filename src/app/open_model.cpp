#include "app/open_model.h"

#include "base/log.h"

namespace rl::app {

Result<model::ModelSource> open_model(const std::string& name) {
  RL_ASSIGN(model::ModelSource source, model::find_model(name));
  for (const std::string& warning : source.warnings) log::warning("{}", warning);
  return source;
}

}  // namespace rl::app
