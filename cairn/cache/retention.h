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

// After new tokens: keeps less again, if it is time. Where a retention of decoded tokens finds no room for survivors
// all stay, which its report counts, and the next block border tries again. Any other failure, and one within a prompt,
// whose later chunks count on the room, is owed.
void retain_if_due(SequenceState& state, ThreadPool& pool);

// Before new tokens: what is owed. Errors: those of the retention, which stays owed.
Status retain_if_owed(SequenceState& state, ThreadPool& pool);

}  // namespace cairn::cache
