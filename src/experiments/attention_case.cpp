#include "experiments/attention_case.h"

#include "base/checked.h"
#include "num/convert.h"
#include "num/random.h"

namespace rl::experiments {
namespace {

// Tokens of the output that are checked: the edges of the first tiles, the middle, the end, of each sequence.
std::vector<std::int64_t> edge_tokens(const AttentionShape& shape) {
  std::vector<std::int64_t> tokens;
  for (std::int64_t s : {std::int64_t{0}, shape.batch - 1})
    for (std::int64_t t :
         {std::int64_t{0}, std::int64_t{1}, std::int64_t{63}, std::int64_t{64}, shape.seq / 2, shape.seq - 1})
      if (t < shape.seq) tokens.push_back(s * shape.seq + t);
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  return tokens;
}

std::vector<num::bf16> normal_bf16(std::int64_t n, std::uint64_t seed, std::uint64_t stream) {
  std::vector<num::bf16> values(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; i += 4) {
    const auto four = num::normal4(seed, stream, static_cast<std::uint64_t>(i / 4));
    for (std::int64_t j = 0; j < std::min<std::int64_t>(4, n - i); ++j)
      values[static_cast<std::size_t>(i + j)] = num::from_float<num::bf16>(four[static_cast<std::size_t>(j)]);
  }
  return values;
}

template <class T>
Result<Buffer> upload(lab::Context& context, Stream& stream, const std::vector<T>& values) {
  const Bytes bytes{static_cast<std::int64_t>(values.size() * sizeof(T))};
  RL_ASSIGN(Buffer buffer, Buffer::make(context.memory, bytes));
  RL_TRY(stream.copy_to_device(buffer.data(), values.data(), bytes));
  return buffer;
}

}  // namespace

Result<AttentionCase> AttentionCase::make(lab::Context& context, const AttentionShape& shape) {
  RL_ASSIGN(const std::unique_ptr<Stream> stream, context.backend.device->make_stream());
  const std::int64_t tokens = shape.batch * shape.seq;
  const std::int64_t pages = ceil_div(shape.seq, ops::kPageTokens);
  const std::int64_t q_elements = tokens * shape.heads * shape.head_dim;
  const std::int64_t kv_elements = shape.batch * pages * ops::kPageTokens * shape.heads * shape.head_dim;

  AttentionCase made;
  RL_ASSIGN(Buffer q, upload(context, *stream, normal_bf16(q_elements, context.seed, 0)));
  RL_ASSIGN(Buffer k, upload(context, *stream, normal_bf16(kv_elements, context.seed, 1)));
  RL_ASSIGN(Buffer v, upload(context, *stream, normal_bf16(kv_elements, context.seed, 2)));
  RL_ASSIGN(Buffer out, Buffer::make(context.memory, {q_elements * 2}));
  made.bytes_ = q.size() + k.size() + v.size() + out.size();

  std::vector<std::int32_t> page_table, kv_len, cu_q{0};
  for (std::int64_t s = 0; s < shape.batch; ++s) {
    for (std::int64_t p = 0; p < pages; ++p) page_table.push_back(static_cast<std::int32_t>(s * pages + p));
    kv_len.push_back(static_cast<std::int32_t>(shape.seq));
    cu_q.push_back(static_cast<std::int32_t>((s + 1) * shape.seq));
  }
  RL_ASSIGN(Buffer table, upload(context, *stream, page_table));
  RL_ASSIGN(Buffer lengths, upload(context, *stream, kv_len));
  RL_ASSIGN(Buffer offsets, upload(context, *stream, cu_q));

  made.args_ = {
      .q = tensor(q.data(), DType::bf16, {tokens, shape.heads, shape.head_dim}),
      .kv = {.k = tensor(k.data(), DType::bf16, {shape.batch * pages, shape.heads, ops::kPageTokens, shape.head_dim}),
             .v = tensor(v.data(), DType::bf16, {shape.batch * pages, shape.heads, ops::kPageTokens, shape.head_dim})},
      .index = {.page_table = tensor(table.data(), DType::i32, {shape.batch, pages}),
                .kv_len = tensor(lengths.data(), DType::i32, {shape.batch}),
                .cu_q = tensor(offsets.data(), DType::i32, {shape.batch + 1})},
      .causal = shape.causal,
      .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(shape.head_dim))),
      .max_kv = shape.seq,
      .max_q = shape.seq,
      .out = tensor(out.data(), DType::bf16, {tokens, shape.heads, shape.head_dim})};
  made.tokens_to_check_ = edge_tokens(shape);
  RL_TRY(ops::validate(made.args_));
  for (Buffer* buffer : {&q, &k, &v, &out, &table, &lengths, &offsets}) made.buffers_.push_back(std::move(*buffer));
  return made;
}

Result<AttentionRun> AttentionRun::make(lab::Context& context, const AttentionCase& inputs, std::string_view suffix) {
  const ops::Variant<ops::AttentionArgs>* chosen = nullptr;
  for (const auto& variant : context.backend.catalog.attention)
    if (chosen == nullptr && std::string_view(variant.name).ends_with(suffix)) chosen = &variant;
  if (chosen == nullptr)
    return Error{.kind = ErrorKind::unsupported,
                 .what = fmt::format("the {} backend has no attention variant {}", context.backend.name, suffix)};
  RL_TRY(chosen->supports(inputs.args(), context.backend.device->info().arch));

  AttentionRun run;
  run.variant_ = chosen;
  run.inputs_ = &inputs;
  RL_ASSIGN(run.stream_, context.backend.device->make_stream());
  const Bytes before = context.memory.live();
  const Bytes needed = chosen->workspace(inputs.args());
  if (needed.count > 0) {
    RL_ASSIGN(run.workspace_, Buffer::make(context.memory, needed));
  }
  run.workspace_bytes_ = context.memory.live() - before;
  return run;
}

Status AttentionRun::check(lab::Context& context) {
  const TensorRef& out = inputs_->args().out;
  const std::vector<std::uint16_t> nan(static_cast<std::size_t>(out.elements()), 0x7fc0);
  RL_TRY(stream_->copy_to_device(out.data, nan.data(), {out.elements() * 2}));
  RL_TRY(run());
  const ops::Comparison comparison = context.oracle.check_attention(inputs_->args(), inputs_->tokens_to_check());
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
