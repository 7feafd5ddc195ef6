// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/server_facts.h"

#include <nlohmann/json.hpp>

#include "cairn/load/stream_event.h"

namespace cairn {
namespace {

using Json = nlohmann::json;

std::string where(const HttpClient& client) {
  return client.target().origin + client.target().path;
}

std::unexpected<Error> unreachable(const HttpClient& client, const HttpAnswer& answer) {
  if (answer.outcome == HttpOutcome::kStopped) return fail(ErrorCode::kCancelled, "interrupted");
  if (answer.outcome == HttpOutcome::kTooLong) return fail(ErrorCode::kIo, where(client) + ": " + answer.reason);
  return fail(ErrorCode::kIo, where(client) + ": " + answer.reason + "; is the server running?");
}

}  // namespace

Result<std::string> first_model(const HttpClient& client, std::chrono::milliseconds timeout) {
  const HttpAnswer answer = client.get("/v1/models", timeout);
  if (answer.outcome != HttpOutcome::kAnswered) return unreachable(client, answer);
  const auto wrong = [&](const std::string& what) {
    return fail(ErrorCode::kInvalidArgument, where(client) + "/v1/models: " + what);
  };
  if (answer.status == 401 || answer.status == 403) {
    return wrong("status " + std::to_string(answer.status) + "; give --api-key or --api-key-file");
  }
  if (answer.status != 200) {
    return wrong("status " + std::to_string(answer.status) + " (" + error_message(answer.body) + "); give --model");
  }
  const Json json = Json::parse(answer.body, nullptr, false);
  const Json id = json.is_object() ? json.value(Json::json_pointer("/data/0/id"), Json()) : Json();
  if (!id.is_string()) return wrong("no list of models; give --model");
  return id.get<std::string>();
}

Result<std::optional<std::size_t>> count_tokens(const HttpClient& client, const std::string& text,
                                                std::chrono::milliseconds timeout) {
  const Json body = {{"content", text}};
  const HttpAnswer answer =
      client.post("/tokenize", body.dump(-1, ' ', false, Json::error_handler_t::replace), timeout);
  if (answer.outcome != HttpOutcome::kAnswered) return unreachable(client, answer);
  if (answer.status != 200) return std::nullopt;
  const Json json = Json::parse(answer.body, nullptr, false);
  if (!json.is_object() || !json.contains("tokens") || !json.at("tokens").is_array()) return std::nullopt;
  return json.at("tokens").size();
}

}  // namespace cairn
