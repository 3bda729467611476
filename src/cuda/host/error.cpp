#include "cuda/host/error.h"

#include <mutex>

#include "device/device.h"

namespace rl::cuda {
namespace {

struct FirstError {
  std::mutex mutex;
  std::optional<Error> error;
};
FirstError& first_error() {
  static FirstError instance;
  return instance;
}

}  // namespace

bool sticky(cudaError_t code) {
  switch (code) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorDevicesUnavailable:
      return true;
    default:
      return false;
  }
}

Error error_of(cudaError_t code, const char* call) {
  (void)cudaGetLastError();
  Error error{.kind = code == cudaErrorMemoryAllocation ? ErrorKind::out_of_memory : ErrorKind::device,
              .what = fmt::format("{} failed", call),
              .found = fmt::format("{}: {}", cudaGetErrorName(code), cudaGetErrorString(code)),
              .native_code = static_cast<int>(code)};
  if (sticky(code)) {
    error.what += ": the GPU is lost to this process";
    error.rule = kDeviceLost;
    error.hint = "start the program again; if it happens again, run it under compute-sanitizer and report what it says";
    FirstError& first = first_error();
    const std::lock_guard lock(first.mutex);
    if (!first.error) first.error = error;
  }
  return error;
}

std::optional<Error> first_sticky_error() {
  FirstError& first = first_error();
  const std::lock_guard lock(first.mutex);
  return first.error;
}

}  // namespace rl::cuda
