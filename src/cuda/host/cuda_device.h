#pragma once
// The CUDA device: streams, events, captured steps and memory through the runtime API. The runtime is linked statically
// and finds the driver by itself, so a program with this backend starts where there is no driver.

#include <memory>
#include <vector>

#include <cuda_runtime_api.h>

#include "device/device.h"

namespace rl::cuda {

class CudaStream final : public Stream {
 public:
  static Result<std::unique_ptr<CudaStream>> make();
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  Status copy_to_device(void* device, const void* host, Bytes bytes) override;
  Status copy_to_host(void* host, const void* device, Bytes bytes) override;
  Status record(Event& event) override;
  Status begin_capture() override;
  Result<std::unique_ptr<CapturedStep>> end_capture(const CaptureOptions& options) override;
  Status replay(CapturedStep& step) override;

  cudaStream_t handle() const { return handle_; }
  // Counters by which the blocks of a kernel meet: every kernel finds zeros and leaves zeros. A stream has its own, for
  // its kernels run one after the other.
  static constexpr std::int64_t kSemaphores = 1 << 18;
  std::uint32_t* semaphores() const { return semaphores_; }

 private:
  CudaStream(cudaStream_t handle, std::uint32_t* semaphores) : handle_(handle), semaphores_(semaphores) {}
  Status wait_for_all() override;

  cudaStream_t handle_;
  std::uint32_t* semaphores_;
};

// Of a stream that this backend made: what a launch needs.
inline cudaStream_t handle_of(Stream& stream) { return static_cast<CudaStream&>(stream).handle(); }
inline std::uint32_t* semaphores_of(Stream& stream) { return static_cast<CudaStream&>(stream).semaphores(); }

class CudaEvent final : public Event {
 public:
  static Result<std::unique_ptr<CudaEvent>> make(bool timing);
  ~CudaEvent() override;
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  bool done() const override;
  Status wait() const override;
  cudaEvent_t handle() const { return handle_; }

 private:
  explicit CudaEvent(cudaEvent_t handle) : handle_(handle) {}
  cudaEvent_t handle_;
};

// A captured list of launches, ready to run.
class CudaGraph final : public CapturedStep {
 public:
  explicit CudaGraph(cudaGraph_t graph) : graph_(graph) {}
  ~CudaGraph() override;
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  Status instantiate();  // once
  cudaGraphExec_t exec() const { return exec_; }
  // Its nodes, which of them are kernels, and how many of its edges let a kernel begin before its predecessor ended
  // (programmatic launch).
  struct Counts {
    std::int64_t nodes = 0, kernels = 0, edges = 0, programmatic = 0;
  };
  Result<Counts> counts() const;

 private:
  cudaGraph_t graph_;
  cudaGraphExec_t exec_ = nullptr;
};

struct CardInfo {
  int ordinal = 0;
  DeviceInfo device;
};
// The cards of this machine. Errors: unsupported with what is missing (no driver, a driver too old for this runtime, no
// card), in words for a user.
Result<std::vector<CardInfo>> list_cards();

// Errors: unsupported for a card below compute capability 8.0 or an ordinal that does not exist; device.
Result<std::unique_ptr<Device>> make_device(int ordinal);

}  // namespace rl::cuda
