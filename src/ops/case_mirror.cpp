#include "ops/case_mirror.h"

namespace rl::ops {

Result<CaseMirror> CaseMirror::make(Device& device, Stream& stream, const CaseMemory& memory) {
  CaseMirror mirror;
  for (const Buffer& buffer : memory.buffers()) {
    RL_ASSIGN(Buffer copy, Buffer::make(device.memory(), buffer.size()));
    RL_TRY(stream.copy_to_device(copy.data(), buffer.data(), buffer.size()));
    mirror.pairs_.push_back({buffer.as<std::byte>(), std::move(copy)});
  }
  return mirror;
}

Status CaseMirror::bring_back(Stream& stream) const {
  for (const Pair& pair : pairs_) RL_TRY(stream.copy_to_host(pair.host, pair.device.data(), pair.device.size()));
  return stream.synchronize();
}

std::byte* CaseMirror::moved(std::byte* host) const {
  for (const Pair& pair : pairs_)
    if (host >= pair.host && host < pair.host + pair.device.size().count)
      return pair.device.as<std::byte>() + (host - pair.host);
  return host;
}

TensorRef CaseMirror::moved(TensorRef t) const {
  t.data = moved(static_cast<std::byte*>(t.data));
  return t;
}

quant::PackedWeight CaseMirror::moved(quant::PackedWeight weight) const {
  weight.data = moved(static_cast<std::byte*>(weight.data));
  weight.scales = reinterpret_cast<float*>(moved(reinterpret_cast<std::byte*>(weight.scales)));
  return weight;
}

EmbedArgs CaseMirror::there(EmbedArgs args) const {
  args.ids = moved(args.ids), args.table = moved(args.table), args.out = moved(args.out);
  return args;
}
RmsNormArgs CaseMirror::there(RmsNormArgs args) const {
  for (TensorRef* t : {&args.x, &args.weight, &args.rows, &args.out, &args.scales}) *t = moved(*t);
  return args;
}
LinearArgs CaseMirror::there(LinearArgs args) const {
  args.weight = moved(args.weight);
  for (TensorRef* t : {&args.x, &args.x_scales, &args.bias, &args.out}) *t = moved(*t);
  return args;
}
FusedLinearArgs CaseMirror::there(FusedLinearArgs args) const {
  args.product = there(args.product);
  if (args.norm) args.norm = there(*args.norm);
  if (args.silu_mul) args.silu_mul = there(*args.silu_mul);
  if (args.rope_append) args.rope_append = there(*args.rope_append);
  return args;
}
RopeAppendArgs CaseMirror::there(RopeAppendArgs args) const {
  for (TensorRef* t : {&args.qkv, &args.positions, &args.seq_of, &args.cos, &args.sin, &args.q_norm, &args.k_norm,
                       &args.cache.k, &args.cache.v, &args.page_table})
    *t = moved(*t);
  return args;
}
AttentionArgs CaseMirror::there(AttentionArgs args) const {
  for (TensorRef* t :
       {&args.q, &args.kv.k, &args.kv.v, &args.index.page_table, &args.index.kv_len, &args.index.cu_q, &args.out})
    *t = moved(*t);
  return args;
}
SiluMulArgs CaseMirror::there(SiluMulArgs args) const {
  for (TensorRef* t : {&args.gate_up, &args.out, &args.scales}) *t = moved(*t);
  return args;
}
SampleArgs CaseMirror::there(SampleArgs args) const {
  auto* const row = reinterpret_cast<std::byte*>(const_cast<SampleRow*>(args.row));
  args.row = reinterpret_cast<const SampleRow*>(moved(row));
  for (TensorRef* t : {&args.logits, &args.history, &args.out}) *t = moved(*t);
  return args;
}

FeedArgs CaseMirror::there(FeedArgs args) const {
  for (TensorRef* t : {&args.host[0], &args.host[1], &args.turn, &args.drawn, &args.out}) *t = moved(*t);
  return args;
}
DeliverArgs CaseMirror::there(DeliverArgs args) const {
  for (TensorRef* t : {&args.drawn, &args.block, &args.out[0], &args.out[1]}) *t = moved(*t);
  return args;
}

}  // namespace rl::ops
