#pragma once
// The one list of CUDA variants.

#include "ops/catalog.h"

namespace rl::cuda {

const ops::Catalog& catalog();

}  // namespace rl::cuda
