// Each rule of each op's arguments: sound ones pass, and one broken thing is refused by the name of its rule.

#include "check/result.h"
#include "ops/case_inputs.h"

namespace rl::ops {
namespace {

template <class Args>
struct Broken {
  const char* rule;
  void (*make)(Args& args);
};

template <class Args, std::size_t N>
void expect_refused(const Args& sound, const Broken<Args> (&table)[N]) {
  ASSERT_OK(validate(sound));
  for (const Broken<Args>& broken : table) {
    Args args = sound;
    broken.make(args);
    const Status status = validate(args);
    ASSERT_FALSE(status) << broken.rule;
    EXPECT_EQ(status.error().rule, broken.rule);
    EXPECT_EQ(status.error().kind, ErrorKind::invalid_input);
    EXPECT_FALSE(status.error().expected.empty() || status.error().found.empty()) << broken.rule;
  }
}

void* moved(void* data, std::ptrdiff_t bytes) { return static_cast<char*>(data) + bytes; }

TEST(Validate, Embed) {
  ASSERT_VALUE(const auto inputs, make_inputs(EmbedCase{"", 0, 3, 70, 8}, quant::Format::int8, quant::Layout::panel64));
  using A = EmbedArgs;
  expect_refused<A>(inputs.args, {{"embed.ids.null", [](A& a) { a.ids.data = nullptr; }},
                                  {"embed.ids.type", [](A& a) { a.ids.dtype = DType::i64; }},
                                  {"embed.ids.shape", [](A& a) { a.ids.shape[0] = 0; }},
                                  {"embed.table.null", [](A& a) { a.table.data = nullptr; }},
                                  {"embed.table.size", [](A& a) { a.table.rows = 0; }},
                                  {"embed.table.padding", [](A& a) { a.table.padded_rows = 70; }},
                                  {"embed.table.alignment", [](A& a) { a.table.data = moved(a.table.data, 32); }},
                                  {"embed.table.scales", [](A& a) { a.table.scales = nullptr; }},
                                  {"embed.out.type", [](A& a) { a.out.dtype = DType::bf16; }},
                                  {"embed.out.shape", [](A& a) { a.out.shape[1] = 7; }}});
}

TEST(Validate, RmsNorm) {
  ASSERT_VALUE(const auto inputs, make_inputs(RmsNormCase{"", 0, 5, 8, 2}, DType::bf16));
  using A = RmsNormArgs;
  expect_refused<A>(inputs.args, {{"rms_norm.x.type", [](A& a) { a.x.dtype = DType::bf16; }},
                                  {"rms_norm.x.shape", [](A& a) { a.x.rank = 3; }},
                                  {"rms_norm.x.strides", [](A& a) { a.x.strides[0] = 9; }},
                                  {"rms_norm.x.alignment", [](A& a) { a.x.data = moved(a.x.data, 2); }},
                                  {"rms_norm.weight.shape", [](A& a) { a.weight.shape[0] = 9; }},
                                  {"rms_norm.rows.type", [](A& a) { a.rows.dtype = DType::f32; }},
                                  {"rms_norm.eps.range", [](A& a) { a.eps = -1; }},
                                  {"rms_norm.eps.range", [](A& a) { a.eps = NAN; }},
                                  {"rms_norm.out.shape", [](A& a) { a.rows = {}; }},
                                  {"rms_norm.out.type", [](A& a) { a.out.dtype = DType::i32; }},
                                  {"rms_norm.out.overlap", [](A& a) { a.out.data = a.x.data; }}});
}

TEST(Validate, Linear) {
  ASSERT_VALUE(const auto inputs, make_inputs(LinearCase{"", 0, 3, 70, 40, true, true, 48},
                                              {DType::bf16, quant::Format::bf16, DType::f32}, quant::Layout::panel64));
  using A = LinearArgs;
  expect_refused<A>(inputs.args, {{"linear.weight.null", [](A& a) { a.weight.data = nullptr; }},
                                  {"linear.weight.padding", [](A& a) { a.weight.padded_cols = 40; }},
                                  {"linear.weight.size", [](A& a) { a.weight.rows = std::int64_t{1} << 62; }},
                                  {"linear.weight.scales",
                                   [](A& a) {
                                     static float scales[70];
                                     a.weight.scales = scales;
                                   }},
                                  {"linear.weight.int8_cols",
                                   [](A& a) {
                                     static float scales[1];
                                     a.weight = {.format = quant::Format::int8,
                                                 .rows = 1,
                                                 .cols = 133145,
                                                 .padded_rows = 1,
                                                 .padded_cols = 133145,
                                                 .data = a.weight.data,
                                                 .scales = scales};
                                   }},
                                  {"linear.x.shape", [](A& a) { a.x.shape[1] = 39; }},
                                  {"linear.x.strides", [](A& a) { a.x.strides[0] = 39; }},
                                  {"linear.x.strides", [](A& a) { a.x.strides[1] = 2; }},
                                  {"linear.x.alignment", [](A& a) { a.x.data = moved(a.x.data, 1); }},
                                  {"linear.bias.type", [](A& a) { a.bias.dtype = DType::bf16; }},
                                  {"linear.bias.shape", [](A& a) { a.bias.shape[0] = 69; }},
                                  {"linear.out.null", [](A& a) { a.out = {}; }},
                                  {"linear.out.shape", [](A& a) { a.out.shape[0] = 2; }},
                                  {"linear.out.strides", [](A& a) { a.out.strides[0] = 80; }},
                                  {"linear.out.accumulate", [](A& a) { a.out.dtype = DType::bf16; }},
                                  {"linear.out.overlap", [](A& a) { a.x.data = moved(a.out.data, 3 * 70 * 4 - 2); }}});
  A plain = inputs.args;
  plain.bias = {};
  plain.accumulate = false;
  EXPECT_OK(validate(plain));
  plain.x.shape[0] = plain.out.shape[0] = 1;
  plain.x.strides[0] = 0;
  EXPECT_OK(validate(plain)) << "a single row's stride does not matter";
}

// Codes come with their scales, of the weights' type, and nowhere else.
TEST(Validate, Codes) {
  const RmsNormCase norm{"", 0, 5, 200};
  ASSERT_VALUE(const auto normed, make_inputs(norm, CodedType{DType::bf16, quant::Format::fp8_block}));
  using N = RmsNormArgs;
  expect_refused<N>(normed.args, {{"rms_norm.scales.null", [](N& a) { a.scales = {}; }},
                                  {"rms_norm.scales.type", [](N& a) { a.scales.dtype = DType::bf16; }},
                                  {"rms_norm.scales.shape", [](N& a) { a.scales.shape[0] = 4; }},
                                  {"rms_norm.scales.groups",
                                   [](N& a) {
                                     a.scales = tensor(a.scales.as<float>(), {5, 3});
                                   }},
                                  {"rms_norm.scales.groups", [](N& a) { a.out.dtype = DType::i8; }},
                                  {"rms_norm.scales.unused",
                                   [](N& a) {
                                     a.out = tensor(a.out.data, DType::f16, {5, 200});
                                   }},
                                  {"rms_norm.rounded.type", [](N& a) { a.rounded = DType::i8; }}});
  ASSERT_VALUE(const auto gated, make_inputs(SiluMulCase{"", 0, 3, 8}, CodedType{DType::f16, quant::Format::int8}));
  using S = SiluMulArgs;
  expect_refused<S>(gated.args, {{"silu_mul.scales.null", [](S& a) { a.scales = {}; }},
                                 {"silu_mul.scales.shape", [](S& a) { a.scales.shape[0] = 2; }},
                                 {"silu_mul.out.shape", [](S& a) { a.out.shape[1] = 7; }}});
  ASSERT_VALUE(const auto product,
               make_inputs(LinearCase{"", 0, 3, 70, 200, false, false, 224},
                           {DType::f8_e4m3, quant::Format::fp8_block, DType::f32}, quant::Layout::row_major));
  using L = LinearArgs;
  expect_refused<L>(product.args, {{"linear.x_scales.null", [](L& a) { a.x_scales = {}; }},
                                   {"linear.x_scales.shape", [](L& a) { a.x_scales.shape[1] = 1; }},
                                   {"linear.x.type", [](L& a) { a.x.dtype = DType::i8; }},
                                   {"linear.x.codes", [](L& a) { a.weight.format = quant::Format::fp8_wo; }},
                                   {"linear.x_scales.unused", [](L& a) { a.x.dtype = DType::bf16; }}});
}

TEST(Validate, RopeAppend) {
  ASSERT_VALUE(const auto inputs, make_inputs(RopeAppendCase{"", 0, 4, 2, 16, {{3, 10}}, true}, DType::bf16));
  using A = RopeAppendArgs;
  expect_refused<A>(inputs.args, {{"rope_append.heads.group", [](A& a) { a.kv_heads = 3; }},
                                  {"rope_append.heads.group", [](A& a) { a.kv_heads = 0; }},
                                  {"rope_append.head_dim.even", [](A& a) { a.head_dim = 15; }},
                                  {"rope_append.qkv.shape", [](A& a) { a.qkv.shape[1] = 127; }},
                                  {"rope_append.positions.shape", [](A& a) { a.positions.shape[0] = 2; }},
                                  {"rope_append.seq_of.type", [](A& a) { a.seq_of.dtype = DType::i64; }},
                                  {"rope_append.cos.shape", [](A& a) { a.cos.shape[1] = 16; }},
                                  {"rope_append.sin.shape", [](A& a) { a.sin.shape[0] = 9; }},
                                  {"rope_append.q_norm.shape", [](A& a) { a.q_norm.shape[0] = 8; }},
                                  {"rope_append.k_norm.type", [](A& a) { a.k_norm.dtype = DType::bf16; }},
                                  {"rope_append.eps.range", [](A& a) { a.eps = HUGE_VALF; }},
                                  {"rope_append.k.type", [](A& a) { a.cache.k.dtype = DType::f16; }},
                                  {"rope_append.k.shape", [](A& a) { a.cache.k.shape[1] = 1; }},
                                  {"rope_append.v.shape", [](A& a) { a.cache.v.shape[0] = 1; }},
                                  {"rope_append.page_table.shape", [](A& a) { a.page_table.rank = 1; }}});
}

TEST(Validate, Attention) {
  ASSERT_VALUE(const auto inputs,
               make_inputs(AttentionCase{"", 0, 4, 2, 16, {{3, 70}, {1, 5}}, true, 8, 0, true}, DType::bf16));
  using A = AttentionArgs;
  expect_refused<A>(inputs.args, {{"attention.q.type", [](A& a) { a.q.dtype = DType::i8; }},
                                  {"attention.q.strides", [](A& a) { a.q.strides[1] = 17; }},
                                  {"attention.q.strides", [](A& a) { a.q.strides[0] = 63; }},
                                  {"attention.q.group", [](A& a) { a.q.shape[1] = 3; }},
                                  {"attention.k.type", [](A& a) { a.kv.k.dtype = DType::f32; }},
                                  {"attention.k.shape", [](A& a) { a.kv.k.shape[3] = 8; }},
                                  {"attention.v.shape", [](A& a) { a.kv.v.shape[2] = 32; }},
                                  {"attention.page_table.type", [](A& a) { a.index.page_table.dtype = DType::i64; }},
                                  {"attention.kv_len.shape", [](A& a) { a.index.kv_len.shape[0] = 1; }},
                                  {"attention.cu_q.shape", [](A& a) { a.index.cu_q.shape[0] = 2; }},
                                  {"attention.window.range", [](A& a) { a.window = -1; }},
                                  {"attention.window.causal", [](A& a) { a.causal = false; }},
                                  {"attention.scale.range", [](A& a) { a.scale = 0; }},
                                  {"attention.scale.range", [](A& a) { a.scale = NAN; }},
                                  {"attention.max_kv.range", [](A& a) { a.max_kv = 0; }},
                                  {"attention.max_kv.range", [](A& a) { a.max_kv = 10'000; }},
                                  {"attention.max_q.range", [](A& a) { a.max_q = 5; }},
                                  {"attention.out.strides", [](A& a) { a.out.strides[0] = 128; }},
                                  {"attention.out.shape", [](A& a) { a.out.shape[2] = 15; }},
                                  {"attention.out.overlap", [](A& a) { a.out.data = a.q.data; }}});
}

TEST(Validate, SiluMul) {
  ASSERT_VALUE(const auto inputs, make_inputs(SiluMulCase{"", 0, 3, 8}, DType::bf16));
  using A = SiluMulArgs;
  expect_refused<A>(inputs.args,
                    {{"silu_mul.gate_up.type", [](A& a) { a.gate_up.dtype = DType::i8; }},
                     {"silu_mul.gate_up.even", [](A& a) { a.gate_up.shape[1] = a.gate_up.strides[0] = 15; }},
                     {"silu_mul.out.type", [](A& a) { a.out.dtype = DType::f32; }},
                     {"silu_mul.out.shape", [](A& a) { a.out.shape[1] = 16; }},
                     {"silu_mul.out.overlap", [](A& a) { a.out.data = moved(a.gate_up.data, 90); }}});
}

TEST(Validate, FusedLinear) {
  using Case = FusedLinearCase;
  ASSERT_VALUE(const auto gated, make_inputs(Case{"", 0, 2, 16, true, Case::After::silu_mul, 8}, kFusedTypes[2]));
  using A = FusedLinearArgs;
  expect_refused<A>(
      gated.args,
      {{"fused_linear.ops.parts", [](A& a) { a.norm.reset(), a.silu_mul.reset(); }},
       {"fused_linear.norm.connected", [](A& a) { a.norm->out.data = moved(a.norm->out.data, 16); }},
       {"fused_linear.norm.connected", [](A& a) { a.product.x_scales.data = moved(a.product.x_scales.data, 4); }},
       {"fused_linear.silu_mul.connected", [](A& a) { a.silu_mul->gate_up.data = moved(a.silu_mul->gate_up.data, 2); }},
       {"fused_linear.out.overlap", [](A& a) { a.silu_mul->out.data = a.norm->x.data; }},
       {"rms_norm.eps.range", [](A& a) { a.norm->eps = -1; }},
       {"linear.weight.null", [](A& a) { a.product.weight.data = nullptr; }},
       {"silu_mul.out.shape", [](A& a) { a.silu_mul->out.shape[1] = 7; }}});
  ASSERT_VALUE(const auto turned,
               make_inputs(Case{"", 0, 2, 16, false, Case::After::rope_append, 0, 2, 1, 16}, kFusedTypes[0]));
  expect_refused<A>(turned.args,
                    {{"fused_linear.rope_append.connected",
                      [](A& a) { a.rope_append->qkv.data = moved(a.rope_append->qkv.data, 2); }},
                     {"rope_append.positions.shape", [](A& a) { a.rope_append->positions.shape[0] = 1; }}});
}

TEST(Validate, Sample) {
  ASSERT_VALUE(const auto inputs, make_inputs(SampleCase{"", 0, 3, 8, LogitKind::normal, 1, 0, 1, 0, 1, 2}));
  using A = SampleArgs;
  expect_refused<A>(inputs.args, {{"sample.logits.type", [](A& a) { a.logits.dtype = DType::bf16; }},
                                  {"sample.logits.size", [](A& a) { a.logits.shape[1] = std::int64_t{1} << 62; }},
                                  {"sample.logits.vocab",
                                   [](A& a) { a.logits.shape[1] = a.logits.strides[0] = std::int64_t{1} << 31; }},
                                  {"sample.row.null", [](A& a) { a.row = nullptr; }},
                                  {"sample.history.type", [](A& a) { a.history.dtype = DType::i64; }},
                                  {"sample.out.shape", [](A& a) { a.out.shape[0] = 2; }},
                                  {"sample.out.type", [](A& a) { a.out.dtype = DType::f32; }}});
}

TEST(Validate, Feed) {
  ASSERT_VALUE(const auto inputs, make_inputs(FeedCase{"", 0, 3, 9, 2, 8, 2}));
  using A = FeedArgs;
  expect_refused<A>(inputs.args, {{"feed.out.type", [](A& a) { a.out.dtype = DType::f32; }},
                                  {"feed.host.shape", [](A& a) { a.host[1].shape[0] = 23; }},
                                  {"feed.turn.shape", [](A& a) { a.turn.shape[0] = 2; }},
                                  {"feed.drawn.null", [](A& a) { a.drawn.data = nullptr; }},
                                  {"feed.words.range", [](A& a) { a.words = 14; }},
                                  {"feed.words.range", [](A& a) { a.words = 28; }},
                                  {"feed.ids.range", [](A& a) { a.ids = 13; }}});
}

TEST(Validate, Deliver) {
  ASSERT_VALUE(const auto inputs, make_inputs(DeliverCase{"", 0, 3}));
  using A = DeliverArgs;
  expect_refused<A>(inputs.args, {{"deliver.drawn.type", [](A& a) { a.drawn.dtype = DType::f32; }},
                                  {"deliver.block.null", [](A& a) { a.block.data = nullptr; }},
                                  {"deliver.out.shape", [](A& a) { a.out[1].shape[0] = 2; }}});
}

TEST(Validate, MessagesSayWhatWasExpectedAndFound) {
  ASSERT_VALUE(const auto inputs, make_inputs(SiluMulCase{"", 0, 3, 8}, DType::f32));
  SiluMulArgs args = inputs.args;
  args.out.shape[0] = 2;
  EXPECT_EQ(validate(args).error().message(),
            "silu_mul: out breaks a rule of the op\n  where:    field 'out'\n  expected: [3, 8]\n  found:    [2, 8]\n"
            "  rule:     silu_mul.out.shape");
}

}  // namespace
}  // namespace rl::ops
