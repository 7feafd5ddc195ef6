// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/tier.h"

namespace cairn {

std::string_view block_status_name(BlockStatus status) {
  switch (status) {
    case BlockStatus::kOk: return "ok";
    case BlockStatus::kMiss: return "miss";
    case BlockStatus::kExpired: return "expired";
    case BlockStatus::kCorrupt: return "corrupt";
    case BlockStatus::kFull: return "full";
    case BlockStatus::kTimeout: return "timeout";
    case BlockStatus::kBroken: return "broken";
    case BlockStatus::kReadOnly: return "read only";
  }
  return "unknown";
}

std::string foreign_text(const TierStats& stats) {
  if (stats.foreign == 0) return {};
  return std::to_string(stats.foreign) + (stats.foreign == 1 ? " block has " : " blocks have ") +
         format_version_text(stats.foreign_version);
}

std::string_view read_only_text(ReadOnly why) {
  switch (why) {
    case ReadOnly::kNo: break;
    case ReadOnly::kAsked: return "reading only";
    case ReadOnly::kNotPermitted: return "reading only: the folder may not be written";
    case ReadOnly::kInUse: return "reading only: another process writes this store";
  }
  return "";
}

}  // namespace cairn
