// Loading onto a device that the host cannot write: what arrives there is what the host would have packed.

#include "model/upload.h"

#include <deque>
#include <mutex>

#include "check/result.h"
#include "model/model.h"
#include "model_files.h"

namespace rl::model {
namespace {

// A device as far away as a GPU: a copy reads its source only when somebody waits for it. A buffer that is filled again
// too early, or freed, shows. The n-th call that can fail does so.
class FarDevice final : public Device {
 public:
  explicit FarDevice(std::int64_t fail_at = 0) : fail_at_(fail_at) {}
  const DeviceInfo& info() const override { return info_; }
  Bytes available_memory() const override { return {std::int64_t{1} << 40}; }
  MemoryResource& memory() override { return memory_; }
  MemoryResource& pinned_memory() override { return pinned_; }
  bool can_capture() const override { return false; }
  bool host_reads_memory() const override { return false; }
  Result<std::unique_ptr<Device>> make_share(int, int) override { return Error{.kind = ErrorKind::unsupported}; }
  Result<std::unique_ptr<Event>> make_timed_event() override { return Error{.kind = ErrorKind::unsupported}; }
  Result<Seconds> elapsed(const Event&, const Event&) const override { return Error{.kind = ErrorKind::unsupported}; }
  Result<std::unique_ptr<Event>> make_event() override {
    RL_TRY(fail());
    return std::unique_ptr<Event>(std::make_unique<Point>());
  }
  Result<std::unique_ptr<Stream>> make_stream() override {
    RL_TRY(fail());
    return std::unique_ptr<Stream>(std::make_unique<Queue>(*this));
  }

  Status fail() {
    if (++calls != fail_at_) return ok();
    return Error{.kind = ErrorKind::device, .what = "made to fail"};
  }
  Bytes live() const { return memory_.upstream.live() + pinned_.upstream.live(); }
  std::atomic<std::int64_t> calls = 0, copies = 0;

 private:
  struct Queue;
  struct Point final : Event {
    bool done() const override { return queue == nullptr || queue->done >= at; }
    Status wait() const override { return queue ? queue->run_to(at) : ok(); }
    Queue* queue = nullptr;
    std::int64_t at = 0;
  };
  struct Queue final : Stream {
    explicit Queue(FarDevice& far) : device(far) {}
    ~Queue() override { EXPECT_TRUE(copies.empty()) << "a stream ends with copies under way"; }
    struct Copy {
      void* to;
      const void* from;
      Bytes bytes;
    };
    Status run_to(std::int64_t count) {
      for (; done < count; ++done) {
        std::memcpy(copies.front().to, copies.front().from, static_cast<std::size_t>(copies.front().bytes.count));
        copies.pop_front();
      }
      return ok();
    }
    Status wait_for_all() override {
      RL_TRY(run_to(enqueued));  // as a device does, also where the call then reports something
      return device.fail();
    }
    Status copy_to_device(void* to, const void* from, Bytes bytes) override {
      RL_TRY(device.fail());
      ++device.copies;
      ++enqueued;
      copies.push_back({to, from, bytes});
      return ok();
    }
    Status copy_to_host(void*, const void*, Bytes) override { return Error{.kind = ErrorKind::unsupported}; }
    Status record(Event& event) override {
      RL_TRY(device.fail());
      auto& point = static_cast<Point&>(event);
      point.queue = this;
      point.at = enqueued;
      return ok();
    }
    Status begin_capture() override { return Error{.kind = ErrorKind::unsupported}; }
    Result<std::unique_ptr<CapturedStep>> end_capture(const CaptureOptions&) override {
      return Error{.kind = ErrorKind::unsupported};
    }
    Status replay(CapturedStep&) override { return Error{.kind = ErrorKind::unsupported}; }
    FarDevice& device;
    std::deque<Copy> copies;
    std::int64_t enqueued = 0, done = 0;
  };
  struct Memory final : MemoryResource {
    explicit Memory(FarDevice& far) : device(far) {}
    Result<void*> allocate(Bytes bytes) override {
      RL_TRY(device.fail());
      const std::lock_guard lock(mutex);
      return upstream.allocate(bytes);
    }
    void deallocate(void* data, Bytes bytes) noexcept override {
      const std::lock_guard lock(mutex);
      upstream.deallocate(data, bytes);
    }
    std::string name() const override { return "far memory"; }
    FarDevice& device;
    std::mutex mutex;
    CountingResource upstream{host_memory()};
  };

  std::int64_t fail_at_;
  DeviceInfo info_{.name = "a device far away", .arch = {.family = Arch::Family::cuda}};
  Memory memory_{*this}, pinned_{*this};
};

void expect_equal(const quant::PackedWeight& a, const quant::PackedWeight& b) {
  ASSERT_EQ(a.rows * a.cols, b.rows * b.cols);
  const std::int64_t bytes = a.rows * a.cols * size_of(quant::element_type(a.format));
  EXPECT_EQ(std::memcmp(a.data, b.data, static_cast<std::size_t>(bytes)), 0);
  ASSERT_EQ(a.scales != nullptr, b.scales != nullptr);
  if (quant::scales_of(a.format) != quant::Scales::rows) return;
  EXPECT_EQ(std::memcmp(a.scales, b.scales, static_cast<std::size_t>(a.rows) * 4), 0);
}
void expect_equal(const TensorRef& a, const TensorRef& b) {
  ASSERT_EQ(a.data != nullptr, b.data != nullptr);
  if (a.data == nullptr) return;
  EXPECT_EQ(std::memcmp(a.data, b.data, static_cast<std::size_t>(a.elements()) * 4), 0);
}

TEST(Upload, TheDevicesWeightsAreTheHostsInEveryFormat) {
  ASSERT_VALUE(const ModelSource demo, find_model("demo"));
  ASSERT_VALUE(const ModelSource biased, find_model(fixture("qwen2")));  // f32 or bf16 as stored, fused qkv with bias
  using quant::Format;
  for (const ModelSource* source : {&demo, &biased})
    for (const Format format :
         {Format::bf16, Format::f16, Format::f32, Format::int8, Format::fp8_tensor, Format::fp8_block, Format::fp8_wo})
      for (const int threads : {1, 3}) {
        SCOPED_TRACE(fmt::format("{} {} {}", source->name, name_of(format), threads));
        const quant::ModelFormat formats{.layers = format, .tables = format == Format::f32 ? format : Format::bf16};
        ASSERT_VALUE(const ModelWeights host, load_weights(*source, {.format = formats}, host_memory()));
        FarDevice device;
        Bytes last, all;
        {
          ASSERT_VALUE(const ModelWeights far,
                       load_weights(*source,
                                    {.format = formats,
                                     .threads = threads,
                                     .device = &device,
                                     .progress = [&](Bytes done, Bytes of) { last = done, all = of; }},
                                    device.memory()));
          EXPECT_EQ(last, all);
          EXPECT_EQ(far.stored, all);
          EXPECT_GT(far.load_time.count, 0);
          EXPECT_EQ(far.bytes, host.bytes);
          expect_equal(far.embedding, host.embedding);
          expect_equal(far.head, host.head);
          expect_equal(far.final_norm, host.final_norm);
          ASSERT_EQ(far.layers.size(), host.layers.size());
          for (std::size_t i = 0; i < far.layers.size(); ++i) {
            const LayerWeights &a = far.layers[i], &b = host.layers[i];
            for (const auto part :
                 {&LayerWeights::qkv, &LayerWeights::out, &LayerWeights::gate_up, &LayerWeights::down})
              expect_equal(a.*part, b.*part);
            for (const auto part : {&LayerWeights::attention_norm, &LayerWeights::ffn_norm, &LayerWeights::qkv_bias,
                                    &LayerWeights::q_norm})
              expect_equal(a.*part, b.*part);
          }
          EXPECT_GT(device.copies, 10);
        }
        EXPECT_EQ(device.live().count, 0);
      }
}

TEST(Upload, AnyCallThatFailsIsAnErrorAndLeavesNothing) {
  ASSERT_VALUE(const ModelSource source, find_model(fixture("qwen2")));
  std::int64_t n = 1;
  for (;; ++n) {
    FarDevice device(n);
    {
      const auto result = load_weights(source, {.threads = 2, .device = &device}, device.memory());
      if (result) {
        EXPECT_LT(device.calls, n) << "a failure in silence";
      } else {
        EXPECT_EQ(result.error().what, "made to fail");
      }
    }
    ASSERT_EQ(device.live().count, 0) << n;
    if (device.calls < n) break;
  }
  EXPECT_GT(n, 60);
}

// The fourth buffer of a ring of three is the first one again: its copy has to be over.
TEST(Upload, ABufferIsFilledAgainOnlyAfterItsCopy) {
  FarDevice device;
  std::vector<std::int64_t> there(20);
  {
    ASSERT_VALUE(UploadRing ring, UploadRing::make(device, {8}, 3));
    for (std::int64_t i = 0; i < 20; ++i) {
      ASSERT_VALUE(std::byte* const slot, ring.next());
      std::memcpy(slot, &i, sizeof i);
      ASSERT_OK(ring.send(&there[static_cast<std::size_t>(i)], {8}));
    }
    EXPECT_LT(there[19], 19) << "still under way";
    ASSERT_OK(ring.drain());
  }
  for (std::int64_t i = 0; i < 20; ++i) EXPECT_EQ(there[static_cast<std::size_t>(i)], i);
}

}  // namespace
}  // namespace rl::model
