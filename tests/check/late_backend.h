#pragma once
// cpu/fast as a device that is late: what is launched is queued, and runs when somebody waits for it, no sooner (or,
// with a seed, at random before that). Whatever the host changes too early, or reads too early, shows. Steps can be
// captured.

#include <deque>
#include <functional>
#include <random>

#include "cpu/fast/cpu_device.h"
#include "cpu/fast/probes.h"

namespace rl::check {

class LateStream final : public Stream {
 public:
  using Work = std::function<Status()>;
  explicit LateStream(std::unique_ptr<Stream> inner, unsigned seed)
      : inner_(std::move(inner)), random_(seed), seed_(seed) {}
  Stream& inner() { return *inner_; }

  Status push(Work work) {
    if (fail_in > 0 && --fail_in == 0)
      return Error{.kind = ErrorKind::device, .what = "a launch that fails", .rule = "late.launch"};
    if (capturing_) {
      recorded_.push_back(std::move(work));
      return ok();
    }
    queue_.push_back(std::move(work));
    ++pushed_;
    if (seed_ == 0) return ok();
    return run_until(done_ + static_cast<std::int64_t>(random_() % static_cast<unsigned>(queue_.size() + 1)));
  }
  Status run_until(std::int64_t position) {
    while (done_ < position) {
      const Work work = std::move(queue_.front());
      queue_.pop_front();
      ++done_;
      RL_TRY(work());
    }
    return ok();
  }
  std::int64_t pushed() const { return pushed_; }
  std::int64_t done() const { return done_; }
  bool idle() const { return queue_.empty(); }

  Status copy_to_device(void* device, const void* host, Bytes bytes) override {
    return push([=, this] { return inner_->copy_to_device(device, host, bytes); });
  }
  Status copy_to_host(void* host, const void* device, Bytes bytes) override {
    return push([=, this] { return inner_->copy_to_host(host, device, bytes); });
  }
  Status record(Event& event) override;
  Status begin_capture() override {
    capturing_ = true;
    recorded_.clear();
    return ok();
  }
  Result<std::unique_ptr<CapturedStep>> end_capture(const CaptureOptions&) override {
    capturing_ = false;
    return std::unique_ptr<CapturedStep>(std::make_unique<Step>(std::move(recorded_)));
  }
  Status replay(CapturedStep& step) override {
    const std::vector<Work>& works = static_cast<Step&>(step).works;
    for (std::size_t i = 0; i < works.size(); ++i)
      if (!skips_last_but_one || i + 2 != works.size()) RL_TRY(push(works[i]));
    return ok();
  }

  std::int64_t starved = 0;         // waits of the host after which nothing was left to run
  std::int64_t fail_in = 0;         // the n-th launch from now fails; 0: none
  bool skips_last_but_one = false;  // of a captured step's works: it replays without drawing

 private:
  struct Step final : CapturedStep {
    explicit Step(std::vector<Work> w) : works(std::move(w)) {}
    std::vector<Work> works;
  };
  Status wait_for_all() override { return run_until(pushed_); }

  std::unique_ptr<Stream> inner_;
  std::deque<Work> queue_;
  std::vector<Work> recorded_;
  std::mt19937 random_;
  unsigned seed_;
  bool capturing_ = false;
  std::int64_t pushed_ = 0, done_ = 0;
};

class LateEvent final : public Event {
 public:
  bool done() const override { return stream == nullptr || stream->done() >= position; }
  Status wait() const override {
    if (stream == nullptr) return ok();
    RL_TRY(stream->run_until(position));
    stream->starved += stream->idle();
    return ok();
  }
  LateStream* stream = nullptr;
  std::int64_t position = 0;
};

inline Status LateStream::record(Event& event) {
  auto& late = static_cast<LateEvent&>(event);
  late.stream = this;
  late.position = pushed_;
  return ok();
}

class LateDevice final : public Device {
 public:
  explicit LateDevice(unsigned seed) : inner_(cpu::make_device({})), seed_(seed) {}
  const DeviceInfo& info() const override { return inner_->info(); }
  Bytes available_memory() const override { return inner_->available_memory(); }
  MemoryResource& memory() override { return inner_->memory(); }
  MemoryResource& pinned_memory() override { return inner_->pinned_memory(); }
  Result<std::unique_ptr<Stream>> make_stream() override {
    RL_ASSIGN(std::unique_ptr<Stream> inner, inner_->make_stream());
    auto made = std::make_unique<LateStream>(std::move(inner), seed_);
    made->skips_last_but_one = replays_wrong;
    last = made.get();
    return std::unique_ptr<Stream>(std::move(made));
  }
  Result<std::unique_ptr<Event>> make_event() override { return std::unique_ptr<Event>(std::make_unique<LateEvent>()); }
  Result<std::unique_ptr<Event>> make_timed_event() override { return make_event(); }
  Result<Seconds> elapsed(const Event&, const Event&) const override {
    return Error{.kind = ErrorKind::unsupported, .what = "a late device has no clock"};
  }
  bool can_capture() const override { return true; }
  bool is_queue() const override { return true; }
  Result<std::unique_ptr<Device>> make_share(int, int) override {
    return Error{.kind = ErrorKind::unsupported, .what = "a late device has no shares"};
  }

  LateStream* last = nullptr;  // the stream made last
  bool replays_wrong = false;  // of streams made from now on

 private:
  std::unique_ptr<Device> inner_;
  unsigned seed_;
};

// One variant per op: whichever of cpu/fast's fits, queued.
template <class Args, std::span<const ops::Variant<Args>> ops::Catalog::*kList>
struct LateVariant {
  static Result<const ops::Variant<Args>*> chosen(const Args& args) {
    static const Arch arch = cpu::detect_arch();
    return ops::choose(cpu::catalog().*kList, args, arch);
  }
  static Status supports(const Args& args, const Arch&) {
    RL_TRY(chosen(args));
    return ok();
  }
  static Bytes workspace(const Args& args) { return (*chosen(args))->workspace(args); }
  static Status launch(const Args& args, void* workspace, Stream& stream) {
    RL_ASSIGN(const ops::Variant<Args>* const variant, chosen(args));
    auto& late = static_cast<LateStream&>(stream);
    return late.push([=, &late] { return variant->launch(args, workspace, late.inner()); });
  }
  static constexpr ops::Variant<Args> kVariants[] = {
      {"late", {.graph_safe = true, .deterministic = true, .batch_invariant = true}, supports, workspace, launch}};
};

class LateBackend {
 public:
  explicit LateBackend(unsigned seed = 0) : device_(seed) {
    using C = ops::Catalog;
    backend_ = {.name = "late",
                .device = &device_,
                .catalog = {.feed = LateVariant<ops::FeedArgs, &C::feed>::kVariants,
                            .embed = LateVariant<ops::EmbedArgs, &C::embed>::kVariants,
                            .rms_norm = LateVariant<ops::RmsNormArgs, &C::rms_norm>::kVariants,
                            .linear = LateVariant<ops::LinearArgs, &C::linear>::kVariants,
                            .rope_append = LateVariant<ops::RopeAppendArgs, &C::rope_append>::kVariants,
                            .attention = LateVariant<ops::AttentionArgs, &C::attention>::kVariants,
                            .silu_mul = LateVariant<ops::SiluMulArgs, &C::silu_mul>::kVariants,
                            .sample = LateVariant<ops::SampleArgs, &C::sample>::kVariants,
                            .deliver = LateVariant<ops::DeliverArgs, &C::deliver>::kVariants,
                            .layouts = cpu::catalog().layouts},
                .probes = cpu::probes()};
  }
  const ops::Backend& operator*() const { return backend_; }
  LateStream& stream() const { return *device_.last; }
  LateDevice& device() { return device_; }

 private:
  LateDevice device_;
  ops::Backend backend_;
};

}  // namespace rl::check
