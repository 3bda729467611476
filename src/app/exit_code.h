#pragma once
// Exit statuses: verdicts below 10 (docs/cli.md), then one per kind of error.

#include "base/result.h"

namespace rl::app {

inline constexpr int kExitOk = 0, kExitWorse = 1, kExitInconclusive = 2, kExitInvalid = 3, kExitUsage = 4;

constexpr int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage:
      return kExitUsage;
    case ErrorKind::invalid_input:
      return 10;
    case ErrorKind::unsupported:
      return 11;
    case ErrorKind::out_of_memory:
      return 12;
    case ErrorKind::io:
      return 13;
    case ErrorKind::device:
      return 14;
    case ErrorKind::timeout:
      return 15;
    case ErrorKind::cancelled:
      return 16;
    case ErrorKind::internal:
      return 17;
  }
  return 17;
}

}  // namespace rl::app
