// SPDX-License-Identifier: Apache-2.0
// In place of the tier on Redis where a build leaves it out (CAIRN_REDIS=OFF).
#include "cairn/store/redis/redis_tier.h"

namespace cairn::redis {

Result<std::unique_ptr<Tier>> open_tier(RedisTierOptions) {
  return fail(ErrorCode::kUnsupported, "stores on Redis are not in this build; configure it with -DCAIRN_REDIS=ON");
}

}  // namespace cairn::redis
