// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/serve/public_prefix_files.h"

#include "cairn/base/file.h"
#include "cairn/block/shape.h"

namespace cairn {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{16} << 20;

ApiResult<ApiRequest> parse(std::string_view body, const ApiModel& model) {
  CAIRN_TRY(const Json json, parse_object(body));
  // What follows the prefix may be a user's turn as well.
  return json.contains("messages") ? parse_chat_request(body, model, /*answered=*/false)
                                   : parse_completion_request(body, model);
}

}  // namespace

Result<std::vector<std::vector<TokenId>>> read_public_prefixes(const std::vector<std::string>& paths,
                                                               const ApiModel& model) {
  std::vector<std::vector<TokenId>> prefixes;
  for (const std::string& path : paths) {
    CAIRN_TRY(const std::vector<std::byte> bytes, read_file(path, kMaxBytes));
    ApiResult<ApiRequest> request = parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, model);
    if (!request) return fail(ErrorCode::kInvalidArgument, path + ": " + request.error().message);
    for (std::vector<TokenId>& prompt : request->prompts) {
      if (prompt.size() < kBlockTokens) {
        return fail(ErrorCode::kInvalidArgument, path + ": a prefix of " + std::to_string(prompt.size()) +
                                                     " tokens cannot be held: blocks have " +
                                                     std::to_string(kBlockTokens));
      }
      prefixes.push_back(std::move(prompt));
    }
  }
  return prefixes;
}

}  // namespace cairn
