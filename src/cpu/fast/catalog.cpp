// The one list of CPU variants: for each op those of cpu/fast, best first, then those of cpu/ref.

#include <vector>

#include "cpu/fast/cpu_device.h"
#include "cpu/fast/variants.h"
#include "cpu/ref/ref.h"

namespace rl::cpu {
namespace {

template <class Args>
using List = std::vector<ops::Variant<Args>>;

template <class Args>
List<Args> join(std::span<const ops::Variant<Args>> fast, std::span<const ops::Variant<Args>> ref) {
  List<Args> all(fast.begin(), fast.end());
  all.insert(all.end(), ref.begin(), ref.end());
  return all;
}

// Every weight layout the variants read, the one the fast kernels read first.
constexpr quant::Layout kLayouts[] = {quant::Layout::panel64, quant::Layout::row_major};

struct Lists {
  const ops::Catalog& ref = ref::catalog();
  List<ops::FeedArgs> feed = join(feed_variants(), ref.feed);
  List<ops::EmbedArgs> embed = join(embed_variants(), ref.embed);
  List<ops::RmsNormArgs> rms_norm = join(rms_norm_variants(), ref.rms_norm);
  List<ops::LinearArgs> linear = join<ops::LinearArgs>(join(linear_variants(), emulated_linear_variants()), ref.linear);
  List<ops::RopeAppendArgs> rope_append = join(rope_append_variants(), ref.rope_append);
  List<ops::AttentionArgs> attention = join(attention_variants(), ref.attention);
  List<ops::SiluMulArgs> silu_mul = join(silu_mul_variants(), ref.silu_mul);
  List<ops::SampleArgs> sample = join(sample_variants(), ref.sample);
  List<ops::DeliverArgs> deliver = join(deliver_variants(), ref.deliver);
  ops::Catalog catalog{.feed = feed,
                       .embed = embed,
                       .rms_norm = rms_norm,
                       .linear = linear,
                       .rope_append = rope_append,
                       .attention = attention,
                       .silu_mul = silu_mul,
                       .sample = sample,
                       .deliver = deliver,
                       .layouts = kLayouts};
};

}  // namespace

const ops::Catalog& catalog() {
  static const Lists lists;
  return lists.catalog;
}

}  // namespace rl::cpu
