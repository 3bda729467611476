#include "engine/step_inputs.h"

#include "base/checked.h"

namespace rl::engine {

std::int64_t StepLimits::max_pages() const { return ceil_div(context, page_tokens); }

namespace {

constexpr std::int64_t kPartAlignment = 16;  // of a vector load

// Hands out consecutive parts of a block, each aligned.
class Carver {
 public:
  explicit Carver(void* base) : base_(reinterpret_cast<std::uintptr_t>(base)) {}
  template <class T>
  T* take(std::int64_t n) {
    const std::uintptr_t at = base_ + static_cast<std::uintptr_t>(used_);
    used_ += round_up(n * static_cast<std::int64_t>(sizeof(T)), kPartAlignment);
    return reinterpret_cast<T*>(at);
  }
  std::int64_t words() const { return used_ / 4; }

 private:
  std::uintptr_t base_;  // an integer: sizes are asked for without a block
  std::int64_t used_ = 0;
};

}  // namespace

StepInputParts step_input_parts(const StepBucket& bucket, const StepLimits& limits, void* base) {
  StepInputParts parts;
  Carver carver(base);
  parts.header = carver.take<std::int32_t>(ops::kFeedHeader);
  parts.ids = carver.take<std::int32_t>(bucket.tokens);
  parts.positions = carver.take<std::int32_t>(bucket.tokens);
  parts.seq_of = carver.take<std::int32_t>(bucket.tokens);
  parts.cu_q = carver.take<std::int32_t>(bucket.seqs + 1);
  parts.kv_len = carver.take<std::int32_t>(bucket.seqs);
  parts.head_rows = carver.take<std::int32_t>(bucket.head_rows);
  parts.rows = carver.take<ops::SampleRow>(bucket.sample ? bucket.head_rows : 0);
  // Of the padding tokens' row only the first page is read; the rest of it may lie in the tail.
  parts.page_table = carver.take<std::int32_t>(bucket.seqs * limits.max_pages() + 1);
  parts.words = carver.words();
  parts.history = carver.take<std::int32_t>(limits.seqs * limits.context);
  return parts;
}

Bytes step_input_bytes(const StepLimits& limits) {
  const std::int64_t rows = std::max(limits.head_rows, limits.seqs);
  const StepInputParts most = step_input_parts(
      {.tokens = limits.tokens, .seqs = limits.seqs, .head_rows = rows, .sample = true}, limits, nullptr);
  return {round_up(4 * (most.words + limits.seqs * limits.context), kAlignment)};
}

Result<StepInputs> StepInputs::make(const StepLimits& limits, std::int32_t padding_page, MemoryResource& memory,
                                    MemoryResource& pinned, Stream& stream) {
  StepInputs inputs;
  inputs.limits_ = limits;
  inputs.padding_page_ = padding_page;
  const Bytes block = step_input_bytes(limits), drawn{4 * limits.seqs};
  RL_ASSIGN(inputs.block_, Buffer::make(memory, block + Bytes{kAlignment}));
  RL_ASSIGN(inputs.drawn_, Buffer::make(memory, drawn));
  StepAddresses& addresses = inputs.addresses_;
  for (int turn = 0; turn < 2; ++turn) {
    RL_ASSIGN(inputs.host_[turn], Buffer::make(pinned, block));
    RL_ASSIGN(inputs.delivered_[turn], Buffer::make(pinned, drawn));
    // Words between the parts are brought along: let them be defined.
    std::memset(inputs.host_[turn].data(), 0, static_cast<std::size_t>(block.count));
    addresses.host[turn] = inputs.host_[turn].data();
    addresses.delivered[turn] = inputs.delivered_[turn].as<std::int32_t>();
  }
  addresses.block = inputs.block_.data();
  addresses.words = block.count / 4;
  addresses.turn = inputs.block_.as<std::int32_t>() + addresses.words;
  addresses.drawn = inputs.drawn_.as<std::int32_t>();
  RL_TRY(inputs.restart(stream));
  return inputs;
}

Status StepInputs::restart(Stream& stream) {
  const std::int32_t turn = turn_;
  RL_TRY(stream.copy_to_device(addresses_.turn, &turn, {4}));
  return stream.synchronize();
}

void StepInputs::write(std::span<const Chunk> chunks, const StepBucket& bucket) {
  const StepInputParts host = step_input_parts(bucket, limits_, addresses_.host[turn_]);
  const std::int64_t max_pages = limits_.max_pages();
  std::int64_t token = 0, head_row = 0, history = 0;
  std::int32_t seq = 0;
  host.cu_q[0] = 0;
  for (const Chunk& chunk : chunks) {
    const Sequence& sequence = *chunk.sequence;
    const std::int32_t last =
        chunk.row >= 0 ? -1 - chunk.row : sequence.tokens[static_cast<std::size_t>(chunk.end() - 1)];
    std::copy_n(sequence.tokens.data() + chunk.first, chunk.count - 1, host.ids + token);
    host.ids[token + chunk.count - 1] = last;
    for (std::int64_t i = 0; i < chunk.count; ++i) {
      host.positions[token + i] = static_cast<std::int32_t>(chunk.first + i);
      host.seq_of[token + i] = seq;
    }
    if (!bucket.sample) {
      for (std::int64_t i = 0; i < chunk.count; ++i) host.head_rows[head_row++] = static_cast<std::int32_t>(token + i);
    } else if (chunk.samples) {
      ops::SampleRow& row = host.rows[head_row];
      const SamplingParams& wish = sequence.sampling;
      row = {.temperature = wish.temperature,
             .top_k = wish.top_k,
             .top_p = wish.top_p,
             .min_p = wish.min_p,
             .repetition_penalty = wish.repetition_penalty,
             .seed = wish.seed,
             .counter = static_cast<std::uint64_t>(chunk.end() - sequence.prompt_tokens)};
      if (wish.repetition_penalty != 1) {
        row.history_begin = static_cast<std::int32_t>(history);
        std::copy_n(sequence.tokens.data(), chunk.end() - 1, host.history + history);
        history += chunk.end();
        host.history[history - 1] = last;
        row.history_end = static_cast<std::int32_t>(history);
      }
      host.head_rows[head_row++] = static_cast<std::int32_t>(token + chunk.count - 1);
    }
    token += chunk.count;
    host.kv_len[seq] = static_cast<std::int32_t>(chunk.end());
    std::copy(sequence.pages.pages.begin(), sequence.pages.pages.end(), host.page_table + seq * max_pages);
    host.cu_q[++seq] = static_cast<std::int32_t>(token);
  }

  RL_CHECK(token <= bucket.tokens && seq <= bucket.seqs && head_row <= bucket.head_rows);
  for (std::int64_t i = token; i < bucket.tokens; ++i) {
    host.ids[i] = 0;
    host.positions[i] = 0;
    host.seq_of[i] = static_cast<std::int32_t>(bucket.seqs);
  }
  for (std::int64_t s = seq; s < bucket.seqs; ++s) {
    host.kv_len[s] = 0;
    host.cu_q[s + 1] = static_cast<std::int32_t>(token);
    host.page_table[s * max_pages] = padding_page_;
  }
  host.page_table[bucket.seqs * max_pages] = padding_page_;
  for (std::int64_t i = head_row; i < bucket.head_rows; ++i) {
    host.head_rows[i] = 0;
    if (bucket.sample) host.rows[i] = {};
  }

  host.header[0] = turn_;
  host.header[1] = static_cast<std::int32_t>(history);
  used_ = {4 * (host.words + history)};
}

}  // namespace rl::engine
