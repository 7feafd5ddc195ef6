// SPDX-License-Identifier: Apache-2.0
#include "cairn/block/block_key.h"

#include <algorithm>
#include <bit>
#include <string_view>
#include <utility>

#include "cairn/base/check.h"

namespace cairn {

namespace {

std::string quoted(const std::string& text) {
  return "\"" + text + "\"";
}

std::string list_text(const std::vector<Digest>& digests) {
  if (digests.empty()) return "none";
  std::string text;
  for (const Digest& digest : digests) text += (text.empty() ? "" : "+") + digest.hex();
  return text;
}

// The fields as a person reads them.
std::vector<std::pair<std::string_view, std::string>> readable_fields(const Recipe& recipe) {
  return {{"weights", recipe.weights.hex()},
          {"adapters", list_text(recipe.adapters)},
          {"rope", quoted(recipe.rope)},
          {"tokenizer", recipe.tokenizer.hex()},
          {"layers", std::to_string(recipe.layers)},
          {"kv_heads", std::to_string(recipe.shape.kv_heads)},
          {"head_dim", std::to_string(recipe.shape.head_dim)},
          {"unlike_layers", quoted(recipe.unlike_layers)},
          {"codec_plan", quoted(recipe.codec_plan)},
          {"retention", quoted(recipe.retention)},
          {"arithmetic", quoted(recipe.arithmetic)}};
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "token ids are hashed as they lie in memory");

Digest recipe_fingerprint(const Recipe& recipe) {
  Hasher hasher("cairn.recipe.fingerprint.v1");
  hasher.u32(kBlockTokens).digest(recipe.weights).u64(recipe.adapters.size());
  for (const Digest& adapter : recipe.adapters) hasher.digest(adapter);
  hasher.text(recipe.rope).digest(recipe.tokenizer).u32(recipe.layers);
  hasher.u32(recipe.shape.kv_heads).u32(recipe.shape.head_dim);
  hasher.text(recipe.codec_plan).text(recipe.retention).text(recipe.arithmetic);
  if (!recipe.unlike_layers.empty()) hasher.text(recipe.unlike_layers);
  return hasher.finish();
}

std::string recipe_text(const Recipe& recipe) {
  std::string text;
  for (const auto& [name, value] : readable_fields(recipe)) {
    if (name == "unlike_layers" && recipe.unlike_layers.empty()) continue;
    text += std::string(name) + ": " + value + "\n";
  }
  return text;
}

std::string explain_difference(std::string_view here, std::string_view there) {
  const auto fields = [](std::string_view text) {
    std::vector<std::pair<std::string_view, std::string_view>> found;
    while (!text.empty()) {
      const std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
      const std::size_t colon = line.find(": ");
      if (colon != std::string_view::npos) found.emplace_back(line.substr(0, colon), line.substr(colon + 2));
    }
    return found;
  };
  const auto ours = fields(here), theirs = fields(there);
  const auto value = [](const auto& of, std::string_view name) -> std::string {
    const auto found = std::ranges::find(of, name, [](const auto& field) { return field.first; });
    return std::string(found == of.end() ? "none" : found->second);
  };
  for (const auto* const side : {&ours, &theirs}) {
    for (const auto& [name, _] : *side) {
      const std::string a = value(ours, name), b = value(theirs, name);
      if (a != b) return std::string(name) + ": " + a + " here, " + b + " there";
    }
  }
  return {};
}

Digest chain_root(const Digest& recipe_fingerprint, std::string_view tenant) {
  return Hasher("cairn.recipe.v1").digest(recipe_fingerprint).text(tenant).finish();
}

Digest block_key(const Digest& parent, std::span<const TokenId> tokens) {
  CAIRN_CHECK(tokens.size() == kBlockTokens);
  return Hasher("cairn.block.v1").digest(parent).u64(tokens.size()).bytes(std::as_bytes(tokens)).finish();
}

std::vector<Digest> block_keys(const Digest& root, std::span<const TokenId> tokens, std::span<const Digest> known) {
  const std::size_t blocks = tokens.size() / kBlockTokens;
  std::vector<Digest> keys(known.begin(), known.begin() + static_cast<std::ptrdiff_t>(std::min(blocks, known.size())));
  keys.reserve(blocks);
  while (keys.size() < blocks) {
    const std::size_t first = keys.size() * kBlockTokens;
    keys.push_back(block_key(keys.empty() ? root : keys.back(), tokens.subspan(first, kBlockTokens)));
  }
  return keys;
}

}  // namespace cairn
