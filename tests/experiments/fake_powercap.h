#pragma once
// A folder that looks like the kernel's powercap: one zone, with a counter of energy and, if asked for, a limit.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/result.h"

namespace rl::experiments {

class FakePowercap {
 public:
  FakePowercap() {
    std::string path = (std::filesystem::temp_directory_path() / "redline_powercap.XXXXXX").string();
    RL_CHECK(::mkdtemp(path.data()) != nullptr);
    root_ = path;
  }
  ~FakePowercap() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  FakePowercap(const FakePowercap&) = delete;
  FakePowercap& operator=(const FakePowercap&) = delete;

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path zone() const { return root_ / "intel-rapl:0"; }

  void add_counter(const std::string& energy_uj, const std::string& max_range_uj) const {
    std::filesystem::create_directories(zone());
    write("name", "package-0");
    write("energy_uj", energy_uj);
    write("max_energy_range_uj", max_range_uj);
  }
  void add_limit(const std::string& window_us) const {  // of 100 W
    std::filesystem::create_directories(zone());
    write("constraint_0_power_limit_uw", "100000000");
    write("constraint_0_time_window_us", window_us);
  }
  // The file appears whole: no reader sees half of it.
  void write(const char* file, const std::string& text) const {
    std::ofstream(zone() / "next") << text << "\n";
    std::filesystem::rename(zone() / "next", zone() / file);
  }
  std::string read(const char* file) const {  // its first line; empty: there is none
    std::string line;
    std::ifstream in(zone() / file);
    std::getline(in, line);
    return line;
  }

 private:
  std::filesystem::path root_;
};

}  // namespace rl::experiments
