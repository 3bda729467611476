#pragma once
// linear for few tokens by blocks that stay, with the ops around it taken in: the RMS norm before it, or the
// quantisation of its input; the gated activation or the rotary embedding after it.

#include "cuda/kernels/linear/linear.h"
#include "cuda/kernels/rows/rows.h"

namespace rl::cuda {

constexpr int kStreamTokens = 8, kStreamWarps = 8;  // kStreamWarps: of a tile of 16 rows

// How a block works, by the architecture it was compiled for. 9.0, measured on an H200 (docs/performance.md): the more
// bytes the ring holds the better for 16-bit weights, but before x is there few under way; 8-bit ones need more warps
// for their arithmetic. Elsewhere what every card has room for: code of 8.0 runs on 8.6, and PTX of 8.9 on what is
// newer than this program. A multiprocessor's share of an A100's rate is half of an H200's, of a GDDR card's a third.
struct StreamConfig {
  int groups;  // of kStreamWarps, each with a tile of its own
  int chunks;  // 64-byte pieces of each of 16 rows that a warp's stage has
  int stages;  // of a warp
  int early;   // of them asked for before the wait for the predecessor
  // Warps beside those that multiply: they wait for the predecessor and prepare x. Meanwhile `early` stages are under
  // way and the others follow as they arrive. 0: those that multiply do it.
  int helpers;
  int smem_kib;  // that a block may have: CUDA programming guide, technical specifications
  constexpr int ring_bytes() const { return groups * kStreamWarps * stages * chunks * 1024; }
};
constexpr StreamConfig stream_config(int version, bool wide) {
  if (version == 90) return wide ? StreamConfig{1, 4, 5, 2, 8, 227} : StreamConfig{2, 2, 4, 2, 0, 227};
  return {1, 2, 3, 3, 0, 99};
}
// Partial sums and scales, at most.
constexpr int stream_static_bytes(const StreamConfig& c) { return c.groups * 9 * 1024 + 1024; }
// Bytes between the inputs of two tokens in shared memory; half a line more than whole lines, so that two tokens' bytes
// lie in different banks. x: 16-bit numbers, also those that e4m3 codes become, or int8.
constexpr int stream_x_bytes(int cols, bool int8) { return (cols * (int8 ? 1 : 2) + 127) / 128 * 128 + 64; }
constexpr bool stream_fits(int version, int tokens, int cols, bool wide, bool int8) {
  const StreamConfig c = stream_config(version, wide);
  return tokens * stream_x_bytes(cols, int8) + c.ring_bytes() + stream_static_bytes(c) <= c.smem_kib * 1024;
}

static_assert(stream_fits(120, 1, 14336, true, false), "Llama-3-8B's widest product, one token, in 99 KiB");

// What x is and where it comes from.
enum class StreamInput {
  ready,    // product.x as the product reads it: 16-bit numbers, or codes
  numbers,  // product.x of `type`, to be quantised; up to kStreamQuantizeCols columns
  norm,  // rows of `norm.x`, to be normalised, rounded to `type` and quantised where the product reads codes; columns a
         // multiple of 8, up to kStreamNormCols
};
constexpr int kStreamQuantizeCols = 16384, kStreamNormCols = 8192;

// What becomes of the product.
enum class StreamOutput {
  plain,  // product.out
  silu,   // rows of W: gate, then up, a multiple of 16; product.out of `type`: silu(gate) * up [tokens, rows / 2]
  rope,  // rows of W: q, k and v heads of `rope`, without norms, head_dim a multiple of 16; product.out of `type`: only
         // its q heads are written
};

struct StreamParams {
  // x_type: as the product reads it, whatever its source. fp8 blocks are not supported, and x_scale only where ready.
  LinearParams product;
  DType type;  // bf16 or f16, of activations
  StreamInput input;
  StreamOutput output;
  RmsNormParams norm;     // x, weight, rows and eps
  RopeAppendParams rope;  // all but qkv
};
// Sums have the bits of linear_skinny's, and what surrounds them those of the kernels it stands for. Errors: those of
// the launch; cudaErrorInvalidValue for types it does not take.
cudaError_t linear_stream(const StreamParams& params, cudaStream_t stream);

}  // namespace rl::cuda
