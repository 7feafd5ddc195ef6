// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/table.h"

#include <algorithm>
#include <string>
#include <vector>

namespace cairn {

std::span<const Codec> codec_table() {
  static const std::vector<Codec> table = {kRawF16, kRawBF16, kRawF32};
  return table;
}

Result<const Codec*> find_codec(std::string_view name) {
  const auto table = codec_table();
  const auto found = std::ranges::find(table, name, &Codec::name);
  if (found != table.end()) return &*found;
  std::string known;
  for (const Codec& codec : table) known += (known.empty() ? "" : ", ") + std::string(codec.name);
  return fail(ErrorCode::kUnsupported, "unknown codec '" + std::string(name) + "'; choose one of: " + known);
}

}  // namespace cairn
