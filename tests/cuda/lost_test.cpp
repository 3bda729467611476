// What a sticky error does, in a process of its own: a kernel that traps ends the card for this process.

#include "card.h"
#include "cuda/host/error.h"
#include "tensor/buffer.h"

namespace rl::cuda {
namespace {

// One instruction, compiled by the driver.
constexpr char kTrap[] = R"(.version 8.0
.target sm_80
.address_size 64
.visible .entry trap_now() { trap; }
)";

Status launch_trap(cudaStream_t stream) {
  cudaLibrary_t library = nullptr;
  cudaKernel_t kernel = nullptr;
  if (auto code = cudaLibraryLoadData(&library, kTrap, nullptr, nullptr, 0, nullptr, nullptr, 0); code != cudaSuccess)
    return error_of(code, "cudaLibraryLoadData");
  if (auto code = cudaLibraryGetKernel(&kernel, library, "trap_now"); code != cudaSuccess)
    return error_of(code, "cudaLibraryGetKernel");
  return check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(1), dim3(1), nullptr, 0, stream),
               "cudaLaunchKernel");
}

// Prints what happened, for the parent; ends with 0.
[[noreturn]] void lose_the_card() {
  auto opened = open_card();
  if (!opened) std::exit(2);
  Card& card = *opened;
  auto event = card.device->make_event();
  auto block = Buffer::make(card.device->memory(), {1 << 20});
  if (!event || !block || card.device->lost()) std::exit(3);
  if (const Status launched = launch_trap(handle_of(*card.stream)); !launched) {
    fmt::print(stderr, "{}\n", launched.error().message());
    std::exit(4);
  }
  const Status waited = card.stream->synchronize();
  if (waited) std::exit(5);
  const auto lost = card.device->lost();
  const auto memory = card.device->memory().allocate({1 << 20});
  const auto stream = card.device->make_stream();
  const auto share = card.device->make_share(0, 1);
  fmt::print(stderr, "first: {} [{}] {}; kept: {}; then: memory {}, stream {}, share lost {}\n", waited.error().what,
             waited.error().rule, waited.error().found, lost && lost->native_code == waited.error().native_code,
             memory ? "works" : memory.error().rule, stream ? "works" : stream.error().rule,
             share && (*share)->lost().has_value());
  // Owners end in order though every call fails.
  block = Buffer();
  event = std::unique_ptr<Event>();
  card = {};
  std::exit(0);
}

TEST(CudaLost, AKernelThatTrapsLosesTheCardAndEveryLaterCallSaysSo) {
  RL_NEED_CARD();
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // CUDA does not survive a fork
  EXPECT_EXIT(lose_the_card(), testing::ExitedWithCode(0),
              "cudaStreamSynchronize failed: the GPU is lost to this process \\[cuda.device_lost\\] "
              "cudaError.*; kept: true; then: memory cuda.device_lost, stream cuda.device_lost, share lost true");
}

}  // namespace
}  // namespace rl::cuda
