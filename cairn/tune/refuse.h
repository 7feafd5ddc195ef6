// SPDX-License-Identifier: Apache-2.0
// What every part of the search says of what it was given and cannot use.
#pragma once

#include <string>
#include <utility>

#include "cairn/base/result.h"

namespace cairn {

inline std::unexpected<Error> refuse(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

}  // namespace cairn
