#pragma once
// A probe finds one ceiling of the machine: work of a known amount that measure/ times. Each backend lists its own.

#include <memory>
#include <string>

#include "base/result.h"
#include "device/device.h"

namespace rl {

class ProbeRun {
 public:
  virtual ~ProbeRun() = default;
  virtual double amount() const = 0;  // bytes or floating-point operations of one run()
  virtual Status run() = 0;           // does the work and waits for it
};

struct Probe {
  const char* name;                                              // "read_bandwidth", "matrix_rate_bf16"
  const char* unit;                                              // of amount per second: "B/s", "FLOP/s"
  const char* method;                                            // one sentence for the report
  Result<std::unique_ptr<ProbeRun>> (*prepare)(Device& device);  // errors: unsupported with the reason, out_of_memory
};

}  // namespace rl
