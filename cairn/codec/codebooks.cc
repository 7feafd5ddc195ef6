// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/codebooks.h"

namespace cairn {

const std::byte* Codebooks::table(std::uint32_t layer, Side side) const {
  return tables_[2 * std::size_t{layer} + static_cast<std::size_t>(side)].data();
}

Result<Codebooks> Codebooks::read(const std::string& path) {
  return fail(ErrorCode::kUnsupported, path + ": codebooks are not read yet");
}

}  // namespace cairn
