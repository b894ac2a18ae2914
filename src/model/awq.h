// Scales between channels before quantising. A matrix's input channel k divided by s[k] and its column k multiplied by
// it is the same product, and what follows rounds better when the columns of strong channels are large. The divisions
// are folded into what stands before: RMSNorm's weights or w3's rows, so the model computes the same without them.
// AWQ (Lin et al. 2023, arXiv 2306.00978) for 4-bit weights with LMDeploy's formula and maps for InternLM2:
// attention_norm -> wqkv, ffn_norm -> w1 and w3, w3 -> w2; SmoothQuant (Xiao et al. 2022, arXiv 2211.10438) over the
// same maps for w8a8.
#pragma once
#include <span>
#include <vector>

#include "model/model.h"

namespace puyu {

// What calibration saw of one matrix's input.
struct Seen {
  std::vector<float> mean, most;  // of |x| by channel, over all tokens
  Tensor rows;                    // act [S, K]: those of the tokens that candidates are judged by
};
struct BlockSeen {
  Seen attention_in, attention_out, ffn_in, ffn_mid;  // inputs of wqkv, wo, w1 and w3, w2
  Batch batch;                                        // the S tokens' sequences
  Tensor rope_table;
};

struct ScaleOptions {
  std::string scheme;
  double alpha = -1;  // of the scales; -1: the best of 20 by the error of the module's output
  bool clip = false;  // 4 bits: narrow each group's range where that lessens the error of its part of the output
};
struct BlockScales {
  std::vector<float> attention_in, ffn_in, ffn_mid;
  double alphas[3] = {0, 0, 0};  // -1: all scales 1 were best
};

// s[k] = x[k]^alpha / w[k]^(1 - alpha), at least 1e-4, divided by the root of its largest times its least. 4 bits: x is
// the mean of |x|, w of |weight| / the largest of its group; w8a8: both are the largest.
std::vector<float> channel_scales(const Seen& x, std::span<const Tensor> matrices, double alpha,
                                  const std::string& scheme);

// float_block: the block as it computes now (act dtype); w: the same in f32.
BlockScales search_scales(Ctx& ctx, const ModelConfig& c, const Block<Tensor>& float_block, const Block<Tensor>& w,
                          const BlockSeen& seen, const ScaleOptions& o);

// Multiplies and divides them into w. norm_dtype: in which the norms' weights will be stored; what rounding them does
// to a scale is undone in the matrices, so that the product stays what it was.
void fold_scales(Block<Tensor>& w, const BlockScales& s, DType norm_dtype);

// Clamps the groups of all matrices (but q's and k's rows, whose products are not linear) to the range whose rounding
// changes the output least.
void clip_groups(Ctx& ctx, const ModelConfig& c, Block<Tensor>& w, const BlockSeen& seen, const BlockScales& s);

}  // namespace puyu
