#include "tensor/tensor.h"

#include <set>

#include "check/result.h"
#include "tensor/buffer.h"
#include "tensor/element.h"

namespace rl {
namespace {

constexpr DType kAllTypes[] = {DType::f32, DType::bf16, DType::f16, DType::f8_e4m3, DType::f8_e5m2,
                               DType::i8,  DType::u8,   DType::i32, DType::i64,     DType::f64};

TEST(TensorRef, KnowsItsElementsAndWhetherTheyLieTogether) {
  float data[24] = {};
  TensorRef t = tensor(data, {2, 3, 4});
  EXPECT_EQ(t.dtype, DType::f32);
  EXPECT_EQ(t.elements(), 24);
  EXPECT_EQ(t.strides[0], 12);
  EXPECT_EQ(t.strides[2], 1);
  EXPECT_TRUE(t.contiguous());
  t.strides[0] = 16;
  EXPECT_FALSE(t.contiguous());
  t.shape[0] = 1;
  EXPECT_TRUE(t.contiguous()) << "the stride of a dimension of one does not matter";
  t.shape[1] = 0;
  EXPECT_EQ(t.elements(), 0);
  EXPECT_FALSE(TensorRef{});
}

TEST(DType, NamesAndSizesAreTold) {
  std::set<std::string> names;
  for (const DType type : kAllTypes) {
    EXPECT_GT(size_of(type), 0);
    EXPECT_TRUE(names.insert(name_of(type)).second);
  }
  EXPECT_FALSE(names.contains("?"));
  EXPECT_EQ(size_of(kDTypeOf<num::bf16>), 2);
  EXPECT_EQ(size_of(kDTypeOf<double>), 8);
}

TEST(Element, LoadsWhatWasStoredRoundedOnce) {
  for (const DType type : {DType::f32, DType::bf16, DType::f16, DType::f8_e4m3, DType::f8_e5m2, DType::f64}) {
    alignas(8) char data[16] = {};
    store_element(type, data, 1, -1.5);
    EXPECT_EQ(load_element(type, data, 1), -1.5) << name_of(type);
    EXPECT_EQ(load_element(type, data, 0), 0) << name_of(type);
    const double step = eps_of(type);
    store_element(type, data, 0, 1 + step);
    EXPECT_EQ(load_element(type, data, 0), 1 + step) << name_of(type);
    store_element(type, data, 0, 1 + step / 4);
    EXPECT_EQ(load_element(type, data, 0), 1) << name_of(type);
    store_element(type, data, 0, smallest_of(type));
    EXPECT_EQ(load_element(type, data, 0), smallest_of(type)) << name_of(type);
    store_element(type, data, 0, smallest_of(type) * 0.25);
    EXPECT_EQ(load_element(type, data, 0), 0) << name_of(type);
  }
}

TEST(Element, LoadsIntegers) {
  const std::int8_t i8[] = {-128, 127};
  const std::uint8_t u8[] = {0, 255};
  const std::int32_t i32[] = {INT32_MIN, 7};
  const std::int64_t i64[] = {0, std::int64_t{1} << 53};
  EXPECT_EQ(load_element(DType::i8, i8, 0), -128);
  EXPECT_EQ(load_element(DType::u8, u8, 1), 255);
  EXPECT_EQ(load_element(DType::i32, i32, 0), -2147483648.0);
  EXPECT_EQ(load_element(DType::i64, i64, 1), 9007199254740992.0);
}

TEST(Buffer, FreesOnceAlsoWhenMoved) {
  CountingResource counting(host_memory());
  {
    ASSERT_VALUE(Buffer a, Buffer::make(counting, {100}));
    ASSERT_VALUE(Buffer b, Buffer::make(counting, {30}));
    void* const data = a.data();
    Buffer c = std::move(a);
    EXPECT_EQ(c.data(), data);
    EXPECT_EQ(c.size(), Bytes{100});
    EXPECT_FALSE(a);
    b = std::move(c);
    EXPECT_EQ(b.data(), data);
    EXPECT_EQ(counting.live(), Bytes{100}) << "what b held is freed";
    Buffer& same = b;
    b = std::move(same);
    EXPECT_EQ(b.data(), data) << "moving into itself changes nothing";
  }
  EXPECT_EQ(counting.live(), Bytes{0});
  EXPECT_EQ(counting.allocations(), counting.deallocations());
}

TEST(Buffer, PassesAFailureOn) {
  FailingResource failing(host_memory(), 1);
  EXPECT_EQ(Buffer::make(failing, {8}).error().kind, ErrorKind::out_of_memory);
}

}  // namespace
}  // namespace rl
