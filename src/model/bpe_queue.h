#pragma once
// The order in which the pairs of a long piece merge: by rank, at equal rank from the left.
//
// A binary heap of all pairs would do, but a megabyte of blanks makes it walk through memory: pairs of one rank mostly
// arrive in the order of their positions, so each rank has a queue, and the heap holds ranks only. 1 MiB of blanks
// takes a third of the heap's time.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

namespace rl::model {

class RankQueue {
 public:
  // ranks: one more than the largest. Empties the queue.
  void start(std::size_t ranks) {
    if (bucket_of_rank_.size() < ranks) bucket_of_rank_.resize(ranks, 0);
    for (std::size_t i = 0; i < used_; ++i) {
      bucket_of_rank_[buckets_[i].rank] = 0;
      buckets_[i].clear();
    }
    used_ = 0;
    waiting_.clear();
  }

  void push(std::uint32_t rank, std::uint32_t position) {
    Bucket& bucket = bucket_of(rank);
    // A position that comes out of order waits in a heap beside the run.
    if (bucket.next == bucket.run.size() || position > bucket.run.back()) {
      bucket.run.push_back(position);
    } else {
      bucket.late.push_back(position);
      std::push_heap(bucket.late.begin(), bucket.late.end(), std::greater<>());
    }
    if (bucket.waits) return;
    bucket.waits = true;
    waiting_.push_back(rank);
    std::push_heap(waiting_.begin(), waiting_.end(), std::greater<>());
  }

  // The least (rank, position); false if there is none.
  bool pop(std::uint32_t& rank, std::uint32_t& position) {
    while (!waiting_.empty()) {
      rank = waiting_.front();
      Bucket& bucket = buckets_[bucket_of_rank_[rank] - 1];
      if (bucket.take(position)) return true;
      bucket.waits = false;
      std::pop_heap(waiting_.begin(), waiting_.end(), std::greater<>());
      waiting_.pop_back();
    }
    return false;
  }

 private:
  struct Bucket {
    std::uint32_t rank = 0;
    std::vector<std::uint32_t> run;   // ascending; [next, end) still wait
    std::vector<std::uint32_t> late;  // a heap
    std::size_t next = 0;
    bool waits = false;  // its rank is in waiting_

    void clear() {
      run.clear();
      late.clear();
      next = 0;
      waits = false;
    }
    bool take(std::uint32_t& position) {
      const bool in_run = next < run.size();
      if (!late.empty() && (!in_run || late.front() < run[next])) {
        position = late.front();
        std::pop_heap(late.begin(), late.end(), std::greater<>());
        late.pop_back();
        return true;
      }
      if (!in_run) return false;
      position = run[next++];
      return true;
    }
  };

  Bucket& bucket_of(std::uint32_t rank) {
    std::uint32_t& index = bucket_of_rank_[rank];
    if (index == 0) {
      if (used_ == buckets_.size()) buckets_.emplace_back();
      index = static_cast<std::uint32_t>(++used_);
      buckets_[index - 1].rank = rank;
    }
    return buckets_[index - 1];
  }

  std::vector<std::uint32_t> bucket_of_rank_;  // index + 1, or 0
  std::vector<Bucket> buckets_;                // the first used_ are in use
  std::size_t used_ = 0;
  std::vector<std::uint32_t> waiting_;  // a heap of ranks
};

}  // namespace rl::model
