#pragma once
// `redline doctor`: what this machine has, what each missing part would enable, how to get it.

#include <cstdio>

#include "base/result.h"

namespace rl::app {

struct DoctorOptions {
  bool json = false;
  bool fit = false;  // cmd_fit.h instead
};

Status cmd_doctor(const DoctorOptions& options, std::FILE* out);

}  // namespace rl::app
