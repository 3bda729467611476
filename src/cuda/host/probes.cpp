#include "cuda/host/probes.h"

#include "cuda/host/cublaslt.h"
#include "cuda/host/cuda_device.h"
#include "cuda/host/error.h"
#include "cuda/kernels/probe/probe.h"
#include "tensor/buffer.h"

namespace rl::cuda {
namespace {

class CudaProbeRun : public ProbeRun {
 public:
  explicit CudaProbeRun(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}
  Status run() override {
    RL_TRY(enqueue(handle_of(*stream_)));
    return stream_->synchronize();
  }
  virtual Status enqueue(cudaStream_t stream) = 0;

 protected:
  std::unique_ptr<Stream> stream_;
};

// Far more than the card's cache, so that nothing is read from it.
Bytes large(const DeviceInfo& info) {
  return {std::min<std::int64_t>(info.memory.count / 8, std::int64_t{8} << 30) / 4096 * 4096};
}

Result<Buffer> random_buffer(Device& device, Stream& stream, Bytes bytes) {
  RL_ASSIGN(Buffer buffer, Buffer::make(device.memory(), bytes));
  RL_TRY(check(fill_random(buffer.data(), bytes.count, 1, handle_of(stream)), "fill_random"));
  return buffer;
}

class ReadRun final : public CudaProbeRun {
 public:
  ReadRun(std::unique_ptr<Stream> stream, Buffer data, Buffer sink)
      : CudaProbeRun(std::move(stream)), data_(std::move(data)), sink_(std::move(sink)) {}
  double amount() const override { return static_cast<double>(data_.size().count); }
  Status enqueue(cudaStream_t stream) override {
    return check(read_all(data_.data(), data_.size().count, sink_.as<std::uint32_t>(), stream), "read_all");
  }

 private:
  Buffer data_, sink_;
};

Result<std::unique_ptr<ProbeRun>> prepare_read(Device& device) {
  RL_ASSIGN(auto stream, device.make_stream());
  RL_ASSIGN(Buffer data, random_buffer(device, *stream, large(device.info())));
  RL_ASSIGN(Buffer sink, Buffer::make(device.memory(), {4}));
  return std::unique_ptr<ProbeRun>(std::make_unique<ReadRun>(std::move(stream), std::move(data), std::move(sink)));
}

class CopyRun final : public CudaProbeRun {
 public:
  CopyRun(std::unique_ptr<Stream> stream, Buffer from, Buffer to)
      : CudaProbeRun(std::move(stream)), from_(std::move(from)), to_(std::move(to)) {}
  double amount() const override { return 2 * static_cast<double>(from_.size().count); }
  Status enqueue(cudaStream_t stream) override {
    return check(cudaMemcpyAsync(to_.data(), from_.data(), static_cast<std::size_t>(from_.size().count),
                                 cudaMemcpyDeviceToDevice, stream),
                 "cudaMemcpyAsync");
  }

 private:
  Buffer from_, to_;
};

Result<std::unique_ptr<ProbeRun>> prepare_copy(Device& device) {
  RL_ASSIGN(auto stream, device.make_stream());
  const Bytes bytes{large(device.info()).count / 4};
  RL_ASSIGN(Buffer from, random_buffer(device, *stream, bytes));
  RL_ASSIGN(Buffer to, Buffer::make(device.memory(), bytes));
  return std::unique_ptr<ProbeRun>(std::make_unique<CopyRun>(std::move(stream), std::move(from), std::move(to)));
}

class UploadRun final : public CudaProbeRun {
 public:
  UploadRun(std::unique_ptr<Stream> stream, Buffer from, Buffer to)
      : CudaProbeRun(std::move(stream)), from_(std::move(from)), to_(std::move(to)) {}
  double amount() const override { return static_cast<double>(from_.size().count); }
  Status enqueue(cudaStream_t stream) override {
    return check(cudaMemcpyAsync(to_.data(), from_.data(), static_cast<std::size_t>(from_.size().count),
                                 cudaMemcpyHostToDevice, stream),
                 "cudaMemcpyAsync");
  }

 private:
  Buffer from_, to_;
};

Result<std::unique_ptr<ProbeRun>> prepare_upload(Device& device) {
  constexpr Bytes kBytes{256 << 20};
  RL_ASSIGN(auto stream, device.make_stream());
  RL_ASSIGN(Buffer from, Buffer::make(device.pinned_memory(), kBytes));
  RL_ASSIGN(Buffer to, random_buffer(device, *stream, kBytes));
  RL_TRY(stream->copy_to_host(from.data(), to.data(), kBytes));
  RL_TRY(stream->synchronize());
  return std::unique_ptr<ProbeRun>(std::make_unique<UploadRun>(std::move(stream), std::move(from), std::move(to)));
}

class LaunchRun final : public CudaProbeRun {
 public:
  using CudaProbeRun::CudaProbeRun;
  double amount() const override { return kLaunches; }
  Status enqueue(cudaStream_t stream) override {
    for (int i = 0; i < kLaunches; ++i) RL_TRY(check(empty(stream), "empty"));
    return ok();
  }
  static constexpr int kLaunches = 1000;
};

Result<std::unique_ptr<ProbeRun>> prepare_launches(Device& device) {
  RL_ASSIGN(auto stream, device.make_stream());
  return std::unique_ptr<ProbeRun>(std::make_unique<LaunchRun>(std::move(stream)));
}

class ProductRun final : public CudaProbeRun {
 public:
  ProductRun(std::unique_ptr<Stream> stream, Gemm gemm, std::vector<Buffer> buffers, void* workspace)
      : CudaProbeRun(std::move(stream)), gemm_(gemm), buffers_(std::move(buffers)), workspace_(workspace) {}
  double amount() const override { return 2.0 * kSide * kSide * kSide; }
  Status enqueue(cudaStream_t stream) override { return multiply(gemm_, workspace_, stream); }
  static constexpr std::int64_t kSide = 8192;

 private:
  Gemm gemm_;
  std::vector<Buffer> buffers_;
  void* workspace_;
};

template <DType kType>
Result<std::unique_ptr<ProbeRun>> prepare_product(Device& device) {
  RL_TRY(cublaslt_there());
  if (kType == DType::f8_e4m3 && device.info().arch.version < 89)
    return Error{.kind = ErrorKind::unsupported, .what = "products of e4m3 need compute capability 8.9"};
  constexpr std::int64_t kSide = ProductRun::kSide;
  RL_ASSIGN(auto stream, device.make_stream());
  std::vector<Buffer> buffers;
  RL_ASSIGN(Buffer x, random_buffer(device, *stream, {kSide * kSide * size_of(kType)}));
  RL_ASSIGN(Buffer w, random_buffer(device, *stream, {kSide * kSide * size_of(kType)}));
  RL_ASSIGN(Buffer out, Buffer::make(device.memory(), {kSide * kSide * 2}));
  RL_ASSIGN(Buffer workspace, Buffer::make(device.memory(), kGemmWorkspace));
  const Gemm gemm{.x = x.data(),
                  .w = w.data(),
                  .out = out.data(),
                  .type = kType,
                  .out_type = kType == DType::f16 ? DType::f16 : DType::bf16,
                  .tokens = kSide,
                  .rows = kSide,
                  .cols = kSide,
                  .x_stride = kSide,
                  .w_stride = kSide,
                  .out_stride = kSide};
  void* const scratch = workspace.data();
  for (Buffer* buffer : {&x, &w, &out, &workspace}) buffers.push_back(std::move(*buffer));
  return std::unique_ptr<ProbeRun>(std::make_unique<ProductRun>(std::move(stream), gemm, std::move(buffers), scratch));
}

constexpr Probe kProbes[] = {
    {.name = "read_bandwidth",
     .unit = "B/s",
     .method = "one kernel reads 8 GiB (an eighth of the memory at most) once, 16 bytes a load, 8 loads under way per "
               "thread",
     .prepare = prepare_read},
    {.name = "copy_bandwidth",
     .unit = "B/s",
     .method = "one copy within the card's memory of 2 GiB (a 32nd of the memory at most); bytes read and written",
     .prepare = prepare_copy},
    {.name = "pinned_copy",
     .unit = "B/s",
     .method = "one copy of 256 MiB of random bytes from pinned host memory to the card",
     .prepare = prepare_upload},
    {.name = "launch_rate",
     .unit = "launch/s",
     .method = "1,000 empty kernels launched one after the other, until the last has ended",
     .prepare = prepare_launches},
    {.name = "matrix_rate_bf16",
     .unit = "FLOP/s",
     .method = "one product of 8192 x 8192 x 8192 random numbers by cuBLASLt; a multiply-add counts as two operations",
     .prepare = prepare_product<DType::bf16>},
    {.name = "matrix_rate_f16",
     .unit = "FLOP/s",
     .method = "as matrix_rate_bf16",
     .prepare = prepare_product<DType::f16>},
    {.name = "matrix_rate_fp8",
     .unit = "FLOP/s",
     .method = "as matrix_rate_bf16 with e4m3 inputs, no scales, and bf16 output",
     .prepare = prepare_product<DType::f8_e4m3>},
};

}  // namespace

std::span<const Probe> probes() { return kProbes; }

}  // namespace rl::cuda
