#include "engine/scheduler.h"

#include <numeric>

namespace rl::engine {

Scheduler::Scheduler(const SchedulerLimits& limits, PagePool& pages) : limits_(limits), pool_(pages) {
  RL_CHECK(limits.max_seqs > 0 && limits.step_tokens >= limits.max_seqs && limits.max_context > 1);
  running_.reserve(static_cast<std::size_t>(2 * limits.max_seqs));
  for (std::vector<Chunk>& batch : batches_) batch.reserve(static_cast<std::size_t>(limits.max_seqs));
}

Result<RequestId> Scheduler::submit(Request request) {
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  if (prompt == 0)
    return Error{.kind = ErrorKind::invalid_input,
                 .what = "the prompt has no tokens",
                 .rule = "request.empty_prompt",
                 .hint = "give at least one token, for instance the model's beginning-of-text token"};
  if (request.max_tokens < 1)
    return Error{.kind = ErrorKind::invalid_input,
                 .what = "max_tokens must be positive",
                 .rule = "request.max_tokens",
                 .found = std::to_string(request.max_tokens)};
  if (prompt >= limits_.max_context)
    return Error{.kind = ErrorKind::invalid_input,
                 .what = "the prompt leaves no room in the context",
                 .rule = "request.context",
                 .expected = fmt::format("fewer than {} tokens", limits_.max_context),
                 .found = fmt::format("{} tokens", prompt),
                 .hint = "shorten the prompt, or start with a larger context"};
  const std::int64_t end = prompt + std::min(request.max_tokens, limits_.max_context - prompt);
  // The last token is drawn but never computed: it needs no place in the cache.
  if (const std::int64_t pages = pool_.pages_for(end - 1); pages > pool_.total())
    return Error{
        .kind = ErrorKind::invalid_input,
        .what = "the request can never fit in the KV cache",
        .rule = "request.kv_pages",
        .expected = fmt::format("at most {} pages of {} tokens", pool_.total(), pool_.page_tokens()),
        .found = fmt::format("{} pages for {} prompt and up to {} generated tokens", pages, prompt, end - prompt),
        .hint = "shorten the prompt or max_tokens, or give the cache more memory"};

  auto sequence = std::make_unique<Sequence>();
  sequence->id = RequestId{next_id_++};
  sequence->sampling = request.sampling;
  sequence->stop_ids = std::move(request.stop_ids);
  sequence->tokens = std::move(request.prompt);
  sequence->tokens.reserve(static_cast<std::size_t>(end));
  sequence->prompt_tokens = prompt;
  sequence->end = end;
  sequence->deadline = request.deadline;
  deadlines_ += request.deadline.has_value();
  sequence->pages.pages.reserve(static_cast<std::size_t>(pool_.pages_for(end)));
  waiting_.push_back(std::move(sequence));
  return waiting_.back()->id;
}

void Scheduler::cancel(RequestId id) {
  const auto mark = [&](auto& list) {
    for (Owned& sequence : list)
      if (sequence->id == id) sequence->cancelled = any_cancelled_ = true;
  };
  mark(running_);
  mark(waiting_);
}

std::span<const Chunk> Scheduler::next(Seconds now, std::vector<TokenEvent>& events) {
  RL_CHECK(planned_ < 2);
  if (any_cancelled_ || deadlines_ > 0) end_unwanted(now, events);
  std::vector<Chunk>& made = batch(planned_);
  made.clear();
  budget_ = limits_.step_tokens;
  const bool preempted = schedule_decodes();
  schedule_prompts();
  // Pages that a preemption freed are for the sequence that asked: admitting now would take them away again.
  if (!preempted) admit();
  if (made.empty()) return {};
  commit();
  ++planned_;
  return made;
}

void Scheduler::commit() {
  std::int32_t row = 0;
  for (Chunk& chunk : batch(planned_)) {
    // The batch refers to sequences this object owns; const in Chunk is for those who read it.
    Sequence& sequence = const_cast<Sequence&>(*chunk.sequence);
    sequence.cached += chunk.count;
    if (!chunk.samples) continue;
    if (sequence.unknown > 0) chunk.row = sequence.row;
    sequence.tokens.push_back(kUnknown);
    ++sequence.unknown;
    sequence.row = row++;
  }
}

void Scheduler::revert() {
  RL_CHECK(planned_ > 0);
  --planned_;
  for (const Chunk& chunk : batch(planned_)) {
    Sequence& sequence = const_cast<Sequence&>(*chunk.sequence);
    sequence.cached -= chunk.count;
    if (!chunk.samples) continue;
    sequence.tokens.pop_back();
    --sequence.unknown;
    sequence.row = chunk.row;
  }
}

void Scheduler::end(Sequence& sequence) {
  pool_.release(sequence.pages);
  deadlines_ -= sequence.deadline.has_value();
  sequence.ended = true;
  for (std::int64_t n = 0; n < planned_; ++n)
    for (Chunk& chunk : batch(n))
      if (chunk.sequence == &sequence) chunk.sequence = nullptr;
}

void Scheduler::end_unwanted(Seconds now, std::vector<TokenEvent>& events) {
  const auto end_in = [&](auto& list) {
    std::erase_if(list, [&](Owned& sequence) {
      const bool late = sequence->deadline && !(now < *sequence->deadline);
      if (!sequence->cancelled && !late) return false;
      end(*sequence);
      events.push_back({.request = sequence->id,
                        .index = sequence->generated(),
                        .time = now,
                        .finished = sequence->cancelled ? FinishReason::cancelled : FinishReason::timeout});
      return true;
    });
  };
  end_in(running_);
  end_in(waiting_);
  any_cancelled_ = false;
}

bool Scheduler::schedule_decodes() {
  bool preempted = false;
  for (std::size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    if (sequence.pending() != 1 || sequence.finishing()) continue;
    bool fits = pool_.extend(sequence.pages, sequence.size());
    while (!fits) {
      if (!reclaim()) {
        const std::size_t place = youngest();
        preempt(place);
        preempted = true;
        if (place == i) break;
      }
      fits = pool_.extend(sequence.pages, sequence.size());
    }
    if (!fits) break;  // it was the youngest
    add(sequence, 1);
  }
  return preempted;
}

void Scheduler::schedule_prompts() {
  for (const Owned& sequence : running_)
    if (sequence->pending() > 1 && budget_ > 0) add(*sequence, std::min(sequence->pending(), budget_));
}

void Scheduler::admit() {
  auto places = limits_.max_seqs - std::ranges::count_if(running_, [](const Owned& s) { return !s->finishing(); });
  for (; !waiting_.empty() && places > 0 && budget_ > 0; --places) {
    Sequence& sequence = *waiting_.front();
    if (!give_pages(sequence)) return;
    add(sequence, std::min(sequence.pending(), budget_));
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

bool Scheduler::give_pages(Sequence& sequence) {
  // The last token is computed in any case: its logits draw the next one.
  if (limits_.prefix_reuse)
    sequence.cached =
        pool_.share(sequence.pages, std::span(sequence.tokens).first(static_cast<std::size_t>(sequence.size() - 1)));
  if (!pool_.extend(sequence.pages, std::min(sequence.size() + 1, sequence.end - 1))) {
    pool_.release(sequence.pages);
    sequence.cached = 0;
    return false;
  }
  reused_tokens_ += sequence.cached;
  return true;
}

std::size_t Scheduler::youngest() const {
  std::size_t place = running_.size();
  while (running_[--place]->finishing()) RL_CHECK(place > 0);
  return place;
}

void Scheduler::preempt(std::size_t place) {
  Owned sequence = std::move(running_[place]);
  running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(place));
  pool_.release(sequence->pages);
  sequence->cached = 0;
  waiting_.push_front(std::move(sequence));
  ++preemptions_;
}

bool Scheduler::reclaim() {
  for (const Owned& sequence : running_)
    if (sequence->finishing() && !sequence->pages.pages.empty()) {
      pool_.release(sequence->pages);
      return true;
    }
  return false;
}

void Scheduler::add(const Sequence& sequence, std::int64_t count) {
  batch(planned_).push_back(
      {.sequence = &sequence, .first = sequence.cached, .count = count, .samples = count == sequence.pending()});
  budget_ -= count;
}

void Scheduler::complete(std::span<const TokenId> drawn, Seconds now, std::vector<TokenEvent>& events) {
  std::size_t row = 0;
  bool any_ended = false;
  if (planned_ > 0) {
    for (const Chunk& chunk : batch(0)) {
      const TokenId token = chunk.samples && row < drawn.size() ? drawn[row] : kUnknown;
      row += chunk.samples;
      if (chunk.sequence == nullptr) {
        dead_rows_ += chunk.samples;
        continue;
      }
      Sequence& sequence = const_cast<Sequence&>(*chunk.sequence);
      // Unless the sequence has given its pages up since.
      if (limits_.prefix_reuse && pool_.pages_for(chunk.end()) <= std::ssize(sequence.pages.pages))
        pool_.publish(sequence.pages, sequence.tokens, chunk.end());
      if (!chunk.samples) continue;
      TokenEvent event{.request = sequence.id, .index = chunk.end() - sequence.prompt_tokens, .time = now};
      --sequence.unknown;
      if (token < 0) {
        event.finished = FinishReason::error;
      } else {
        event.token = token;
        sequence.tokens[static_cast<std::size_t>(chunk.end())] = token;
        if (std::find(sequence.stop_ids.begin(), sequence.stop_ids.end(), token) != sequence.stop_ids.end())
          event.finished = FinishReason::stop;
        else if (chunk.end() + 1 == sequence.end)
          event.finished = FinishReason::length;
      }
      if (event.finished) {
        end(sequence);
        any_ended = true;
      }
      events.push_back(event);
    }
    oldest_ = 1 - oldest_;
    --planned_;
  }
  RL_CHECK(row == drawn.size());
  if (!any_ended) return;
  const auto ended = [](const Owned& sequence) { return sequence->ended; };
  std::erase_if(running_, ended);
  std::erase_if(waiting_, ended);
}

bool Scheduler::drop_dead() {
  if (planned_ == 0) return false;
  for (const Chunk& chunk : batch(0))
    if (chunk.sequence != nullptr) return false;
  for (const Chunk& chunk : batch(0)) dead_rows_ += chunk.samples;
  oldest_ = 1 - oldest_;
  --planned_;
  return true;
}

void Scheduler::check_invariants() const {
  pool_.check_invariants();
  std::vector<std::int32_t> owners(static_cast<std::size_t>(pool_.total()), 0);
  std::int64_t deadlines = 0;
  RequestId last{-1};
  std::int64_t going_on = 0;
  const auto tokens_known = [](const Sequence& sequence) {
    const auto unknown = std::ranges::count(sequence.tokens, kUnknown);
    return unknown == sequence.unknown && std::all_of(sequence.tokens.end() - unknown, sequence.tokens.end(),
                                                      [](TokenId token) { return token == kUnknown; });
  };
  for (const Owned& sequence : running_) {
    deadlines += sequence->deadline.has_value();
    for (const std::int32_t page : sequence->pages.pages) ++owners[static_cast<std::size_t>(page)];
    RL_CHECK(sequence->unknown <= planned_ && tokens_known(*sequence));
    RL_CHECK(sequence->cached >= 0 && sequence->pending() >= 1 && sequence->size() <= sequence->end);
    if (sequence->finishing()) {
      RL_CHECK(sequence->unknown > 0);
      continue;
    }
    ++going_on;
    RL_CHECK(last < sequence->id);
    last = sequence->id;
    RL_CHECK(pool_.pages_for(sequence->cached) <= static_cast<std::int64_t>(sequence->pages.pages.size()));
    // Pages that are still written belong to this sequence alone.
    for (auto i = static_cast<std::size_t>(sequence->cached / pool_.page_tokens()); i < sequence->pages.pages.size();
         ++i)
      RL_CHECK_MSG(pool_.owners(PageId{sequence->pages.pages[i]}) == 1, "a page that is written has two owners");
  }
  RL_CHECK(going_on <= limits_.max_seqs);
  for (const Owned& sequence : waiting_) {
    RL_CHECK(last < sequence->id);
    last = sequence->id;
    deadlines += sequence->deadline.has_value();
    RL_CHECK(sequence->unknown <= planned_ && tokens_known(*sequence));
    RL_CHECK(sequence->pages.pages.empty() && sequence->cached == 0);
  }
  for (std::int32_t page = 0; page < pool_.total(); ++page)
    RL_CHECK(owners[static_cast<std::size_t>(page)] == pool_.owners(PageId{page}));
  RL_CHECK(deadlines == deadlines_);
}

}  // namespace rl::engine
