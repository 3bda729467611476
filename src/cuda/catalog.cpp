#include "cuda/catalog.h"

#include "cuda/variants.h"

namespace rl::cuda {

const ops::Catalog& catalog() {
  static constexpr quant::Layout kLayouts[] = {quant::Layout::row_major};
  static const ops::Catalog instance{.feed = feed_variants(),
                                     .embed = embed_variants(),
                                     .rms_norm = rms_norm_variants(),
                                     .linear = linear_variants(),
                                     .fused_linear = fused_linear_variants(),
                                     .rope_append = rope_append_variants(),
                                     .attention = attention_variants(),
                                     .silu_mul = silu_mul_variants(),
                                     .sample = sample_variants(),
                                     .deliver = deliver_variants(),
                                     .layouts = kLayouts};
  return instance;
}

}  // namespace rl::cuda
