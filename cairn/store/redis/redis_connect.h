// SPDX-License-Identifier: Apache-2.0
// Opens connections to Redis servers, logged in and ready.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "cairn/base/clock.h"
#include "cairn/base/result.h"
#include "cairn/store/redis/redis_link.h"
#include "cairn/store/redis/redis_url.h"

namespace cairn {

// Errors are one line with the address and never show a password: kIo when the server cannot be reached or does not
// answer in time, kInvalidArgument when it refuses the login. Resolving a host's name is up to the system's resolver
// and its own time limits: give an address where that matters.
Result<std::unique_ptr<RedisLink>> redis_connect(const RedisAddress& address, const RedisLogin& login,
                                                 std::chrono::milliseconds silence, Deadline deadline);

// The first word of an error ("WRONGPASS"): the rest may repeat what was sent, a password too. Printable, short.
std::string redis_error_word(std::string_view error);

}  // namespace cairn
