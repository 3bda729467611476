#pragma once
// Exit statuses: verdicts below 10 (docs/cli.md), then one per kind of error.

#include "base/result.h"
#include "record/run_comparison.h"

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

constexpr int exit_code(record::Judgement judgement) {
  switch (judgement) {
    case record::Judgement::fine:
      return kExitOk;
    case record::Judgement::worse:
      return kExitWorse;
    case record::Judgement::inconclusive:
      return kExitInconclusive;
    case record::Judgement::invalid:
      return kExitInvalid;
  }
  return kExitInvalid;
}

}  // namespace rl::app
