#pragma once
// Rings of stages in shared memory, each with a barrier of those who fill it and one of those who read it.

namespace rl::cuda {

// The stages, one after the other, through the slots of a ring.
struct Turn {
  int slot = 0, parity = 0;
  __device__ void next(int stages) {
    if (++slot == stages) slot = 0, parity ^= 1;
  }
};

}  // namespace rl::cuda
