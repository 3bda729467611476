#include "experiments/attention_case.h"

#include "base/checked.h"
#include "model/synthetic.h"

namespace rl::experiments {
namespace {

// Keys that the oracle looks at for one check, a head: it computes them in double on the processor.
constexpr std::int64_t kMostKeys = 1 << 18;

// Tokens of the output that are checked, of the first and the last sequence: the end, the edges of the first tiles, the
// middle; of long sequences the first of these, so that the oracle has an end too.
std::vector<std::int64_t> edge_tokens(const AttentionShape& shape) {
  std::vector<std::int64_t> tokens;
  std::int64_t keys = 0;
  for (std::int64_t t :
       {shape.seq - 1, std::int64_t{64}, std::int64_t{0}, std::int64_t{63}, std::int64_t{1}, shape.seq / 2})
    for (std::int64_t s : {std::int64_t{0}, shape.batch - 1}) {
      if (t >= shape.seq) continue;
      keys += shape.causal ? t + 1 : shape.seq;
      if (keys > kMostKeys && !tokens.empty()) continue;
      tokens.push_back(s * shape.seq + t);
    }
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  return tokens;
}

std::vector<std::uint16_t> normal_bf16(std::int64_t n, std::uint64_t seed, std::uint64_t stream) {
  std::vector<std::uint16_t> values(static_cast<std::size_t>(n));
  model::generate_bf16(seed, stream, 0, n, 1, 0, values.data());
  return values;
}

// Numbers on the device, and a copy the host keeps.
struct Both {
  Buffer there, here;
};

template <class T>
Result<Both> upload(lab::Context& context, Stream& stream, const std::vector<T>& values) {
  const Bytes bytes{static_cast<std::int64_t>(values.size() * sizeof(T))};
  Both both;
  RL_ASSIGN(both.there, Buffer::make(context.memory, bytes));
  RL_ASSIGN(both.here, Buffer::make(host_memory(), bytes));
  std::memcpy(both.here.data(), values.data(), values.size() * sizeof(T));
  RL_TRY(stream.copy_to_device(both.there.data(), both.here.data(), bytes));
  return both;
}

}  // namespace

Result<AttentionCase> AttentionCase::make(lab::Context& context, const AttentionShape& shape) {
  RL_ASSIGN(const std::unique_ptr<Stream> stream, context.backend.device->make_stream());
  const std::int64_t tokens = shape.batch * shape.seq;
  const std::int64_t pages = ceil_div(shape.seq, ops::kPageTokens);
  // q, k, v and out in 16 bits, on the device and here; counts of tokens are 32-bit.
  const auto kv = checked_product(std::array{shape.batch, pages, ops::kPageTokens, shape.heads, shape.head_dim});
  const Bytes free = context.backend.device->available_memory();
  if (!kv || *kv > free.count / (context.on_gpu() ? 8 : 16) || tokens > std::numeric_limits<std::int32_t>::max())
    return Error{.kind = ErrorKind::out_of_memory,
                 .what = fmt::format("more than the {} that are free", format_binary_bytes(free))};
  const std::int64_t q_elements = tokens * shape.heads * shape.head_dim, kv_elements = *kv;

  AttentionCase made;
  RL_ASSIGN(Both q, upload(context, *stream, normal_bf16(q_elements, context.seed, 0)));
  RL_ASSIGN(Both k, upload(context, *stream, normal_bf16(kv_elements, context.seed, 1)));
  RL_ASSIGN(Both v, upload(context, *stream, normal_bf16(kv_elements, context.seed, 2)));
  Both out;
  RL_ASSIGN(out.there, Buffer::make(context.memory, {q_elements * 2}));
  RL_ASSIGN(out.here, Buffer::make(host_memory(), {q_elements * 2}));
  made.bytes_ = q.there.size() + k.there.size() + v.there.size() + out.there.size();

  std::vector<std::int32_t> page_table, kv_len, cu_q{0};
  for (std::int64_t s = 0; s < shape.batch; ++s) {
    for (std::int64_t p = 0; p < pages; ++p) page_table.push_back(static_cast<std::int32_t>(s * pages + p));
    kv_len.push_back(static_cast<std::int32_t>(shape.seq));
    cu_q.push_back(static_cast<std::int32_t>((s + 1) * shape.seq));
  }
  RL_ASSIGN(Both table, upload(context, *stream, page_table));
  RL_ASSIGN(Both lengths, upload(context, *stream, kv_len));
  RL_ASSIGN(Both offsets, upload(context, *stream, cu_q));
  RL_TRY(stream->synchronize());

  const auto args_over = [&](Buffer Both::*side) -> ops::AttentionArgs {
    return {.q = tensor((q.*side).data(), DType::bf16, {tokens, shape.heads, shape.head_dim}),
            .kv = {.k = tensor((k.*side).data(), DType::bf16,
                               {shape.batch * pages, shape.heads, ops::kPageTokens, shape.head_dim}),
                   .v = tensor((v.*side).data(), DType::bf16,
                               {shape.batch * pages, shape.heads, ops::kPageTokens, shape.head_dim})},
            .index = {.page_table = tensor((table.*side).data(), DType::i32, {shape.batch, pages}),
                      .kv_len = tensor((lengths.*side).data(), DType::i32, {shape.batch}),
                      .cu_q = tensor((offsets.*side).data(), DType::i32, {shape.batch + 1})},
            .causal = shape.causal,
            .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(shape.head_dim))),
            .max_kv = shape.seq,
            .max_q = shape.seq,
            .out = tensor((out.*side).data(), DType::bf16, {tokens, shape.heads, shape.head_dim})};
  };
  made.args_ = args_over(&Both::there);
  made.host_args_ = args_over(&Both::here);
  made.shape_ = shape;
  made.set_causal(shape.causal);
  RL_TRY(ops::validate(made.args_));
  for (Both* both : {&q, &k, &v, &out, &table, &lengths, &offsets}) {
    made.buffers_.push_back(std::move(both->there));
    made.host_buffers_.push_back(std::move(both->here));
  }
  return made;
}

bool AttentionCase::has_numbers_of(const AttentionShape& shape) const {
  return shape.batch == shape_.batch && shape.heads == shape_.heads && shape.head_dim == shape_.head_dim &&
         shape.seq == shape_.seq;
}

void AttentionCase::set_causal(bool causal) {
  shape_.causal = args_.causal = host_args_.causal = causal;
  tokens_to_check_ = edge_tokens(shape_);
}

Result<AttentionRun> AttentionRun::make(lab::Context& context, const AttentionCase& inputs, std::string_view kind) {
  const ops::Variant<ops::AttentionArgs>* chosen = nullptr;
  Status supported =
      Error{.kind = ErrorKind::unsupported,
            .what = fmt::format("the {} backend has no attention variant {}", context.backend.name, kind)};
  for (const auto& variant : context.backend.catalog.attention) {
    const std::string_view name = variant.name, own = name.substr(name.find('.') + 1);
    if (chosen != nullptr || own.substr(0, own.find('_')) != kind) continue;
    supported = variant.supports(inputs.args(), context.backend.device->info().arch);
    if (supported) chosen = &variant;
  }
  RL_TRY(std::move(supported));

  AttentionRun run;
  run.variant_ = chosen;
  run.inputs_ = &inputs;
  RL_ASSIGN(run.stream_, context.backend.device->make_stream());
  const Bytes before = context.memory.live();
  const Bytes needed = chosen->workspace(inputs.args()), free = context.backend.device->available_memory();
  if (needed.count > 0) {
    auto workspace = Buffer::make(context.memory, needed);
    if (!workspace && workspace.error().kind == ErrorKind::out_of_memory)
      return Error{.kind = ErrorKind::out_of_memory,
                   .what = fmt::format("does not fit: needs {}, free {}", format_binary_bytes(needed),
                                       format_binary_bytes(free)),
                   .rule = "attention.memory"};
    if (!workspace) return std::move(workspace).error();
    run.workspace_ = std::move(*workspace);
  }
  run.workspace_bytes_ = context.memory.live() - before;
  return run;
}

Status AttentionRun::check(lab::Context& context) {
  const TensorRef& out = inputs_->args().out;
  const std::vector<std::uint16_t> nan(static_cast<std::size_t>(out.elements()), 0x7fc0);
  RL_TRY(stream_->copy_to_device(out.data, nan.data(), {out.elements() * 2}));
  RL_TRY(run());
  const ops::AttentionArgs& here = inputs_->host_args();
  RL_TRY(stream_->copy_to_host(here.out.data, out.data, {out.elements() * 2}));
  RL_TRY(stream_->synchronize());
  const ops::Comparison comparison = context.oracle.check_attention(here, inputs_->tokens_to_check());
  checked_ = fmt::format("{}: {} tokens against the oracle, relative error {:.1e}", variant_->name,
                         inputs_->tokens_to_check().size(), comparison.relative_error);
  if (comparison.passed) return ok();
  return Error{.kind = ErrorKind::internal,
               .what = fmt::format("{} disagrees with the oracle", variant_->name),
               .found = comparison.message()};
}

Status AttentionRun::run() {
  RL_TRY(variant_->launch(inputs_->args(), workspace_.data(), *stream_));
  return stream_->synchronize();
}

}  // namespace rl::experiments
