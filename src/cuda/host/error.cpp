#include "cuda/host/error.h"

namespace rl::cuda {

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
    error.rule = "cuda.device_lost";
    error.hint = "start the program again; if it happens again, run it under compute-sanitizer and report what it says";
  }
  return error;
}

}  // namespace rl::cuda
