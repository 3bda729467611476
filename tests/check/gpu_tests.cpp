// The program of `make dist TESTS=1`: redline itself, and under the name gpu_tests the tests of a card, which read
// their files from tests/ beside it. One program, since two would carry the kernels, the engine and the CPU backend
// twice.

#include <filesystem>

#include <gtest/gtest.h>

#include "app/cli.h"

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  if (argc < 1 || fs::path(argv[0]).filename() != "gpu_tests") return rl::app::run_command_line(argc, argv);
  fs::current_path(fs::read_symlink("/proc/self/exe").parent_path() / "tests");
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
