#pragma once
// Virtual memory of a card through the driver API. The driver's functions are asked for at run time, so that a program
// with this backend starts where there is no driver.

#include <memory>

#include "device/virtual_memory.h"

namespace rl::cuda {

// Errors: unsupported where driver or card has no virtual memory management; device.
Result<std::unique_ptr<VirtualMemory>> make_virtual_memory(int ordinal);

}  // namespace rl::cuda
