// embed and rope_append. Bytes: as rows.h says. Rotary embedding: arXiv 2104.09864.

#include "cuda/kernels/rows/row_math.cuh"
#include "cuda/kernels/rows/rows.h"
#include "cuda/ptx/ptx.h"

namespace rl::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads) embed_kernel(EmbedParams p) {
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const std::int64_t id = p.ids[blockIdx.x];
  const T* row = static_cast<const T*>(p.table) + id * p.row_elements;
  const float scale = p.scales != nullptr ? p.scales[id] : 1.0f;
  float* out = p.out + static_cast<std::int64_t>(blockIdx.x) * p.hidden;
  for (int i = threadIdx.x; i < p.hidden; i += kThreads) out[i] = to_float(row[i]) * scale;
}

// A warp per head of a token (x: the token, y: eight heads): q heads stay in place, k heads and v heads go to their
// page, as T or as e4m3 codes. A lane takes kN neighbouring pairs (i, i + head_dim / 2) at once.
template <class T, class Cache, int kN>
__global__ void __launch_bounds__(kThreads) rope_append_kernel(RopeAppendParams p) {
  using V = Vector<T, kN>;
  using F = Vector<float, kN>;
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const int all_heads = p.heads + 2 * p.kv_heads;
  const int head = static_cast<int>(blockIdx.y) * (kThreads / 32) + static_cast<int>(threadIdx.x) / 32;
  if (head >= all_heads) return;
  const int lane = threadIdx.x % 32, half = p.head_dim / 2;
  const std::int64_t token = blockIdx.x;
  const int position = p.positions[token];
  T* const from = static_cast<T*>(p.qkv) + (token * all_heads + head) * p.head_dim;
  Cache* in_cache = nullptr;
  if (head >= p.heads) {
    const int kv_head = (head - p.heads) % p.kv_heads;
    const std::int64_t page = p.page_table[p.seq_of[token] * p.page_table_stride + position / p.page_tokens];
    Cache* const pages = static_cast<Cache*>(head < p.heads + p.kv_heads ? p.k_pages : p.v_pages);
    in_cache = pages + ((page * p.kv_heads + kv_head) * p.page_tokens + position % p.page_tokens) * p.head_dim;
  }
  if (head >= p.heads + p.kv_heads) {
    for (int i = kN * lane; i < p.head_dim; i += 32 * kN) {
      const V v = vector_at<kN>(from, i);
      if constexpr (std::is_same_v<T, Cache>) {
        vector_at<kN>(in_cache, i) = v;
      } else {
        Vector<Cache, kN> codes;
#pragma unroll
        for (int j = 0; j < kN; ++j) codes.at[j] = from_float<Cache>(to_float(v.at[j]));
        vector_at<kN>(in_cache, i) = codes;
      }
    }
    return;
  }
  const float* norm = head < p.heads ? p.q_norm : p.k_norm;
  float inverse = 1;
  if (norm != nullptr) {
    float sum = 0;
    for (int i = lane; i < p.head_dim; i += 32) sum += to_float(from[i]) * to_float(from[i]);
    inverse = 1.0f / sqrtf(warp_sum(sum) / static_cast<float>(p.head_dim) + p.eps);
  }
  const float* cosines = p.cos + static_cast<std::int64_t>(position) * half;
  const float* sines = p.sin + static_cast<std::int64_t>(position) * half;
  const auto rotate = [&](auto* to) {
    using To = std::remove_pointer_t<decltype(to)>;
    for (int i = kN * lane; i < half; i += 32 * kN) {
      const V low = vector_at<kN>(from, i), high = vector_at<kN>(from, i + half);
      const F c = vector_at<kN>(cosines, i), s = vector_at<kN>(sines, i);
      Vector<To, kN> new_low, new_high;
#pragma unroll
      for (int j = 0; j < kN; ++j) {
        float a = to_float(low.at[j]), b = to_float(high.at[j]);
        if (norm != nullptr) {
          a *= inverse * norm[i + j];
          b *= inverse * norm[i + j + half];
        }
        new_low.at[j] = from_float<To>(rotated_low(a, b, c.at[j], s.at[j]));
        new_high.at[j] = from_float<To>(rotated_high(a, b, c.at[j], s.at[j]));
      }
      vector_at<kN>(to, i) = new_low;
      vector_at<kN>(to, i + half) = new_high;
    }
  };
  if (std::is_same_v<T, Cache> || head >= p.heads)
    rotate(head >= p.heads ? in_cache : reinterpret_cast<Cache*>(from));
  else
    rotate(from);
}

unsigned blocks_for(std::int64_t work, int per_block) {
  return static_cast<unsigned>((work + per_block - 1) / per_block);
}

template <class T, class Cache>
cudaError_t rope_append_to(const RopeAppendParams& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(p.tokens), blocks_for(p.heads + 2 * p.kv_heads, kThreads / 32));
  return p.head_dim % 4 == 0 ? launch(rope_append_kernel<T, Cache, 2>, grid, kThreads, 0, stream, p)
                             : launch(rope_append_kernel<T, Cache, 1>, grid, kThreads, 0, stream, p);
}
template <class T>
cudaError_t rope_append(const RopeAppendParams& p, cudaStream_t stream) {
  return p.cache_type == DType::f8_e4m3 ? rope_append_to<T, __nv_fp8_e4m3>(p, stream) : rope_append_to<T, T>(p, stream);
}

}  // namespace

cudaError_t embed_rows(const EmbedParams& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(p.tokens));
  switch (p.type) {
    case DType::f32:
      return launch(embed_kernel<float>, grid, kThreads, 0, stream, p);
    case DType::bf16:
      return launch(embed_kernel<__nv_bfloat16>, grid, kThreads, 0, stream, p);
    case DType::f16:
      return launch(embed_kernel<__half>, grid, kThreads, 0, stream, p);
    case DType::i8:
      return launch(embed_kernel<std::int8_t>, grid, kThreads, 0, stream, p);
    default:
      return cudaErrorInvalidValue;
  }
}

cudaError_t rope_append_rows(const RopeAppendParams& p, cudaStream_t stream) {
  switch (p.type) {
    case DType::f32:
      return rope_append<float>(p, stream);
    case DType::bf16:
      return rope_append<__nv_bfloat16>(p, stream);
    case DType::f16:
      return rope_append<__half>(p, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace rl::cuda
