#pragma once
// Energy that the machine's own counters report, and the power limits that its kernel lets one set. RAPL through Linux'
// powercap files (Documentation/power/powercap/powercap.rst; AMD's processors show up under the same names).

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace rl::telemetry {

inline constexpr const char* kPowercapFolder = "/sys/class/powercap";

class EnergySensor {
 public:
  virtual ~EnergySensor() = default;
  virtual std::string name() const = 0;  // what it covers: "RAPL package-0, package-1"
  virtual Result<Joules> read() = 0;     // used since the sensor was opened
};

// All processor packages together, without memory and whatever else the machine holds. The counters are some 32 bits of
// microjoules: a wrap is seen if read() is called at least once in each (minutes at full power).
class RaplSensor final : public EnergySensor {
 public:
  // Errors: unsupported, with what to do: the kernel has no such counters, or they may not be read.
  static Result<std::unique_ptr<RaplSensor>> open(const std::filesystem::path& powercap = kPowercapFolder);
  std::string name() const override;
  Result<Joules> read() override;

 private:
  struct Zone {
    std::filesystem::path folder;
    std::string name;
    std::int64_t range = 0, last = 0;  // microjoules
  };
  std::vector<Zone> zones_;
  std::int64_t used_ = 0;  // microjoules
};

// The long-term power limit of each package, changed in step. The limits found at the start come back by restore(), by
// the destructor, and when SIGINT, SIGTERM, SIGHUP, SIGQUIT or SIGABRT ends the program; not after SIGKILL, which no
// program can catch: they then stay until somebody sets them or the machine restarts. At most one object at a time.
class PowerLimits {
 public:
  // Errors: unsupported, with what to do: there is no limit, or it may not be written.
  static Result<std::unique_ptr<PowerLimits>> open(const std::filesystem::path& powercap = kPowercapFolder);
  ~PowerLimits();
  PowerLimits(const PowerLimits&) = delete;
  PowerLimits& operator=(const PowerLimits&) = delete;

  double original_watts() const;              // of all packages together, as found
  double watts() const;                       // as the kernel has them now
  Seconds window() const { return window_; }  // over which the limit holds on average
  // A share of the limits found at the start. Errors: io; device if the kernel did not take it (all are restored then).
  Status set(double share);
  // Errors: io; device where somebody else has changed a limit meanwhile: that one is left as it is.
  Status restore();

 private:
  struct Zone {
    std::filesystem::path file;
    std::int64_t original = 0, set = 0;  // microwatts; set: what was written last, read back
  };
  PowerLimits(std::vector<Zone> zones, Seconds window);
  std::vector<Zone> zones_;
  Seconds window_;
  bool changed_ = false;
};

}  // namespace rl::telemetry
