// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/layer_metadata.h"

#include <cmath>
#include <string>

#include "cairn/engine/metadata_reader.h"

namespace cairn {
namespace {

constexpr std::uint32_t kMaxWindow = 1 << 30;
constexpr std::string_view kPattern = "attention.sliding_window_pattern";

// Whether each layer has the window.
Result<std::vector<bool>> windowed_layers(const GgufFile& file, const Architecture& arch, std::uint32_t layers) {
  const std::string key = std::string(arch.name) + "." + std::string(kPattern);
  const GgufValue* value = file.find(key);
  std::vector<bool> windowed(layers);
  if (value != nullptr && value->type == GgufType::kArray) {
    if (value->element != GgufType::kBool || value->count != layers) {
      return fail(ErrorCode::kCorrupt, "metadata " + in_quotes(key) +
                                           " must be a number, or true or false for each of " + std::to_string(layers) +
                                           " layers");
    }
    for (std::uint32_t l = 0; l < layers; ++l) windowed[l] = value->bytes[l] != std::byte{0};
    return windowed;
  }
  CAIRN_TRY(const std::uint32_t every, file.get_or<std::uint32_t>(key, arch.global_every));
  for (std::uint32_t l = 0; l < layers; ++l) windowed[l] = every == 0 || l % every + 1 < every;
  return windowed;
}

// By which layers with a window rotate.
Result<RopeSpec> window_rope(const GgufFile& file, const Architecture& arch, const RopeSpec& rope) {
  const std::string key = std::string(arch.name) + ".rope.freq_base_swa";
  if (arch.window_rope_base == 0 && file.find(key) == nullptr) return rope;
  RopeSpec own = rope;
  if (arch.window_rope_base != 0) {  // scaling is for layers without a window
    own = {.dims = rope.dims, .pairing = rope.pairing, .original_context = rope.original_context};
  }
  CAIRN_TRY(own.base, file.get_or<double>(key, arch.window_rope_base));
  if (!std::isfinite(own.base) || own.base <= 1.0) {
    return fail(ErrorCode::kCorrupt, "metadata " + in_quotes(key) + " must be above 1");
  }
  return own;
}

}  // namespace

Result<std::vector<LayerSpec>> read_layers(const GgufFile& file, const Architecture& arch, const LikeLayers& like) {
  std::vector<LayerSpec> layers = like_layers(like.count, like.shape, like.rope);
  const MetadataReader reader(file, arch.name);
  std::uint32_t window = arch.window;
  if (reader.has("attention.sliding_window")) {
    CAIRN_TRY(window, reader.optional_count("attention.sliding_window", kMaxWindow));
  }
  if (arch.still_every != 0) {
    for (std::uint32_t l = 0; l < like.count; ++l) {
      if (l % arch.still_every + 1 == arch.still_every) layers[l].rope = {.pairing = arch.pairing};
    }
  }
  if (window == 0) return layers;
  CAIRN_TRY(const std::vector<bool> windowed, windowed_layers(file, arch, like.count));
  CAIRN_TRY(const RopeSpec rope, window_rope(file, arch, like.rope));
  for (std::uint32_t l = 0; l < like.count; ++l) {
    if (!windowed[l]) continue;
    layers[l].window = window;
    if (layers[l].rope.dims != 0) layers[l].rope = rope;
  }
  return layers;
}

}  // namespace cairn
