// SPDX-License-Identifier: Apache-2.0
// The bound that no policy passes: Belady's MIN, which drops what is needed again last.
//
// Belady, "A study of replacement algorithms for a virtual-storage computer" (1966), with bypass: a block that would
// itself be needed last is not kept at all. Blocks have one size, so this is the most hits there can be; leaves are not
// preferred and nothing is pinned, hence it bounds policies that are. It bounds hits; prefix hits, which it does not
// aim at, may come out lower.
#pragma once

#include "cairn/trace/replay.h"

namespace cairn {

// Errors: kCancelled.
Result<ReplayCounts> replay_clairvoyant(const Trace& trace, const ReplayOptions& options);

}  // namespace cairn
