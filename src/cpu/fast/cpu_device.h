#pragma once
// The CPU as a Device: host memory, streams that run each launch at once on a pool of threads.

#include <memory>

#include "cpu/fast/thread_pool.h"
#include "device/device.h"
#include "ops/catalog.h"

namespace rl::cpu {

inline constexpr std::string_view kIsaLevels[] = {"none", "avx2", "avx512", "avx512_bf16", "amx"};

// What the processor can do, by CPUID. limit: one of kIsaLevels hides what is above it, for tests of the slower paths.
Arch detect_arch(std::string_view limit = {});

// Whatever is recorded has ended.
class CpuEvent final : public Event {
 public:
  bool done() const override { return true; }
  Status wait() const override { return ok(); }
  Seconds reached() const { return reached_; }  // by the program's monotonic clock

 private:
  friend class CpuStream;
  Seconds reached_{};
};

class CpuStream final : public Stream {
 public:
  CpuStream(ThreadPool& pool, const Arch& arch) : pool_(pool), arch_(arch) {}
  ThreadPool& pool() { return pool_; }
  const Arch& arch() const { return arch_; }
  Status copy_to_device(void* device, const void* host, Bytes bytes) override;
  Status copy_to_host(void* host, const void* device, Bytes bytes) override;
  Status record(Event& event) override;
  Status begin_capture() override;
  Result<std::unique_ptr<CapturedStep>> end_capture(const CaptureOptions&) override;
  Status replay(CapturedStep&) override;

 private:
  Status wait_for_all() override { return ok(); }

  ThreadPool& pool_;
  Arch arch_;
};

struct CpuOptions {
  int threads = 0;           // 0: one per available core (the process's affinity mask)
  std::string isa_limit;     // see detect_arch
  std::optional<int> first;  // of the available processors, for a device beside others: see ThreadPool
};
std::unique_ptr<Device> make_device(const CpuOptions& options);

// Variants of cpu/fast, then those of cpu/ref.
const ops::Catalog& catalog();

}  // namespace rl::cpu
