#pragma once
// save_model with shards of another size.

#include "model/model.h"

namespace rl::model {

// As save_model (model.h); a tensor larger than max_shard gets a shard of its own.
Status save_model_in_shards(const ModelSource& source, const std::filesystem::path& folder, Bytes max_shard);

}  // namespace rl::model
