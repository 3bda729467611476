#pragma once
// All variants a backend offers, one list per op: best first, the naive one last.

#include <span>

#include "device/probe.h"
#include "ops/attention.h"
#include "ops/choices.h"
#include "ops/embed.h"
#include "ops/fused_linear.h"
#include "ops/linear.h"
#include "ops/rms_norm.h"
#include "ops/rope_append.h"
#include "ops/sample.h"
#include "ops/silu_mul.h"
#include "ops/step_io.h"
#include "ops/variant.h"

namespace rl::ops {

struct Catalog {
  std::span<const Variant<FeedArgs>> feed;
  std::span<const Variant<EmbedArgs>> embed;
  std::span<const Variant<RmsNormArgs>> rms_norm;
  std::span<const Variant<LinearArgs>> linear;
  std::span<const Variant<FusedLinearArgs>> fused_linear = {};  // of products that this backend fuses; may be empty
  std::span<const Variant<RopeAppendArgs>> rope_append;
  std::span<const Variant<AttentionArgs>> attention;
  std::span<const Variant<SiluMulArgs>> silu_mul;
  std::span<const Variant<SampleArgs>> sample;
  std::span<const Variant<DeliverArgs>> deliver;
  std::span<const quant::Layout> layouts;  // weight layouts its variants read, preferred first
};

// A device with the variants that run on it: what the engine and the lab are given.
struct Backend {
  const char* name = "";  // "cpu", "cuda"
  Device* device = nullptr;
  Catalog catalog;
  std::span<const Probe> probes;  // its ceilings: docs/measuring.md
  Choices* choices = nullptr;     // null: the order of the lists decides, never a measurement
};

}  // namespace rl::ops
