#include "cuda/host/cuda_device.h"

#include "cuda/host/error.h"
#include "cuda/host/memory.h"
#include "cuda/host/virtual_memory.h"

namespace rl::cuda {

Result<std::unique_ptr<CudaStream>> CudaStream::make() {
  cudaStream_t handle = nullptr;
  RL_CUDA(cudaStreamCreateWithFlags, &handle, cudaStreamNonBlocking);
  std::unique_ptr<CudaStream> stream(new CudaStream(handle, nullptr));
  constexpr std::size_t kBytes = kSemaphores * sizeof(std::uint32_t);
  RL_CUDA(cudaMalloc, reinterpret_cast<void**>(&stream->semaphores_), kBytes);
  RL_CUDA(cudaMemsetAsync, stream->semaphores_, 0, kBytes, handle);
  return stream;
}
CudaStream::~CudaStream() {
  (void)cudaStreamDestroy(handle_);
  (void)cudaFree(semaphores_);
}

Status CudaStream::wait_for_all() { return check(cudaStreamSynchronize(handle_), "cudaStreamSynchronize"); }

Status CudaStream::copy_to_device(void* device, const void* host, Bytes bytes) {
  if (bytes.count == 0) return ok();
  return check(cudaMemcpyAsync(device, host, static_cast<std::size_t>(bytes.count), cudaMemcpyHostToDevice, handle_),
               "cudaMemcpyAsync");
}
Status CudaStream::copy_to_host(void* host, const void* device, Bytes bytes) {
  if (bytes.count == 0) return ok();
  return check(cudaMemcpyAsync(host, device, static_cast<std::size_t>(bytes.count), cudaMemcpyDeviceToHost, handle_),
               "cudaMemcpyAsync");
}

Status CudaStream::record(Event& event) {
  return check(cudaEventRecord(static_cast<CudaEvent&>(event).handle(), handle_), "cudaEventRecord");
}

// Thread-local mode: what another thread does meanwhile (loading a file through another stream) does not end the
// capture.
Status CudaStream::begin_capture() {
  return check(cudaStreamBeginCapture(handle_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
}

namespace {

struct Edges {
  std::vector<cudaGraphNode_t> from, to;
  std::vector<cudaGraphEdgeData> data;
};
Result<Edges> edges_of(cudaGraph_t graph) {
  std::size_t n = 0;
  RL_CUDA(cudaGraphGetEdges, graph, nullptr, nullptr, nullptr, &n);
  Edges edges{std::vector<cudaGraphNode_t>(n), std::vector<cudaGraphNode_t>(n), std::vector<cudaGraphEdgeData>(n)};
  if (n > 0) RL_CUDA(cudaGraphGetEdges, graph, edges.from.data(), edges.to.data(), edges.data.data(), &n);
  return edges;
}

// Every edge becomes a full one: a node begins when its predecessor has ended.
Status make_plain(cudaGraph_t graph) {
  RL_ASSIGN(const Edges edges, edges_of(graph));
  const std::size_t n = edges.from.size();
  if (n == 0) return ok();
  RL_CUDA(cudaGraphRemoveDependencies, graph, edges.from.data(), edges.to.data(), edges.data.data(), n);
  RL_CUDA(cudaGraphAddDependencies, graph, edges.from.data(), edges.to.data(), nullptr, n);
  return ok();
}

}  // namespace

Result<std::unique_ptr<CapturedStep>> CudaStream::end_capture(const CaptureOptions& options) {
  cudaGraph_t graph = nullptr;
  RL_CUDA(cudaStreamEndCapture, handle_, &graph);
  auto made = std::make_unique<CudaGraph>(graph);
  if (!options.programmatic) RL_TRY(make_plain(graph));
  RL_TRY(made->instantiate());
  // Its first launch is no dearer than any other.
  RL_CUDA(cudaGraphUpload, made->exec(), handle_);
  return std::unique_ptr<CapturedStep>(std::move(made));
}

Status CudaStream::replay(CapturedStep& step) {
  return check(cudaGraphLaunch(static_cast<CudaGraph&>(step).exec(), handle_), "cudaGraphLaunch");
}

Result<std::unique_ptr<CudaEvent>> CudaEvent::make(bool timing) {
  cudaEvent_t handle = nullptr;
  RL_CUDA(cudaEventCreateWithFlags, &handle, timing ? cudaEventDefault : cudaEventDisableTiming);
  return std::unique_ptr<CudaEvent>(new CudaEvent(handle));
}
CudaEvent::~CudaEvent() { (void)cudaEventDestroy(handle_); }
bool CudaEvent::done() const { return cudaEventQuery(handle_) != cudaErrorNotReady; }
Status CudaEvent::wait() const { return check(cudaEventSynchronize(handle_), "cudaEventSynchronize"); }

CudaGraph::~CudaGraph() {
  if (exec_ != nullptr) (void)cudaGraphExecDestroy(exec_);
  (void)cudaGraphDestroy(graph_);
}

Status CudaGraph::instantiate() { return check(cudaGraphInstantiate(&exec_, graph_, 0), "cudaGraphInstantiate"); }

Result<CudaGraph::Counts> CudaGraph::counts() const {
  std::size_t nodes = 0;
  RL_CUDA(cudaGraphGetNodes, graph_, nullptr, &nodes);
  std::vector<cudaGraphNode_t> all(nodes);
  if (nodes > 0) RL_CUDA(cudaGraphGetNodes, graph_, all.data(), &nodes);
  RL_ASSIGN(const Edges edges, edges_of(graph_));
  Counts counts{.nodes = static_cast<std::int64_t>(nodes), .edges = std::ssize(edges.data)};
  for (const cudaGraphNode_t node : all) {
    cudaGraphNodeType type{};
    RL_CUDA(cudaGraphNodeGetType, node, &type);
    counts.kernels += type == cudaGraphNodeTypeKernel;
  }
  for (const cudaGraphEdgeData& edge : edges.data)
    counts.programmatic += edge.type == cudaGraphDependencyTypeProgrammatic;
  return counts;
}

namespace {

constexpr int kOldest = 80;  // compute capability 8.0: mma.sync for bf16, cp.async

Result<CardInfo> read_card(int ordinal) {
  cudaDeviceProp properties{};
  RL_CUDA(cudaGetDeviceProperties, &properties, ordinal);
  CardInfo card{.ordinal = ordinal};
  card.device = {.name = properties.name,
                 .arch = {.family = Arch::Family::cuda, .version = 10 * properties.major + properties.minor},
                 .compute_units = properties.multiProcessorCount,
                 .memory = Bytes{static_cast<std::int64_t>(properties.totalGlobalMem)},
                 .last_cache = Bytes{properties.l2CacheSize}};
  return card;
}

class CudaDevice final : public Device {
 public:
  CudaDevice(CardInfo card, std::shared_ptr<VirtualMemory> virtual_memory)
      : card_(std::move(card)), virtual_memory_(std::move(virtual_memory)) {}
  const DeviceInfo& info() const override { return card_.device; }
  Bytes available_memory() const override {
    std::size_t free = 0, total = 0;
    return cudaMemGetInfo(&free, &total) == cudaSuccess ? Bytes{static_cast<std::int64_t>(free)} : Bytes{};
  }
  bool host_reads_memory() const override { return false; }
  VirtualMemory* virtual_memory() override { return virtual_memory_.get(); }
  Result<std::unique_ptr<PoolResource>> make_pool(Stream& stream, const PoolOptions& options) override {
    RL_ASSIGN(auto pool, StreamPool::make(card_.ordinal, handle_of(stream), options));
    return std::unique_ptr<PoolResource>(std::move(pool));
  }
  std::optional<Error> lost() const override { return first_sticky_error(); }
  MemoryResource& memory() override { return memory_; }
  MemoryResource& pinned_memory() override { return pinned_; }
  Result<std::unique_ptr<Stream>> make_stream() override {
    RL_ASSIGN(std::unique_ptr<CudaStream> stream, CudaStream::make());
    return std::unique_ptr<Stream>(std::move(stream));
  }
  Result<std::unique_ptr<Event>> make_event() override {
    RL_ASSIGN(std::unique_ptr<CudaEvent> event, CudaEvent::make(false));
    return std::unique_ptr<Event>(std::move(event));
  }
  Result<std::unique_ptr<Event>> make_timed_event() override {
    RL_ASSIGN(std::unique_ptr<CudaEvent> event, CudaEvent::make(true));
    return std::unique_ptr<Event>(std::move(event));
  }
  Result<Seconds> elapsed(const Event& first, const Event& last) const override {
    float milliseconds = 0;
    RL_CUDA(cudaEventElapsedTime, &milliseconds, static_cast<const CudaEvent&>(first).handle(),
            static_cast<const CudaEvent&>(last).handle());
    return Seconds{static_cast<double>(milliseconds) / 1e3};
  }
  bool can_capture() const override { return true; }
  bool is_queue() const override { return true; }
  // The card's scheduler runs streams of several threads side by side: a share is the whole card.
  Result<std::unique_ptr<Device>> make_share(int, int) override {
    return std::unique_ptr<Device>(std::make_unique<CudaDevice>(card_, virtual_memory_));
  }

 private:
  CardInfo card_;
  std::shared_ptr<VirtualMemory> virtual_memory_;  // null: the driver has none
  DeviceMemory memory_;
  PinnedMemory pinned_;
};

}  // namespace

Result<std::vector<CardInfo>> list_cards() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaErrorInsufficientDriver || code == cudaErrorNoDevice || (code == cudaSuccess && count == 0)) {
    (void)cudaGetLastError();
    int driver = 0;
    (void)cudaDriverGetVersion(&driver);
    if (driver == 0)
      return Error{.kind = ErrorKind::unsupported,
                   .what = "no NVIDIA driver on this machine",
                   .rule = "cuda.no_driver",
                   .hint = "install NVIDIA's driver, 580 or newer"};
    if (code == cudaErrorInsufficientDriver)
      return Error{.kind = ErrorKind::unsupported,
                   .what = "the NVIDIA driver is too old for this program",
                   .rule = "cuda.old_driver",
                   .expected = fmt::format("CUDA {}.{}", CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10),
                   .found = fmt::format("CUDA {}.{}", driver / 1000, driver % 1000 / 10),
                   .hint = "install NVIDIA's driver, 580 or newer"};
    return Error{.kind = ErrorKind::unsupported, .what = "no NVIDIA GPU that the driver shows", .rule = "cuda.no_card"};
  }
  RL_TRY(check(code, "cudaGetDeviceCount"));
  std::vector<CardInfo> cards;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    RL_ASSIGN(CardInfo card, read_card(ordinal));
    cards.push_back(std::move(card));
  }
  return cards;
}

Result<std::unique_ptr<Device>> make_device(int ordinal) {
  RL_ASSIGN(const std::vector<CardInfo> cards, list_cards());
  if (ordinal < 0 || ordinal >= std::ssize(cards))
    return Error{.kind = ErrorKind::usage,
                 .what = "no GPU with this number",
                 .field = "--device",
                 .expected = fmt::format("cuda:0 to cuda:{}", cards.size() - 1),
                 .found = fmt::format("cuda:{}", ordinal)};
  const CardInfo& card = cards[static_cast<std::size_t>(ordinal)];
  if (card.device.arch.version < kOldest)
    return Error{.kind = ErrorKind::unsupported,
                 .what = card.device.name + " is too old for the kernels of this program",
                 .rule = "cuda.old_card",
                 .expected = "compute capability 8.0 or newer",
                 .found = fmt::format("{}.{}", card.device.arch.version / 10, card.device.arch.version % 10)};
  RL_CUDA(cudaSetDevice, ordinal);
  std::shared_ptr<VirtualMemory> virtual_memory;
  if (auto made = make_virtual_memory(ordinal)) virtual_memory = std::move(*made);
  return std::unique_ptr<Device>(std::make_unique<CudaDevice>(card, std::move(virtual_memory)));
}

}  // namespace rl::cuda
