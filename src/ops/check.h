#pragma once
// Parts of validate(): rules that an op's arguments must keep. They look at shapes, types, strides and addresses, never
// at data, which may lie on a device. Every size is at least 1: an op without work is not called.

#include <initializer_list>
#include <string>

#include "base/result.h"
#include "ops/kv_layout.h"
#include "quant/packed_weight.h"
#include "tensor/tensor.h"

namespace rl::ops {

struct TensorRule {
  std::initializer_list<DType> types;
  std::initializer_list<std::int64_t> shape;  // kAny: any size of at least 1
  bool strided_rows = false;                  // the first stride may be larger than the rows; else contiguous
};
inline constexpr std::int64_t kAny = -1;

// Errors: invalid_input with rule "<op>.<field>.null|type|shape|size|strides|alignment".
Status check_tensor(const char* op, const char* field, const TensorRef& t, const TensorRule& rule);

// Errors: invalid_input with rule "<op>.<field>.null|size|padding|alignment|scales|int8_cols".
Status check_weight(const char* op, const char* field, const quant::PackedWeight& weight);

// K and V pages of one type, that of the activations or e4m3, and one shape; head_dim as given. Errors: as
// check_tensor, fields "k" and "v".
Status check_pages(const char* op, const KvPages& pages, DType type, std::int64_t kv_heads, std::int64_t head_dim);

// out must not share memory with an input. Errors: invalid_input with rule "<op>.out.overlap".
Status check_apart(const char* op, const TensorRef& out, const char* field, const TensorRef& input);

// Errors: invalid_input with rule "<op>.<field>.<rule>".
Status check(bool holds, const char* op, const char* field, const char* rule, std::string expected, std::string found);

}  // namespace rl::ops
