#pragma once
// Continuous batching (Orca, Yu et al., OSDI 2022; chunked prefill: Agrawal et al., arXiv 2403.02310): each step takes
// one token of every running sequence that decodes, then chunks of prompts until the step is full. It decides only
// who runs; it knows pages by number and no device, so that it can be tested alone.
//
// Rules. Admission is first come, first served: a request starts when a place (max_seqs) and the pages of its whole
// prompt and one token more are free, and nobody overtakes it. When a decoding sequence needs a page and none is free,
// the youngest running sequence gives up its pages and returns to the head of the queue; it is computed again later
// (its tokens are kept, so nothing is sampled twice). The oldest sequence therefore always goes on, and since no
// request is accepted that the whole pool could not hold, every accepted request ends. What is computed once is shared
// (kv_pages.h): a sequence begins after the longest prefix whose pages are known, its last token always computed, and a
// preempted one mostly finds its own pages again.

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

struct Sequence {
  RequestId id;
  SamplingParams sampling;
  std::vector<TokenId> stop_ids;
  std::vector<TokenId> tokens;     // the prompt, then what was generated
  std::int64_t prompt_tokens = 0;  // of tokens
  std::int64_t end = 0;            // size of tokens at which the request has its last one
  std::int64_t cached = 0;         // leading tokens whose keys and values are in the pages
  PageTable pages;
  std::optional<Seconds> deadline;
  bool cancelled = false;

  std::int64_t size() const { return static_cast<std::int64_t>(tokens.size()); }
  std::int64_t pending() const { return size() - cached; }  // to be computed; 1 in decode
  std::int64_t generated() const { return size() - prompt_tokens; }
};

// Consecutive tokens of one sequence in a step: tokens[first, first + count) at those positions.
struct Chunk {
  const Sequence* sequence = nullptr;
  std::int64_t first = 0, count = 0;
  bool samples = false;  // the sequence's last known token is in it: a new one is drawn
};

class Scheduler {
 public:
  Scheduler(const SchedulerLimits& limits, PagePool& pages);

  // Queues the request. Errors: invalid_input with the reason: an empty prompt, max_tokens < 1, a prompt that leaves no
  // room in the context, more tokens than all pages together hold.
  Result<RequestId> submit(Request request);
  void cancel(RequestId id);  // of an unknown or ended request: nothing
  bool idle() const { return running_.empty() && waiting_.empty(); }

  // The chunks of the next step: decodes first, then prompts, each group oldest first. Ends cancelled requests and
  // those whose deadline is not after `now` before that, with an event each. Empty if there is nothing to run. The span
  // holds until complete().
  std::span<const Chunk> next(Seconds now, std::vector<TokenEvent>& events);

  // What the step drew: one token for each chunk with `samples`, in order; negative: that row's logits were not
  // numbers, which ends its request with FinishReason::error. Adds an event for each.
  void complete(std::span<const TokenId> drawn, Seconds now, std::vector<TokenEvent>& events);

  // The running sequences, oldest first, with the pages they hold.
  std::span<const std::unique_ptr<Sequence>> sequences() const { return running_; }
  std::int64_t running() const { return static_cast<std::int64_t>(running_.size()); }
  std::int64_t waiting() const { return static_cast<std::int64_t>(waiting_.size()); }
  std::int64_t preemptions() const { return preemptions_; }
  std::int64_t reused_tokens() const { return reused_tokens_; }  // that were found in the cache at an admission
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
  void preempt_youngest();
  void add(const Sequence& sequence, std::int64_t count);

  SchedulerLimits limits_;
  PagePool& pool_;
  std::vector<Owned> running_;  // by age, oldest first
  std::deque<Owned> waiting_;   // likewise; all younger than the running ones
  std::vector<Chunk> batch_;
  std::int64_t budget_ = 0;  // tokens left in the step being made
  std::int64_t next_id_ = 0, preemptions_ = 0, reused_tokens_ = 0;
  bool any_cancelled_ = false;
  std::int64_t deadlines_ = 0;  // open requests that have one
};

}  // namespace rl::engine
