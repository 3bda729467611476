#pragma once
// Everything a step needs to be told, as one block: written on the host, copied to the device in one piece. Each part
// has the same offset in every step, so that plans (and captured graphs) can hold its address.

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

// Addresses of the parts, on the device or in the host's copy.
struct StepInputParts {
  std::int32_t* ids = nullptr;        // [tokens]
  std::int32_t* positions = nullptr;  // [tokens]
  std::int32_t* seq_of = nullptr;     // [tokens]
  std::int32_t* cu_q = nullptr;       // [seqs + 1]
  std::int32_t* kv_len = nullptr;     // [seqs]
  std::int32_t* head_rows = nullptr;  // [head_rows]: tokens of the step whose logits are wanted
  ops::SampleRow* rows = nullptr;     // [seqs]
  // Parts below are used from their beginning only, so that a small step copies little.
  std::int32_t* page_table = nullptr;  // [seqs + 1, max_pages]; the row after the bucket's last is for padding
  std::int32_t* history = nullptr;     // [seqs * context]
};

// Where the parts lie relative to the block's base, and the block's size.
StepInputParts step_input_parts(const StepLimits& limits, void* base);
Bytes step_input_bytes(const StepLimits& limits);

class StepInputs {
 public:
  // padding_page: a page no sequence owns, for the keys and values of padding tokens.
  static Result<StepInputs> make(const StepLimits& limits, std::int32_t padding_page, MemoryResource& memory,
                                 MemoryResource& pinned);

  // Writes the host's copy for these chunks, padded to the bucket. A padding token is token 0 at position 0 of the row
  // after the bucket's last, whose page is the padding page; it is in no sequence's queries, so attention passes over
  // it, and no head row asks for it. A bucket that does not sample has every token as a head row (scoring), else the
  // last token of each sampling chunk.
  void write(std::span<const Chunk> chunks, const StepBucket& bucket);
  Status copy_to_device(Stream& stream) const;

  const StepLimits& limits() const { return limits_; }
  const StepInputParts& device() const { return device_; }
  const StepInputParts& host() const { return host_; }
  Bytes used() const { return used_; }  // what a copy moves

 private:
  StepLimits limits_;
  std::int32_t padding_page_ = 0;
  Buffer device_block_, host_block_;
  StepInputParts device_, host_;
  Bytes used_;
};

}  // namespace rl::engine
