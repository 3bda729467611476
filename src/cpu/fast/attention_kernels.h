#pragma once
// What the attention kernels of each instruction set are given, and the table they export. Plain structs: files
// compiled for an instruction set include this.

#include "cpu/fast/number.h"

namespace rl::cpu {

inline constexpr std::int64_t kMaxHeadDim = 256;
inline constexpr std::int64_t kTileRows = 64;    // rows (queries x heads of a group) of a tile
inline constexpr std::int64_t kStreamRows = 8;   // blocks of at most this many rows go the streaming way
inline constexpr std::int64_t kStreamPool = 64;  // rows of all kv heads of a streaming block
inline constexpr std::int64_t kTileKeys = 64;    // keys visited at a time, at most

struct AttentionProblem {
  const void* q = nullptr;  // [tokens, heads, head_dim]
  std::int64_t q_token_stride = 0, q_head_stride = 0;
  const void* k = nullptr;  // [pages, kv_heads, page_tokens, head_dim], contiguous
  const void* v = nullptr;  // likewise
  std::int64_t page_tokens = 0;
  std::int64_t step = 0;      // keys visited at a time: 16, 32 or 64, a divisor of page_tokens
  Number type = Number::f32;  // of q, and of k and v
  // Where k and v are e4m3 codes: the 256 codes' values, of `type`, which they are read as.
  const void* code_values = nullptr;
  const std::int32_t* page_table = nullptr;
  std::int64_t page_table_stride = 0;
  std::int64_t kv_heads = 0, heads = 0, head_dim = 0;
  bool causal = true;
  std::int64_t window = 0;
  float scale = 0;      // of scores, log2(e) included: softmax in base 2
  void* out = nullptr;  // [tokens, heads, head_dim], contiguous
  Number out_type = Number::f32;
};

// One piece of work: some queries of a sequence, times heads that share a kv head, over a range of its keys. Row r is
// query first_query + r / heads of head first_head + r % heads. A streaming block may hold several kv heads, which lie
// one behind the other in each page: then first_head is that of the first, and each has rows of its own.
struct RowBlock {
  std::int64_t seq = 0, kv_head = 0, kv_heads = 1;
  std::int64_t first_token = 0;     // of the block's first query in q and out
  std::int64_t first_position = 0;  // of that query in its sequence
  std::int64_t queries = 0;
  std::int64_t first_head = 0, heads = 0;
  std::int64_t kv_len = 0;                // of the sequence
  std::int64_t kv_begin = 0, kv_end = 0;  // keys to visit; kv_begin a multiple of the problem's step

  std::int64_t rows() const { return queries * heads; }  // of one kv head
};

// Floats of one row of a partial result: the unnormalised output [head_dim], then maximum (base 2) and sum of its
// softmax.
constexpr std::int64_t partial_stride(std::int64_t head_dim) { return head_dim + 16; }

// Floats of a block's scores in memory, the standard way: [key][row] of a tile, [row][key] of a streaming block, rows
// padded, keys to kTileKeys; then one sum per row.
// Streaming rows come in groups of 4, 2 or 1; three are a group of four whose last is zeros.
constexpr bool is_stream(std::int64_t rows) { return rows <= kStreamRows; }
constexpr std::int64_t padded_rows(std::int64_t rows) {
  return is_stream(rows) ? (rows % 4 == 3 ? rows + 1 : rows) : (rows + 15) / 16 * 16;
}
constexpr std::int64_t score_floats(std::int64_t rows, std::int64_t keys) {
  return (padded_rows(rows) * ((keys + kTileKeys - 1) / kTileKeys * kTileKeys + 1) + 15) / 16 * 16;
}

struct AttentionKernels {
  // Flash: the block's whole softmax in one pass over the keys. partial null: writes out. Else the block is one part of
  // its keys: writes [rows][partial_stride], for each kv head `partial_head` floats after the one before.
  void (*flash)(const AttentionProblem&, const RowBlock&, float* partial, std::int64_t partial_head);
  // Joins the results of the parts of one kv head, part_floats apart, into out.
  void (*combine)(const AttentionProblem&, const RowBlock&, const float* partials, std::int64_t parts,
                  std::int64_t part_floats);
  // Standard, each over all keys of the block: scores = scale q k^T; softmax of each row, not yet divided by its sum;
  // out = scores v / sum. Scores of the block's kv heads lie one behind the other.
  void (*scores)(const AttentionProblem&, const RowBlock&, float* scores);
  void (*softmax)(const AttentionProblem&, const RowBlock&, float* scores);
  void (*values)(const AttentionProblem&, const RowBlock&, float* scores);
};

extern const AttentionKernels kAttentionPortable;
extern const AttentionKernels kAttentionAvx2;
extern const AttentionKernels kAttentionAvx512;
extern const AttentionKernels kAttentionAvx512Bf16;

}  // namespace rl::cpu
