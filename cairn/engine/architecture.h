// SPDX-License-Identifier: Apache-2.0
// The architectures that this build runs: what each of them adds to Llama, and which of its metadata is understood.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "cairn/base/result.h"
#include "cairn/block/rope.h"
#include "cairn/engine/model_config.h"
#include "cairn/gguf/gguf.h"

namespace cairn {

// Whether the feed-forward is a mixture of experts.
enum class Mixture : std::uint8_t { kNever, kIfTheFileSaysSo, kAlways };

// A constant. What a file says of itself comes before what is said here.
struct Architecture {
  std::string_view name;  // as in general.architecture, and in front of its metadata keys
  RopePairing pairing = RopePairing::kHalves;
  bool qkv_bias = false;  // biases on q, k and v; an architecture without them may still have a file with them
  bool output_bias = false, sinks = false, late_ffn_norm = false;  // as ModelConfig says
  QkNorm qk_norm = QkNorm::kNone;
  bool latent = false;      // attention on latents: LatentSpec
  bool fused = false;       // q, k and v are one tensor, and so are gate and up
  bool post_norms = false;  // RMS norms of what attention and feed-forward give, before it is added
  Activation activation = Activation::kSilu;
  bool scales_embeddings = false;       // by the square root of the width
  std::uint32_t window = 0;             // in tokens, where the file names none
  std::uint32_t global_every = 0;       // n: every n-th layer sees everything; 0: all have the window
  double window_rope_base = 0;          // of layers with a window, whose rotation is not scaled; 0: as the others'
  std::uint32_t wide_scale_layers = 0;  // a model with this many layers scales scores by width / heads
  float attention_cap = 0, logit_cap = 0;
  std::uint32_t still_every = 0;  // n: every n-th layer does not rotate; 0: all do
  Mixture mixture = Mixture::kNever;
  bool norms_expert_weights = false;  // the weights of those that were chosen sum to 1
  bool softmax_of_chosen = false;     // and always do: the router's softmax is over those alone
  bool expert_biases = false;         // ExpertSpec::biases
  bool shares_ffn = false;  // a file without expert_feed_forward_length: the experts of a token share the whole width
  bool shared_expert = false;              // one more that every token goes through, behind a gate of its own
  std::array<std::string_view, 9> keys{};  // understood here besides those of every architecture
};

// Errors: kNotFound (general.architecture is missing), kUnsupported (another one: the message lists these).
Result<const Architecture*> read_architecture(const GgufFile& file);

// Metadata of the architecture that nobody reads might change what its layers compute. Keys that are known to change
// nothing pass, and so do values that switch something off: 0, false, an empty text or array.
// Errors: kUnsupported, naming the key.
Status check_metadata_keys(const GgufFile& file, const Architecture& arch);

}  // namespace cairn
