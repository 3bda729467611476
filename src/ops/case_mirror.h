#pragma once
// A case's memory on a device that the host does not reach: the same buffers at other addresses.

#include "device/device.h"
#include "ops/case_inputs.h"

namespace rl::ops {

class CaseMirror {
 public:
  // A copy of all of `memory`, which must outlive the mirror.
  static Result<CaseMirror> make(Device& device, Stream& stream, const CaseMemory& memory);
  // Args whose pointers lead to the mirror. Pointers outside the memory are left alone.
  EmbedArgs there(EmbedArgs args) const;
  RmsNormArgs there(RmsNormArgs args) const;
  LinearArgs there(LinearArgs args) const;
  FusedLinearArgs there(FusedLinearArgs args) const;
  RopeAppendArgs there(RopeAppendArgs args) const;
  AttentionArgs there(AttentionArgs args) const;
  SiluMulArgs there(SiluMulArgs args) const;
  SampleArgs there(SampleArgs args) const;
  FeedArgs there(FeedArgs args) const;
  DeliverArgs there(DeliverArgs args) const;
  std::byte* moved(std::byte* host) const;
  // Copies everything back, guard bands included.
  Status bring_back(Stream& stream) const;

 private:
  TensorRef moved(TensorRef t) const;
  quant::PackedWeight moved(quant::PackedWeight weight) const;

  struct Pair {
    std::byte* host = nullptr;
    Buffer device;
  };
  std::vector<Pair> pairs_;
};

}  // namespace rl::ops
