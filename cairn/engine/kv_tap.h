// SPDX-License-Identifier: Apache-2.0
// A place to change keys and values on their way into the cache. Who only watches is a SignalListener.
#pragma once

#include <cstdint>
#include <string>

namespace cairn {

// Called for every new token at every layer, after rotation and before the codec. Threads call at once for different
// tokens; the result may depend on the arguments alone, so that the same tokens give the same cache.
class KvTap {
 public:
  virtual ~KvTap() = default;

  // k and v are [kv_heads, head_dim].
  virtual void change(std::uint32_t layer, std::int32_t position, float* k, float* v) const = 0;

  // One text for one behaviour: it becomes part of the recipe, so that changed blocks never meet unchanged ones.
  virtual std::string name() const = 0;
};

}  // namespace cairn
