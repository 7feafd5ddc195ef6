// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as the body of a request: read into requests to the backend that are within all bounds, or refused
// with a status below 500 and in valid JSON.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cairn/base/check.h"
#include "cairn/serve/api/request.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

const api::Model& model() {
  static const std::unique_ptr<Engine> engine = [] {
    EngineOptions options;
    options.threads = 1;
    options.kv_budget_bytes = std::size_t{16} << 20;
    return *load_tiny(TinyModel().builder().build(), options);
  }();
  static const api::Model model{
      .tokenizer = &engine->tokenizer(), .chat_template = ChatFamily::kChatML, .name = "tiny"};
  return model;
}

void check(api::ApiResult<api::CompletionRequest> request) {
  if (!request) {
    CAIRN_CHECK(request.error().status >= 400 && request.error().status < 500);
    CAIRN_CHECK(!api::Json::parse(api::error_body(request.error()), nullptr, false).is_discarded());
    return;
  }
  const auto each = api::generate_requests(*request, "id", "tenant", 1);
  CAIRN_CHECK(!each.empty() && each.size() <= api::kMaxPrompts);
  for (const GenerateRequest& one : each) {
    CAIRN_CHECK(Sampler::make(one.sampler).has_value());
    CAIRN_CHECK(one.tenant == "tenant" && one.stop.size() <= api::kMaxStops);
    for (const TokenId id : one.prompt)
      CAIRN_CHECK(id >= 0 && static_cast<std::size_t>(id) < model().tokenizer->size());
  }
}

}  // namespace
}  // namespace cairn

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  cairn::check(cairn::api::parse_chat_request(text, cairn::model()));
  cairn::check(cairn::api::parse_completion_request(text, cairn::model()));
  return 0;
}
