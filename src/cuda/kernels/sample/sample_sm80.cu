// sample: three kernels, so that all multiprocessors share what touches every logit once.
//   scan     chunks of a row: penalties, the largest logit and its lowest id, NaN and infinities
//   weigh    chunks of a row that draws: exp in double, as whole multiples of 2^-40
//   choose   a block per row: a greedy row takes the largest; others find the filters' limits and the drawn token by
//            bisection over the logits' bits, eight ways a pass (11 passes over the row for each filter and the draw)
// Bytes: a greedy row reads its logits once. Sums of whole numbers do not depend on their order: equal bits every time.

#include "cuda/kernels/common/element.cuh"
#include "cuda/kernels/sample/sample.h"
#include "cuda/ptx/ptx.h"
#include "num/random.h"

namespace rl::cuda {
namespace {

constexpr int kChunk = 4096, kScanThreads = 256, kChooseThreads = 512;
constexpr double kOne = 1ll << 40;  // the weight of the largest logit

using u32 = std::uint32_t;
using u64 = unsigned long long;

__host__ __device__ int chunks_of(int vocab) { return (vocab + kChunk - 1) / kChunk; }

// Of one chunk of a row.
struct Scan {
  u64 best;  // key of the largest logit, then the bits of its id turned over: the largest of these has the lowest id
  int nan, finite;
};

// Workspace: Scan [rows, chunks], weights u64 [rows, vocab], adjusted logits f32 [rows, vocab].
struct Parts {
  Scan* scans;
  u64* weights;
  float* logits;
};
__host__ __device__ Parts parts_of(const SampleParams& p, void* workspace) {
  Parts parts;
  parts.scans = static_cast<Scan*>(workspace);
  parts.weights = reinterpret_cast<u64*>(parts.scans + static_cast<std::int64_t>(p.rows) * chunks_of(p.vocab));
  parts.logits = reinterpret_cast<float*>(parts.weights + static_cast<std::int64_t>(p.rows) * p.vocab);
  return parts;
}

// Ordered as the numbers are; both zeros are equal.
__device__ u32 key_of(float x) {
  const u32 bits = __float_as_uint(x + 0.0f);
  return bits ^ (bits >> 31 != 0 ? 0xffffffffu : 0x80000000u);
}
__device__ float number_of(u32 key) { return __uint_as_float(key ^ (key >> 31 != 0 ? 0x80000000u : 0xffffffffu)); }
__device__ u64 best_of(float x, int id) { return static_cast<u64>(key_of(x)) << 32 | ~static_cast<u32>(id); }
__device__ int id_of(u64 best) { return static_cast<int>(~static_cast<u32>(best)); }

__device__ u64 larger(u64 a, u64 b) { return a > b ? a : b; }

__global__ void __launch_bounds__(kScanThreads) scan_kernel(SampleParams p, void* workspace) {
  __shared__ u32 seen[kChunk / 32];
  __shared__ u64 best_shared[kScanThreads / 32];
  const int first = static_cast<int>(blockIdx.x) * kChunk, end = min(first + kChunk, p.vocab);
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const ops::SampleRow wish = p.row[blockIdx.y];
  const Parts parts = parts_of(p, workspace);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * p.vocab;
  const bool penalty = wish.repetition_penalty != 1 && wish.history_end > wish.history_begin;
  if (penalty) {
    if (threadIdx.x < kChunk / 32) seen[threadIdx.x] = 0;
    __syncthreads();
    for (int i = wish.history_begin + static_cast<int>(threadIdx.x); i < wish.history_end; i += kScanThreads) {
      const int id = p.history[i];
      if (id >= first && id < end) atomicOr(&seen[(id - first) / 32], 1u << ((id - first) % 32));
    }
    __syncthreads();
  }
  u64 best = 0;
  int nan = 0, finite = 0;
  for (int i = first + static_cast<int>(threadIdx.x); i < end; i += kScanThreads) {
    float x = p.logits[row + i];
    if (penalty && (seen[(i - first) / 32] >> ((i - first) % 32) & 1) != 0)
      x = x > 0 ? __fdiv_rn(x, wish.repetition_penalty) : __fmul_rn(x, wish.repetition_penalty);
    if (wish.temperature != 0) parts.logits[row + i] = x;
    nan |= isnan(x);
    finite |= isfinite(x);
    best = larger(best, best_of(x, i));
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) best = larger(best, __shfl_xor_sync(0xffffffffu, best, offset));
  if (threadIdx.x % 32 == 0) best_shared[threadIdx.x / 32] = best;
  nan = __syncthreads_or(nan);
  finite = __syncthreads_or(finite);
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kScanThreads / 32; ++w) best = larger(best, best_shared[w]);
  parts.scans[blockIdx.y * chunks_of(p.vocab) + blockIdx.x] = {best, nan, finite};
}

// Of the whole row, on every thread.
__device__ Scan whole(const SampleParams& p, const Parts& parts, int row) {
  Scan all{0, 0, 0};
  for (int c = 0; c < chunks_of(p.vocab); ++c) {
    const Scan& part = parts.scans[row * chunks_of(p.vocab) + c];
    all.best = larger(all.best, part.best);
    all.nan |= part.nan;
    all.finite |= part.finite;
  }
  return all;
}

__global__ void __launch_bounds__(kScanThreads) weigh_kernel(SampleParams p, void* workspace) {
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const ops::SampleRow wish = p.row[blockIdx.y];
  if (wish.temperature == 0) return;
  const Parts parts = parts_of(p, workspace);
  const Scan all = whole(p, parts, blockIdx.y);
  if (all.nan != 0 || all.finite == 0) return;
  const float most = number_of(static_cast<u32>(all.best >> 32));
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * p.vocab;
  const int end = min((static_cast<int>(blockIdx.x) + 1) * kChunk, p.vocab);
  for (int i = static_cast<int>(blockIdx.x) * kChunk + static_cast<int>(threadIdx.x); i < end; i += kScanThreads) {
    const float x = parts.logits[row + i];
    const double weight =
        x == most ? 1
                  : exp((static_cast<double>(x) - static_cast<double>(most)) / static_cast<double>(wish.temperature));
    parts.weights[row + i] = static_cast<u64>(llrint(weight * kOne));
  }
}

// Sums over the candidates from some key on.
struct Sums {
  u64 weight = 0;
  u32 count = 0;
};
constexpr int kWays = 8;

// A row's candidates, sorted by falling key and rising id, of which a prefix is left: all keys above `key`, and the
// first `ties` of those equal to it. Lighter ones than `least` count for nothing.
struct Chooser {
  const float* logits;
  const u64* weights;
  int vocab;
  u32 key, first_key;
  u64 ties, least;

  // Sums from each of the pivots on, on every thread.
  __device__ void sums_from(const u32 (&pivot)[kWays - 1], Sums (&sums)[kWays - 1]) const {
    __shared__ u64 weight_shared[kWays - 1][kChooseThreads / 32];
    __shared__ u32 count_shared[kWays - 1][kChooseThreads / 32];
#pragma unroll
    for (int j = 0; j < kWays - 1; ++j) sums[j] = {};
    for (int i = threadIdx.x; i < vocab; i += kChooseThreads) {
      const u32 k = key_of(logits[i]);
      const u64 w = weights[i];
      if (k < key || w < least) continue;
#pragma unroll
      for (int j = 0; j < kWays - 1; ++j)
        if (k >= pivot[j]) sums[j].weight += w, ++sums[j].count;
    }
#pragma unroll
    for (int j = 0; j < kWays - 1; ++j) {
#pragma unroll
      for (int offset = 16; offset > 0; offset /= 2)
        sums[j].weight += __shfl_xor_sync(0xffffffffu, sums[j].weight, offset);
      sums[j].count = __reduce_add_sync(0xffffffffu, sums[j].count);
      if (threadIdx.x % 32 == 0) {
        weight_shared[j][threadIdx.x / 32] = sums[j].weight;
        count_shared[j][threadIdx.x / 32] = sums[j].count;
      }
    }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kWays - 1; ++j) {
      sums[j] = {};
      for (int w = 0; w < kChooseThreads / 32; ++w)
        sums[j].weight += weight_shared[j][w], sums[j].count += count_shared[j][w];
    }
    __syncthreads();
  }

  // Of all from `key` on, the ties that are not left included.
  __device__ Sums all() const {
    u32 pivot[kWays - 1];
    for (u32& x : pivot) x = key;
    Sums sums[kWays - 1];
    sums_from(pivot, sums);
    return sums[0];
  }

  // The weight of all that is left.
  __device__ u64 total() const {
    u32 pivot[kWays - 1];
    for (u32& x : pivot) x = key;
    pivot[1] = key == 0xffffffffu ? key : key + 1;
    Sums sums[kWays - 1];
    sums_from(pivot, sums);
    const u64 at_key = sums[0].weight - sums[1].weight, ties_there = sums[0].count - sums[1].count;
    return ties_there > ties ? sums[1].weight + at_key / ties_there * ties : sums[0].weight;
  }

  // Goes down the keys until reached(sums) holds for all from a key on. Returns that key and the sums above it.
  template <class Reached>
  __device__ u32 descend(const Reached& reached, Sums& above) const {
    u64 low = key, high = static_cast<u64>(first_key) + 1;
    above = {};
    while (high - low > 1) {
      u32 pivot[kWays - 1];
#pragma unroll
      for (int j = 0; j < kWays - 1; ++j) pivot[j] = static_cast<u32>(low + (high - low) * (j + 1) / kWays);
      Sums sums[kWays - 1];
      sums_from(pivot, sums);
      u64 new_low = low, new_high = high;
#pragma unroll
      for (int j = 0; j < kWays - 1; ++j) {
        if (reached(sums[j])) {
          new_low = larger(new_low, pivot[j]);
        } else if (pivot[j] < new_high) {
          new_high = pivot[j];
          above = sums[j];
        }
      }
      low = new_low, high = new_high;
    }
    return static_cast<u32>(low);
  }

  // The weight of one candidate with this key, which exists.
  __device__ u64 weight_at(u32 k) const {
    __shared__ u64 found;
    for (int i = threadIdx.x; i < vocab; i += kChooseThreads)
      if (key_of(logits[i]) == k) found = weights[i];
    __syncthreads();
    const u64 weight = found;
    __syncthreads();
    return weight;
  }

  // The smallest n >= 1 for which reached(above + n of this weight) holds.
  template <class Reached>
  __device__ static u64 ties_needed(const Reached& reached, const Sums& above, u64 weight) {
    u64 low = 0, high = 1;
    const auto holds = [&](u64 n) {
      return reached(Sums{above.weight + n * weight, static_cast<u32>(above.count + n)});
    };
    while (high < (1ull << 31) && !holds(high)) low = high, high *= 2;
    while (high - low > 1) {
      const u64 middle = (low + high) / 2;
      (holds(middle) ? high : low) = middle;
    }
    return high;
  }

  template <class Reached>
  __device__ void keep(const Reached& reached) {
    if (!reached(all())) return;  // there are fewer
    Sums above;
    const u32 k = descend(reached, above);
    const u64 n = ties_needed(reached, above, weight_at(k));
    ties = k == key ? min(ties, n) : n;
    key = k;
  }

  // The n-th (from 1) of the candidates with this key, by id. Threads have consecutive ranges of ids.
  __device__ int nth(u32 k, u64 n) const {
    __shared__ u32 before[kChooseThreads];
    __shared__ int chosen;
    const int each = (vocab + kChooseThreads - 1) / kChooseThreads;
    const int first = min(static_cast<int>(threadIdx.x) * each, vocab), end = min(first + each, vocab);
    u32 count = 0;
    for (int i = first; i < end; ++i) count += key_of(logits[i]) == k;
    before[threadIdx.x] = count;
    if (threadIdx.x == 0) chosen = -1;
    __syncthreads();
    for (int offset = 1; offset < kChooseThreads; offset *= 2) {
      const u32 add = static_cast<int>(threadIdx.x) >= offset ? before[threadIdx.x - offset] : 0;
      __syncthreads();
      before[threadIdx.x] += add;
      __syncthreads();
    }
    u64 here = before[threadIdx.x] - count;
    for (int i = first; i < end; ++i)
      if (key_of(logits[i]) == k && ++here == n) chosen = i;
    __syncthreads();
    return chosen;
  }
};

__global__ void __launch_bounds__(kChooseThreads) choose_kernel(SampleParams p, void* workspace) {
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const ops::SampleRow wish = p.row[blockIdx.x];
  const Parts parts = parts_of(p, workspace);
  const Scan all = whole(p, parts, blockIdx.x);
  if (all.nan != 0 || all.finite == 0 || wish.temperature == 0) {
    if (threadIdx.x == 0) p.out[blockIdx.x] = all.nan != 0 || all.finite == 0 ? -1 : id_of(all.best);
    return;
  }
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * p.vocab;
  Chooser chooser{.logits = parts.logits + row,
                  .weights = parts.weights + row,
                  .vocab = p.vocab,
                  .key = key_of(-INFINITY) + 1,
                  .first_key = static_cast<u32>(all.best >> 32),
                  .ties = ~0ull,
                  .least = 0};
  if (wish.top_k > 0 && wish.top_k < p.vocab) {
    const u32 k = static_cast<u32>(wish.top_k);
    chooser.keep([k](const Sums& sums) { return sums.count >= k; });
  }
  if (wish.top_p < 1) {
    const double wanted = static_cast<double>(wish.top_p) * static_cast<double>(chooser.total());
    chooser.keep([wanted](const Sums& sums) { return static_cast<double>(sums.weight) >= wanted; });
  }
  if (wish.min_p > 0) chooser.least = static_cast<u64>(ceil(static_cast<double>(wish.min_p) * kOne));
  const double target = num::uniform(wish.seed, wish.counter) * static_cast<double>(chooser.total());
  const auto drawn = [target](const Sums& sums) { return static_cast<double>(sums.weight) > target; };
  Sums above;
  const u32 key = chooser.descend(drawn, above);
  const u64 n = Chooser::ties_needed(drawn, above, chooser.weight_at(key));
  const int id = chooser.nth(key, n);
  if (threadIdx.x == 0) p.out[blockIdx.x] = id;
}

}  // namespace

std::int64_t sample_workspace(const SampleParams& p) {
  const std::int64_t rows = p.rows;
  return rows * chunks_of(p.vocab) * static_cast<std::int64_t>(sizeof(Scan)) + rows * p.vocab * 12;
}

cudaError_t sample_rows(const SampleParams& p, void* workspace, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(chunks_of(p.vocab)), static_cast<unsigned>(p.rows));
  if (const cudaError_t code = launch(scan_kernel, grid, kScanThreads, 0, stream, p, workspace); code != cudaSuccess)
    return code;
  if (const cudaError_t code = launch(weigh_kernel, grid, kScanThreads, 0, stream, p, workspace); code != cudaSuccess)
    return code;
  return launch(choose_kernel, dim3(static_cast<unsigned>(p.rows)), kChooseThreads, 0, stream, p, workspace);
}

}  // namespace rl::cuda
