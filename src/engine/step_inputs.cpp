#include "engine/step_inputs.h"

#include "base/checked.h"

namespace rl::engine {

std::int64_t StepLimits::max_pages() const { return ceil_div(context, page_tokens); }

namespace {

// Hands out consecutive parts of a block, each aligned.
class Carver {
 public:
  explicit Carver(void* base) : base_(reinterpret_cast<std::uintptr_t>(base)) {}
  template <class T>
  T* take(std::int64_t n) {
    const std::uintptr_t at = base_ + static_cast<std::uintptr_t>(used_);
    used_ += round_up(n * static_cast<std::int64_t>(sizeof(T)), kAlignment);
    return reinterpret_cast<T*>(at);
  }
  std::int64_t used() const { return used_; }

 private:
  std::uintptr_t base_;  // an integer: sizes are asked for without a block
  std::int64_t used_ = 0;
};

std::int64_t carve(const StepLimits& limits, void* base, StepInputParts& parts) {
  Carver carver(base);
  parts.ids = carver.take<std::int32_t>(limits.tokens);
  parts.positions = carver.take<std::int32_t>(limits.tokens);
  parts.seq_of = carver.take<std::int32_t>(limits.tokens);
  parts.cu_q = carver.take<std::int32_t>(limits.seqs + 1);
  parts.kv_len = carver.take<std::int32_t>(limits.seqs);
  parts.head_rows = carver.take<std::int32_t>(std::max(limits.head_rows, limits.seqs));
  parts.rows = carver.take<ops::SampleRow>(limits.seqs);
  parts.page_table = carver.take<std::int32_t>((limits.seqs + 1) * limits.max_pages());
  parts.history = carver.take<std::int32_t>(limits.seqs * limits.context);
  return carver.used();
}

}  // namespace

StepInputParts step_input_parts(const StepLimits& limits, void* base) {
  StepInputParts parts;
  carve(limits, base, parts);
  return parts;
}

Bytes step_input_bytes(const StepLimits& limits) {
  StepInputParts parts;
  return {carve(limits, nullptr, parts)};
}

Result<StepInputs> StepInputs::make(const StepLimits& limits, std::int32_t padding_page, MemoryResource& memory,
                                    MemoryResource& pinned) {
  StepInputs inputs;
  inputs.limits_ = limits;
  inputs.padding_page_ = padding_page;
  RL_ASSIGN(inputs.device_block_, Buffer::make(memory, step_input_bytes(limits)));
  RL_ASSIGN(inputs.host_block_, Buffer::make(pinned, step_input_bytes(limits)));
  // Parts that a step does not fill are copied along with those it does: let them be defined.
  std::memset(inputs.host_block_.data(), 0, static_cast<std::size_t>(inputs.host_block_.size().count));
  inputs.device_ = step_input_parts(limits, inputs.device_block_.data());
  inputs.host_ = step_input_parts(limits, inputs.host_block_.data());
  return inputs;
}

void StepInputs::write(std::span<const Chunk> chunks, const StepBucket& bucket) {
  const std::int64_t max_pages = limits_.max_pages();
  std::int64_t token = 0, head_row = 0, history = 0;
  std::int32_t seq = 0;
  host_.cu_q[0] = 0;
  for (const Chunk& chunk : chunks) {
    const Sequence& sequence = *chunk.sequence;
    std::copy_n(sequence.tokens.data() + chunk.first, chunk.count, host_.ids + token);
    for (std::int64_t i = 0; i < chunk.count; ++i) {
      host_.positions[token + i] = static_cast<std::int32_t>(chunk.first + i);
      host_.seq_of[token + i] = seq;
    }
    if (!bucket.sample) {
      for (std::int64_t i = 0; i < chunk.count; ++i) host_.head_rows[head_row++] = static_cast<std::int32_t>(token + i);
    } else if (chunk.samples) {
      ops::SampleRow& row = host_.rows[head_row];
      const SamplingParams& wish = sequence.sampling;
      row = {.temperature = wish.temperature,
             .top_k = wish.top_k,
             .top_p = wish.top_p,
             .min_p = wish.min_p,
             .repetition_penalty = wish.repetition_penalty,
             .seed = wish.seed,
             .counter = static_cast<std::uint64_t>(sequence.generated())};
      if (wish.repetition_penalty != 1) {
        row.history_begin = static_cast<std::int32_t>(history);
        std::copy(sequence.tokens.begin(), sequence.tokens.end(), host_.history + history);
        history += sequence.size();
        row.history_end = static_cast<std::int32_t>(history);
      }
      host_.head_rows[head_row++] = static_cast<std::int32_t>(token + chunk.count - 1);
    }
    token += chunk.count;
    host_.kv_len[seq] = static_cast<std::int32_t>(chunk.first + chunk.count);
    std::copy(sequence.pages.pages.begin(), sequence.pages.pages.end(), host_.page_table + seq * max_pages);
    host_.cu_q[++seq] = static_cast<std::int32_t>(token);
  }

  RL_CHECK(token <= bucket.tokens && seq <= bucket.seqs && head_row <= bucket.head_rows);
  for (std::int64_t i = token; i < bucket.tokens; ++i) {
    host_.ids[i] = 0;
    host_.positions[i] = 0;
    host_.seq_of[i] = static_cast<std::int32_t>(bucket.seqs);
  }
  for (std::int64_t s = seq; s < bucket.seqs; ++s) {
    host_.kv_len[s] = 0;
    host_.cu_q[s + 1] = static_cast<std::int32_t>(token);
    host_.page_table[s * max_pages] = padding_page_;
  }
  host_.page_table[bucket.seqs * max_pages] = padding_page_;
  for (std::int64_t i = head_row; i < bucket.head_rows; ++i) {
    host_.head_rows[i] = 0;
    if (bucket.sample) host_.rows[i] = {};
  }

  const std::byte* base = reinterpret_cast<const std::byte*>(host_.ids);
  const void* end = history > 0 ? static_cast<const void*>(host_.history + history)
                                : static_cast<const void*>(host_.page_table + (bucket.seqs + 1) * max_pages);
  used_ = {static_cast<const std::byte*>(end) - base};
}

Status StepInputs::copy_to_device(Stream& stream) const {
  return stream.copy_to_device(device_block_.data(), host_block_.data(), used_);
}

}  // namespace rl::engine
