#pragma once
// What a backend offers the engine: memory, streams, events, captured steps. The CPU backend's streams run each call at
// once; a GPU's are queues.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/units.h"
#include "device/memory.h"
#include "device/virtual_memory.h"

namespace rl {

// Which instruction sets or compute capability a variant can use.
struct Arch {
  enum class Family { cpu, cuda } family = Family::cpu;
  int version = 0;      // cuda: 90 for compute capability 9.0; cpu: 0
  bool avx2 = false;    // with FMA and F16C
  bool avx512 = false;  // F, BW, VL, DQ
  bool avx512_bf16 = false;
  bool avx512_vnni = false;
  bool amx = false;  // tiles of bf16 and int8
};

struct DeviceInfo {
  std::string name;  // "AMD EPYC, 2 threads", "NVIDIA H100 80GB HBM3"
  Arch arch;
  int compute_units = 1;  // worker threads or multiprocessors
  Bytes memory;           // in all that this program may use
  Bytes last_cache;       // size of the last cache level
};

// A point in a stream's order. Recorded by Stream::record.
class Event {
 public:
  virtual ~Event() = default;
  virtual bool done() const = 0;
  virtual Status wait() const = 0;  // blocks the calling thread
};

// A recorded list of launches that is started with one call.
class CapturedStep {
 public:
  virtual ~CapturedStep() = default;
};

// How a step is captured.
struct CaptureOptions {
  bool programmatic = true;  // kernels may begin while their predecessor ends, where they were launched so
};

// An ordered queue of work. Move-only behind unique_ptr; not thread-safe.
class Stream {
 public:
  virtual ~Stream() = default;
  // Blocks the calling thread until all work is done; counted.
  Status synchronize() {
    ++synchronizations_;
    return wait_for_all();
  }
  std::int64_t synchronizations() const { return synchronizations_; }
  virtual Status copy_to_device(void* device, const void* host, Bytes bytes) = 0;
  virtual Status copy_to_host(void* host, const void* device, Bytes bytes) = 0;
  virtual Status record(Event& event) = 0;
  // Capture: launches between begin and end are recorded, not run. Errors: unsupported where the backend has none.
  virtual Status begin_capture() = 0;
  virtual Result<std::unique_ptr<CapturedStep>> end_capture(const CaptureOptions& options) = 0;
  virtual Status replay(CapturedStep& step) = 0;

 private:
  virtual Status wait_for_all() = 0;
  std::int64_t synchronizations_ = 0;
};

// Of an error after which the device is lost.
inline constexpr const char* kDeviceLost = "cuda.device_lost";

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  virtual Bytes available_memory() const = 0;   // of info().memory, now: what is not in use
  virtual MemoryResource& memory() = 0;         // what kernels read and write
  virtual MemoryResource& pinned_memory() = 0;  // host memory that copies fast
  virtual Result<std::unique_ptr<Stream>> make_stream() = 0;
  virtual Result<std::unique_ptr<Event>> make_event() = 0;
  // An event that also keeps when it was reached, by the device's clock.
  virtual Result<std::unique_ptr<Event>> make_timed_event() = 0;
  // From one timed event of this device to another; both have been reached. Errors: device.
  virtual Result<Seconds> elapsed(const Event& first, const Event& last) const = 0;
  virtual bool can_capture() const = 0;
  // Whether streams are queues: a launch returns before its work is done, and the host may go on meanwhile.
  virtual bool is_queue() const { return false; }
  // The device's virtual memory; null where it has none.
  virtual VirtualMemory* virtual_memory() { return nullptr; }
  // A pool of the driver's for work of this stream, which outlives it. Errors: unsupported where there is none.
  virtual Result<std::unique_ptr<PoolResource>> make_pool(Stream& stream, const PoolOptions& options);
  // Set once the device can do nothing any more for this process: what every later call fails with.
  virtual std::optional<Error> lost() const { return std::nullopt; }
  // Whether the host may read and write what memory() gives. If not, only copies reach it.
  virtual bool host_reads_memory() const { return true; }
  // Share `index` of `count` equal ones: a device over the same memory whose streams use only that part of the compute
  // units, so that `count` threads can work side by side, each on a share of its own. A share does not need the device
  // it came from. A GPU is not divided: the streams of all shares run side by side as its scheduler sees fit. Errors:
  // usage if there are fewer compute units than shares.
  virtual Result<std::unique_ptr<Device>> make_share(int index, int count) = 0;
};

}  // namespace rl
