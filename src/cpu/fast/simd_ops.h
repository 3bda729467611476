#pragma once
// The small ops' inner loops, one table per instruction set. Plain pointers: files compiled for an instruction set
// include this.

#include "cpu/fast/number.h"
#include "num/formats.h"

namespace rl {
struct Arch;
}

namespace rl::cpu {

// One head of q or k: norm (if norm is not null), then rotation of pairs (i, i + head_dim / 2).
struct RopeHead {
  const void* in = nullptr;  // [head_dim], of `type`
  void* out = nullptr;       // likewise; may be in
  Number type = Number::f32;
  const float* cos = nullptr;   // [head_dim / 2]
  const float* sin = nullptr;   // [head_dim / 2]
  const float* norm = nullptr;  // [head_dim]
  float eps = 0;
  std::int64_t head_dim = 0;
};

// A row of logits at a glance.
struct LogitScan {
  float maximum = 0, minimum = 0;
  std::int64_t index = 0;  // of the first that equals the maximum
  bool nan = false;        // then the others mean nothing
};

// Sorts logits into buckets by their distance from the maximum, nearest first: bucket = min(last, distance * scale).
struct LogitBuckets {
  double maximum = 0, scale = 0;
  std::int32_t last = 0;
};

struct SmallOps {
  // out = x / sqrt(mean(x^2) + eps) * weight, [n].
  void (*rms_norm)(const float* x, const float* weight, std::int64_t n, float eps, void* out, Number out_type);
  void (*rope_head)(const RopeHead& head);
  // out = silu(gate) * up, [n], all of one type.
  void (*silu_mul)(const void* gate, const void* up, std::int64_t n, void* out, Number type);
  void (*widen_bf16)(const std::uint16_t* in, std::int64_t n, float* out);
  void (*widen_f16)(const num::fp16* in, std::int64_t n, float* out);
  void (*widen_int8)(const std::int8_t* in, std::int64_t n, float scale, float* out);
  LogitScan (*scan_logits)(const float* logits, std::int64_t n);
  void (*bucket_logits)(const float* logits, std::int64_t n, const LogitBuckets& buckets, std::int32_t* bucket);
  // weight = e^((logit - maximum) * inverse_temperature), relative error below 1e-15 (1 + |exponent|).
  void (*weigh_logits)(const float* logits, std::int64_t n, double maximum, double inverse_temperature, double* weight);
};

extern const SmallOps kSmallOpsPortable;
extern const SmallOps kSmallOpsAvx2;
extern const SmallOps kSmallOpsAvx512;

const SmallOps& small_ops(const Arch& arch);

}  // namespace rl::cpu
