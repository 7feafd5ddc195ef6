// SPDX-License-Identifier: Apache-2.0
// "cairn": {"policy": ...} in the body of a request.
#include <gtest/gtest.h>

#include "cairn/serve/api/request.h"
#include "cairn/testing/fake_backend.h"

namespace cairn::api {
namespace {

TEST(ApiRequestPolicyTest, APolicyIsTheRequestsOwn) {
  const FakeBackend backend;
  const std::string allowed[] = {"quest", "full"};
  const Model model{.tokenizer = &backend.tokenizer(),
                    .chat_template = ChatFamily::kPlain,
                    .name = "tiny",
                    .policies = *RequestPolicies::parse(allowed)};
  for (const bool in_chat : {true, false}) {
    const auto ask = [&](const std::string& policy) {
      const std::string more = R"(,"n":2,"cairn":{"policy":)" + policy + "}";
      return in_chat ? parse_chat_request(R"({"messages":[{"role":"user","content":"t3"}])" + more + "}", model)
                     : parse_completion_request(R"({"prompt":"t3")" + more + "}", model);
    };
    for (const char* none : {"\"full\"", "\"none\""}) {
      EXPECT_TRUE(ask(none)->each.own_policy);
      EXPECT_FALSE(ask(none)->each.policy);
    }
    EXPECT_FALSE(ask("null")->each.own_policy);
    CompletionRequest request = *ask(R"("quest+keep=0.125")");
    for (const GenerateRequest& one : generate_requests(request, "id", "", 0)) {
      ASSERT_TRUE(one.policy);
      EXPECT_EQ(one.policy->text, "quest+keep=0.125");
    }
    for (const std::string& bad : {std::string("keydiff"), std::string("no-such"), std::string("quest+keydiff"),
                                   std::string("quest+keep=2"), std::string(201, 'x'), std::string()}) {
      const auto refused = ask('"' + bad + '"');
      ASSERT_FALSE(refused) << bad;
      EXPECT_EQ(refused.error().status, 400);
      EXPECT_EQ(refused.error().param, "cairn.policy");
      EXPECT_LT(refused.error().message.size(), 500u) << refused.error().message;
    }
  }
  EXPECT_FALSE(parse_public_prefix(R"({"prompt":"t3","cairn":{"policy":"quest"}})", "file", model));
}

}  // namespace
}  // namespace cairn::api
