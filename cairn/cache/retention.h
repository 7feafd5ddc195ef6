// SPDX-License-Identifier: Apache-2.0
// A sequence keeps what its token policy says, at the end of its prompt and now and then while it grows.
#pragma once

#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/cache/sequence_state.h"

namespace cairn::cache {

// The prompt ends here: from now on queries may read less, and a policy that keeps less does so at once. Nothing
// happens without a policy, or when the prompt ended before. kOutOfBudget when there is no room for the survivors of a
// layer beside its old pages; layers before it are packed then, and the others keep all.
Status end_prompt(SequenceState& state, ThreadPool& pool);

// After new tokens: keeps less again, if it is time.
Status retain_if_due(SequenceState& state, ThreadPool& pool);

}  // namespace cairn::cache
