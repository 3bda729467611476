#pragma once
// Everything a step needs to be told, as one block: written on the host, brought to the device by the step's first op
// (ops/step_io.h). Where the parts lie follows from the step's bucket alone, so that plans (and captured graphs) can
// hold their addresses, and a small step's block is small: less than 1 KB for a decode step of one sequence with a
// context of 8192 tokens.
//
// The host has two blocks, and two places for what a step draws. It writes one while the device may still read the
// other, so the step before the last must have ended.

#include <cstdint>
#include <span>

#include "device/device.h"
#include "engine/scheduler.h"
#include "engine/step_plan.h"
#include "ops/kv_layout.h"
#include "ops/sample.h"
#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace rl::engine {

struct StepLimits {
  std::int64_t tokens = 0;     // of a step
  std::int64_t seqs = 0;       // of a step
  std::int64_t head_rows = 0;  // of a step that scores; a step that samples has at most seqs
  std::int64_t context = 0;    // tokens of a sequence
  std::int64_t page_tokens = 0;
  std::int64_t max_pages() const;  // of a sequence
};

// Addresses of the parts, on the device or in one of the host's blocks. Each is aligned to 16 bytes.
struct StepInputParts {
  std::int32_t* header = nullptr;      // [ops::kFeedHeader]
  std::int32_t* ids = nullptr;         // [tokens]; below 0: a row of the step before
  std::int32_t* positions = nullptr;   // [tokens]
  std::int32_t* seq_of = nullptr;      // [tokens]
  std::int32_t* cu_q = nullptr;        // [seqs + 1]
  std::int32_t* kv_len = nullptr;      // [seqs]
  std::int32_t* head_rows = nullptr;   // [head_rows]: tokens of the step whose logits are wanted
  ops::SampleRow* rows = nullptr;      // [head_rows] if the step samples
  std::int32_t* page_table = nullptr;  // [seqs + 1, max_pages], the last row, for padding tokens, only begun
  std::int32_t* history = nullptr;     // [seqs * context]: the block's tail
  std::int64_t words = 0;              // of the block without its tail
};
StepInputParts step_input_parts(const StepBucket& bucket, const StepLimits& limits, void* base);
Bytes step_input_bytes(const StepLimits& limits);  // of the largest block

// What plans are bound to.
struct StepAddresses {
  void* block = nullptr;            // on the device
  void* host[2] = {};               // the blocks it is brought from
  std::int64_t words = 0;           // of each of the three
  std::int32_t* turn = nullptr;     // i32 [1]: the host's block that comes next
  std::int32_t* drawn = nullptr;    // i32 [seqs]: of the last step
  std::int32_t* delivered[2] = {};  // i32 [seqs], on the host
};

class StepInputs {
 public:
  // padding_page: a page no sequence owns, for the keys and values of padding tokens. The stream is used to begin with
  // the first turn, and is waited for.
  static Result<StepInputs> make(const StepLimits& limits, std::int32_t padding_page, MemoryResource& memory,
                                 MemoryResource& pinned, Stream& stream);

  // Writes the host's block for these chunks, padded to the bucket. A padding token is token 0 at position 0 of the row
  // after the bucket's last, whose page is the padding page; it is in no sequence's queries, so attention passes over
  // it, and no head row asks for it. A bucket that does not sample has every token as a head row (scoring), else the
  // last token of each sampling chunk.
  void write(std::span<const Chunk> chunks, const StepBucket& bucket);
  int turn() const { return turn_; }  // of the block that write() writes
  void next_turn() { turn_ = 1 - turn_; }
  // A step did not run to its end: what the device believes of turns is set right. Waits for the stream.
  Status restart(Stream& stream);

  const StepLimits& limits() const { return limits_; }
  const StepAddresses& addresses() const { return addresses_; }
  Bytes used() const { return used_; }  // of the block written last, its tail included

 private:
  StepLimits limits_;
  std::int32_t padding_page_ = 0;
  Buffer block_, drawn_, host_[2], delivered_[2];
  StepAddresses addresses_;
  int turn_ = 0;
  Bytes used_;
};

}  // namespace rl::engine
