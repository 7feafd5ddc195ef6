// SPDX-License-Identifier: Apache-2.0
// Files of --public-prefix: each is the body of a request, so that its tokens are those that a client's request begins
// with.
#pragma once

#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/serve/api/api_request.h"

namespace cairn {

// Bodies with "messages" are chats, others completions; all their prompts count. Errors: those of read_file;
// kInvalidArgument, naming the file, for what the API would refuse and for prompts that fill no block.
Result<std::vector<std::vector<TokenId>>> read_public_prefixes(const std::vector<std::string>& paths,
                                                               const ApiModel& model);

}  // namespace cairn
