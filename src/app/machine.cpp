#include "app/machine.h"

#include <fstream>

#include "measure/measure.h"

namespace rl::app {

Result<BytesPerSecond> bandwidth(const ops::Backend& backend, std::string_view name) {
  for (const Probe& probe : backend.probes) {
    if (probe.name != name) continue;
    RL_ASSIGN(const std::unique_ptr<ProbeRun> run, probe.prepare(*backend.device));
    const measure::Plan plan{.min_samples = 5, .min_time = {0.2}, .timeout = {1}, .target = 0.02};
    RL_ASSIGN(const record::Metric time, measure::run(plan, {.name = probe.name, .run = [&] { return run->run(); }}));
    return BytesPerSecond{run->amount() / time.value};
  }
  return Error{.kind = ErrorKind::unsupported,
               .what = fmt::format("the {} backend has no probe named {}", backend.name, name)};
}

bool nvidia_card_on_bus(const std::filesystem::path& devices) {
  const auto first_word = [](const std::filesystem::path& file) {
    std::ifstream in(file);
    std::string word;
    in >> word;
    return word;
  };
  constexpr std::string_view kNvidia = "0x10de", kDisplay = "0x03";  // class: base class, then the rest
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(devices, failed), end; !failed && entry != end;
       entry.increment(failed))
    if (first_word(entry->path() / "vendor") == kNvidia && first_word(entry->path() / "class").starts_with(kDisplay))
      return true;
  return false;
}

std::string unused_card_line(const Error& why, bool card_on_bus) {
  const bool perhaps_none = why.rule == "cuda.no_driver" || why.rule == "cuda.no_card" || why.rule == "cuda.not_built";
  if (perhaps_none && !card_on_bus) return "";
  std::string line = "a GPU is there but cannot be used: " + why.what;
  if (!why.found.empty())
    line += why.expected.empty() ? fmt::format(" ({})", why.found)
                                 : fmt::format(" ({}; {} is needed)", why.found, why.expected);
  line += why.hint.empty() ? "; `redline doctor` says more" : "; " + why.hint;
  return line + "; going on with the CPU (--device cpu: without this line)";
}

}  // namespace rl::app
