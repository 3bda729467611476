#include "telemetry/cpu_time.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

#include <unistd.h>

#include "base/clock.h"
#include "telemetry/host.h"

namespace rl::telemetry {

std::optional<Seconds> busy_time(const std::filesystem::path& root, const std::vector<int>& cpus,
                                 double ticks_per_second) {
  std::ifstream file(root / "proc/stat");
  std::size_t found = 0;
  double ticks = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    if (!name.starts_with("cpu") || name.size() == 3) continue;
    const auto is_it = [&](int cpu) { return name == "cpu" + std::to_string(cpu); };
    if (std::none_of(cpus.begin(), cpus.end(), is_it)) continue;
    // proc(5): a guest's time is in user's and nice's already.
    double user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
    if (!(words >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal)) return std::nullopt;
    ticks += user + nice + system + irq + softirq + steal;
    ++found;
  }
  if (found == 0 || found != cpus.size()) return std::nullopt;
  return Seconds{ticks / ticks_per_second};
}

std::optional<CpuTime> read_cpu_time() {
  const std::vector<int> cpus = allowed_cpus();
  const auto busy = busy_time("/", cpus, static_cast<double>(::sysconf(_SC_CLK_TCK)));
  if (!busy) return std::nullopt;
  return CpuTime{
      .wall = monotonic_now(), .busy = *busy, .own = process_cpu_time(), .cpus = static_cast<int>(cpus.size())};
}

double foreign_share(const CpuTime& begin, const CpuTime& end) {
  const double all = (end.wall - begin.wall).count * end.cpus;
  if (!(all > 0)) return 0;
  return std::clamp(((end.busy - begin.busy) - (end.own - begin.own)).count / all, 0.0, 1.0);
}

}  // namespace rl::telemetry
