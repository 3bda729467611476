#include <cerrno>

#include <fmt/format.h>

#include "telemetry/energy.h"
#include "telemetry/powercap.h"

namespace rl::telemetry {

Result<std::unique_ptr<RaplSensor>> RaplSensor::open(const std::filesystem::path& powercap) {
  auto sensor = std::make_unique<RaplSensor>();
  for (const auto& folder : package_zones(powercap)) {
    auto now = read_number(folder / "energy_uj");
    if (!now && (now.error().native_code == EACCES || now.error().native_code == EPERM)) {
      now.error().what = "the processor's energy counter may not be read";
      now.error().rule = "rapl.permission";
      now.error().hint = fmt::format(
          "run as root, or allow it until the next restart: sudo chmod a+r {}/intel-rapl:*/energy_uj (kernels keep it "
          "to root because it can tell secrets, CVE-2020-8694)",
          powercap.string());
    }
    if (!now) return now.error();
    RL_ASSIGN(const std::int64_t range, read_number(folder / "max_energy_range_uj"));
    sensor->zones_.push_back({.folder = folder, .name = read_line(folder / "name"), .range = range, .last = *now});
  }
  if (sensor->zones_.empty())
    return Error{.kind = ErrorKind::unsupported,
                 .what = "the kernel offers no energy counter of the processor (RAPL)",
                 .rule = "rapl.absent",
                 .file = powercap.string(),
                 .expected = "a folder intel-rapl:0 for the package",
                 .hint =
                     "use a machine of its own: virtual machines rarely have it; on one that has, load the module: "
                     "modprobe intel_rapl_msr"};
  return sensor;
}

std::string RaplSensor::name() const {
  std::string names;
  for (const Zone& zone : zones_) names += (names.empty() ? "RAPL " : ", ") + zone.name;
  return names;
}

Result<Joules> RaplSensor::read() {
  for (Zone& zone : zones_) {
    RL_ASSIGN(const std::int64_t now, read_number(zone.folder / "energy_uj"));
    used_ += now >= zone.last ? now - zone.last : now + zone.range - zone.last;
    zone.last = now;
  }
  return Joules{static_cast<double>(used_) * 1e-6};
}

}  // namespace rl::telemetry
