#pragma once
// Continuous batching (Orca, Yu et al., OSDI 2022; chunked prefill: Agrawal et al., arXiv 2403.02310): each step takes
// one token of every running sequence that decodes, then chunks of prompts until the step is full. It decides only
// who runs; it knows pages by number and no device, so that it can be tested alone.
//
// A step may be planned before the one ahead of it is complete: its sequences go on with a token that is not known yet
// (kUnknown), since the device will have it when the later step begins. What the earlier step then draws can end a
// sequence that the later one holds already: its chunk there is dead, its row is thrown away. Steps run in the order
// they were planned in, so pages may be given to others as soon as the last step that uses them is planned.
//
// Rules. Admission is first come, first served: a request starts when a place (max_seqs) and the pages of its whole
// prompt and one token more are free, and nobody overtakes it. When a decoding sequence needs a page and none is free,
// the youngest running sequence gives up its pages and returns to the head of the queue; it is computed again later
// (its tokens are kept, so nothing is sampled twice). The oldest sequence therefore always goes on, and since no
// request is accepted that the whole pool could not hold, every accepted request ends. What is computed once is shared
// (kv_pages.h): a sequence begins after the longest prefix whose pages are known, its last token always computed, and a
// preempted one mostly finds its own pages again.

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/units.h"
#include "engine/kv_pages.h"
#include "engine/request.h"

namespace rl::engine {

struct SchedulerLimits {
  std::int64_t step_tokens = 0;  // of one step; at least max_seqs, so that every running sequence can decode in it
  std::int64_t max_seqs = 0;     // running at once
  std::int64_t max_context = 0;  // tokens of one sequence, prompt and generated
  bool prefix_reuse = true;      // share the pages of equal prefixes
};

inline constexpr TokenId kUnknown = -1;  // a token that a planned step draws

struct Sequence {
  RequestId id;
  SamplingParams sampling;
  std::vector<TokenId> stop_ids;
  std::vector<TokenId> tokens;     // the prompt, then what was generated; its last ones may be kUnknown
  std::int64_t prompt_tokens = 0;  // of tokens
  std::int64_t end = 0;            // size of tokens at which the request has its last one
  std::int64_t cached = 0;         // leading tokens whose keys and values are in the pages once all planned steps ran
  std::int64_t unknown = 0;        // trailing tokens that are kUnknown
  std::int32_t row = 0;            // of the last one in what its step draws
  PageTable pages;
  std::optional<Seconds> deadline;
  bool cancelled = false, ended = false;

  std::int64_t size() const { return static_cast<std::int64_t>(tokens.size()); }
  std::int64_t pending() const { return size() - cached; }                     // to be computed; 1 in decode
  std::int64_t generated() const { return size() - unknown - prompt_tokens; }  // known ones
  bool finishing() const { return size() == end; }                             // its last step is planned
};

// Consecutive tokens of one sequence in a step: tokens[first, first + count) at those positions.
struct Chunk {
  const Sequence* sequence = nullptr;  // null: it has ended since the step was planned
  std::int64_t first = 0, count = 0;
  bool samples = false;   // the sequence's last token is in it: a new one is drawn
  std::int32_t row = -1;  // of the step before, which draws the chunk's last token; -1: all tokens are known

  std::int64_t end() const { return first + count; }
};

class Scheduler {
 public:
  Scheduler(const SchedulerLimits& limits, PagePool& pages);

  // Queues the request. Errors: invalid_input with the reason: an empty prompt, max_tokens < 1, a prompt that leaves no
  // room in the context, more tokens than all pages together hold.
  Result<RequestId> submit(Request request);
  void cancel(RequestId id);  // of an unknown or ended request: nothing
  bool idle() const { return running_.empty() && waiting_.empty(); }

  // Plans the next step, while at most one other is planned: its chunks, decodes first, then prompts, each group oldest
  // first. Ends cancelled requests and those whose deadline is not after `now` before that, with an event each. Empty
  // if there is nothing to run, and then nothing is planned. The span holds until the step is complete.
  std::span<const Chunk> next(Seconds now, std::vector<TokenEvent>& events);

  // What the oldest planned step drew: one token for each chunk with `samples`, in order; negative: that row's logits
  // were not numbers, which ends its request with FinishReason::error. Adds an event for each that is not dead.
  void complete(std::span<const TokenId> drawn, Seconds now, std::vector<TokenEvent>& events);
  // Steps planned and not complete: 0 to 2.
  std::int64_t planned() const { return planned_; }
  // If the oldest planned step has nothing but dead chunks: forgets it.
  bool drop_dead();
  // The newest planned step did not run: as if it had not been planned.
  void revert();

  // The running sequences, oldest first, with the pages they hold.
  std::span<const std::unique_ptr<Sequence>> sequences() const { return running_; }
  std::int64_t running() const { return static_cast<std::int64_t>(running_.size()); }
  std::int64_t waiting() const { return static_cast<std::int64_t>(waiting_.size()); }
  std::int64_t preemptions() const { return preemptions_; }
  std::int64_t reused_tokens() const { return reused_tokens_; }  // that were found in the cache at an admission
  std::int64_t dead_rows() const { return dead_rows_; }          // drawn for sequences that had ended
  // Ends the program if the bookkeeping contradicts itself: pages owned by running sequences and free pages make the
  // pool, each page has as many owners as it counts, running is older than waiting, each sequence's pages cover what is
  // cached.
  void check_invariants() const;

 private:
  using Owned = std::unique_ptr<Sequence>;
  void end_unwanted(Seconds now, std::vector<TokenEvent>& events);
  bool schedule_decodes();  // true if a sequence was preempted
  void schedule_prompts();
  void admit();
  bool give_pages(Sequence& sequence);  // for its prompt and a token more; false: nothing given
  std::size_t youngest() const;         // that goes on: its place in running_
  void preempt(std::size_t place);
  bool reclaim();  // the pages of a sequence whose last step is planned; false: there is none
  void add(const Sequence& sequence, std::int64_t count);
  void commit();
  void end(Sequence& sequence);  // its pages and chunks; it stays where it is, for whoever removes it
  std::vector<Chunk>& batch(std::int64_t n) { return batches_[static_cast<std::size_t>((oldest_ + n) % 2)]; }

  SchedulerLimits limits_;
  PagePool& pool_;
  std::vector<Owned> running_;  // by age, oldest first
  std::deque<Owned> waiting_;   // likewise; all younger than the running ones
  std::array<std::vector<Chunk>, 2> batches_;
  std::int64_t oldest_ = 0, planned_ = 0;  // of batches_
  std::int64_t budget_ = 0;                // tokens left in the step being made
  std::int64_t next_id_ = 0, preemptions_ = 0, reused_tokens_ = 0, dead_rows_ = 0;
  bool any_cancelled_ = false;
  std::int64_t deadlines_ = 0;  // open requests that have one
};

}  // namespace rl::engine
