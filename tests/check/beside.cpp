// Linked into the test programs of `make dist`, which are copied to other machines: the files they read are named
// relative to the program.

#include <filesystem>

#include <gtest/gtest.h>

namespace {

class BesideTheProgram final : public testing::Environment {
  void SetUp() override {
    std::filesystem::current_path(std::filesystem::read_symlink("/proc/self/exe").parent_path());
  }
};

const auto* const kEnvironment = testing::AddGlobalTestEnvironment(new BesideTheProgram);

}  // namespace
