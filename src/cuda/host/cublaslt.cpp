#include "cuda/host/cublaslt.h"

#include <map>
#include <mutex>
#include <tuple>

#include <cublasLt.h>
#include <dlfcn.h>

namespace rl::cuda {
namespace {

struct Library {
  Status there = ok();
  cublasLtHandle_t handle = nullptr;
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&cublasLtMatmulDescInit_internal) desc_init = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatrixLayoutInit_internal) layout_init = nullptr;
  decltype(&cublasLtMatmulPreferenceInit_internal) preference_init = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;

  Library() {
    void* const file = dlopen("libcublasLt.so.13", RTLD_NOW | RTLD_LOCAL);
    if (file == nullptr) {
      const char* const why = dlerror();
      there = Error{.kind = ErrorKind::unsupported,
                    .what = "cuBLASLt is not installed",
                    .rule = "cuda.cublaslt",
                    .expected = "libcublasLt.so.13",
                    .found = why ? why : "",
                    .hint = "install cuBLAS of CUDA 13, or leave the products to this program's own kernels"};
      return;
    }
    bool all = true;
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(file, name));
      all = all && function != nullptr;
    };
    find(create, "cublasLtCreate");
    find(matmul, "cublasLtMatmul");
    find(heuristic, "cublasLtMatmulAlgoGetHeuristic");
    find(desc_init, "cublasLtMatmulDescInit_internal");
    find(desc_set, "cublasLtMatmulDescSetAttribute");
    find(layout_init, "cublasLtMatrixLayoutInit_internal");
    find(preference_init, "cublasLtMatmulPreferenceInit_internal");
    find(preference_set, "cublasLtMatmulPreferenceSetAttribute");
    if (!all || create(&handle) != CUBLAS_STATUS_SUCCESS)
      there = Error{.kind = ErrorKind::unsupported, .what = "cuBLASLt does not start", .rule = "cuda.cublaslt"};
  }
};

Library& library() {
  static Library instance;
  return instance;
}

cudaDataType_t type_of(DType type) {
  switch (type) {
    case DType::bf16:
      return CUDA_R_16BF;
    case DType::f16:
      return CUDA_R_16F;
    case DType::f8_e4m3:
      return CUDA_R_8F_E4M3;
    case DType::i8:
      return CUDA_R_8I;
    case DType::i32:
      return CUDA_R_32I;
    default:
      return CUDA_R_32F;
  }
}

Status checked(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return ok();
  return Error{.kind = status == CUBLAS_STATUS_NOT_SUPPORTED ? ErrorKind::unsupported : ErrorKind::device,
               .what = fmt::format("{} failed", call),
               .found = fmt::format("cuBLAS status {}", static_cast<int>(status)),
               .native_code = static_cast<int>(status)};
}

// The library's description of a product. It counts columns first: its A is our w, its B our x, its D our out.
struct Description {
  cublasLtMatmulDescOpaque_t product{};
  cublasLtMatrixLayoutOpaque_t w{}, x{}, out{};
};

// All but the addresses of scales.
Status describe(Library& lt, const Gemm& g, Description& d) {
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    return checked(lt.desc_set(&d.product, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
  };
  const bool integers = g.type == DType::i8;
  RL_TRY(checked(lt.desc_init(&d.product, sizeof d.product, integers ? CUBLAS_COMPUTE_32I : CUBLAS_COMPUTE_32F,
                              integers ? CUDA_R_32I : CUDA_R_32F),
                 "cublasLtMatmulDescInit"));
  RL_TRY(set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T));
  if (g.x_scale != nullptr) {
    const std::int32_t mode = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
    RL_TRY(set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, mode));
    RL_TRY(set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, mode));
  }
  const auto layout = [&](cublasLtMatrixLayoutOpaque_t& l, DType type, std::int64_t rows, std::int64_t cols,
                          std::int64_t stride) {
    return checked(lt.layout_init(&l, sizeof l, type_of(type), static_cast<std::uint64_t>(rows),
                                  static_cast<std::uint64_t>(cols), stride),
                   "cublasLtMatrixLayoutInit");
  };
  RL_TRY(layout(d.w, g.type, g.cols, g.rows, g.w_stride));
  RL_TRY(layout(d.x, g.type, g.cols, g.tokens, g.x_stride));
  return layout(d.out, g.out_type, g.rows, g.tokens, g.out_stride);
}

Status point_to_scales(Library& lt, const Gemm& g, Description& d) {
  if (g.x_scale == nullptr) return ok();
  RL_TRY(checked(lt.desc_set(&d.product, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &g.w_scale, sizeof g.w_scale),
                 "cublasLtMatmulDescSetAttribute"));
  return checked(lt.desc_set(&d.product, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &g.x_scale, sizeof g.x_scale),
                 "cublasLtMatmulDescSetAttribute");
}

// A product as the library knows it. `there`: whether it has an algorithm.
struct Known {
  Description description;
  std::vector<cublasLtMatmulAlgo_t> proposals;
  Status there = ok();
};

Status ask(Library& lt, const Gemm& g, Known& known) {
  Description& d = known.description;
  RL_TRY(describe(lt, g, d));
  RL_TRY(point_to_scales(lt, g, d));
  cublasLtMatmulPreferenceOpaque_t preference{};
  RL_TRY(checked(lt.preference_init(&preference, sizeof preference), "cublasLtMatmulPreferenceInit"));
  const auto bytes = static_cast<std::size_t>(kGemmWorkspace.count);
  RL_TRY(checked(lt.preference_set(&preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes),
                 "cublasLtMatmulPreferenceSetAttribute"));
  cublasLtMatmulHeuristicResult_t results[kGemmProposals] = {};
  int found = 0;
  RL_TRY(checked(
      lt.heuristic(lt.handle, &d.product, &d.w, &d.x, &d.out, &d.out, &preference, kGemmProposals, results, &found),
      "cublasLtMatmulAlgoGetHeuristic"));
  for (int i = 0; i < found; ++i)
    if (results[i].state == CUBLAS_STATUS_SUCCESS) known.proposals.push_back(results[i].algo);
  if (!known.proposals.empty()) return ok();
  return Error{
      .kind = ErrorKind::unsupported,
      .what = "cuBLASLt has no algorithm for this product",
      .found = fmt::format("{} x {} x {}, {} -> {}", g.tokens, g.rows, g.cols, name_of(g.type), name_of(g.out_type))};
}

// What the description and the choice of an algorithm depend on.
using Key = std::tuple<DType, DType, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                       bool, bool>;

const Known& known_of(Library& lt, const Gemm& g) {
  static std::mutex mutex;
  static std::map<Key, Known> all;  // entries stay where they are
  const Key key{g.type,     g.out_type, g.tokens,     g.rows,       g.cols,
                g.x_stride, g.w_stride, g.out_stride, g.accumulate, g.x_scale != nullptr};
  const std::lock_guard lock(mutex);
  const auto [entry, is_new] = all.try_emplace(key);
  if (is_new) entry->second.there = ask(lt, g, entry->second);
  return entry->second;
}

}  // namespace

Status cublaslt_there() { return library().there; }

Status can_multiply(const Gemm& g, int proposal) {
  Library& lt = library();
  RL_TRY(lt.there);
  const Known& known = known_of(lt, g);
  RL_TRY(known.there);
  if (proposal < std::ssize(known.proposals)) return ok();
  return Error{.kind = ErrorKind::unsupported, .what = "cuBLASLt proposes fewer algorithms for this product"};
}

Status multiply(const Gemm& g, void* workspace, cudaStream_t stream, int proposal) {
  RL_TRY(can_multiply(g, proposal));
  Library& lt = library();
  const Known& known = known_of(lt, g);
  Description d = known.description;
  RL_TRY(point_to_scales(lt, g, d));
  const float alpha = 1, beta = g.accumulate ? 1.0f : 0.0f;
  const std::int32_t alpha_integer = 1, beta_integer = g.accumulate ? 1 : 0;
  const bool integers = g.type == DType::i8;
  return checked(lt.matmul(lt.handle, &d.product, integers ? static_cast<const void*>(&alpha_integer) : &alpha, g.w,
                           &d.w, g.x, &d.x, integers ? static_cast<const void*>(&beta_integer) : &beta, g.out, &d.out,
                           g.out, &d.out, &known.proposals[static_cast<std::size_t>(proposal)], workspace,
                           static_cast<std::size_t>(kGemmWorkspace.count), stream),
                 "cublasLtMatmul");
}

}  // namespace rl::cuda
