// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/request.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <utility>

#include "cairn/testing/fake_backend.h"

namespace cairn::api {
namespace {

class ApiRequestTest : public testing::Test {
 protected:
  ApiResult<CompletionRequest> chat(const std::string& more) const {
    return parse_chat_request(R"({"messages":[{"role":"user","content":"t3"}])" + more + "}", model_);
  }
  ApiResult<CompletionRequest> completion(const std::string& more) const {
    return parse_completion_request(R"({"prompt":"t3")" + more + "}", model_);
  }

  static FakeBackend& backend() {
    static FakeBackend backend;
    return backend;
  }
  Model model_{.tokenizer = &backend().tokenizer(), .chat_template = ChatFamily::kPlain, .name = "tiny"};
};

struct Bad {
  const char* field;  // as `param` names it
  const char* json;   // behind a valid beginning
};

constexpr Bad kBadInBoth[] = {
    {"model", R"("model":7)"},
    {"temperature", R"("temperature":"hot")"},
    {"temperature", R"("temperature":-1)"},
    {"temperature", R"("temperature":1e999)"},
    {"top_p", R"("top_p":0)"},
    {"top_p", R"("top_p":1.5)"},
    {"top_k", R"("top_k":1.5)"},
    {"top_k", R"("top_k":99999999999)"},
    {"min_p", R"("min_p":true)"},
    {"repetition_penalty", R"("repetition_penalty":0)"},
    {"repeat_penalty", R"("repeat_penalty":-1)"},
    {"seed", R"("seed":"x")"},
    {"seed", R"("seed":1.5)"},
    {"stop", R"("stop":7)"},
    {"stop", R"("stop":["a",7])"},
    {"stop", R"("stop":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"])"},
    {"stream", R"("stream":"yes")"},
    {"stream_options", R"("stream_options":{"include_usage":true})"},
    {"stream_options", R"("stream":true,"stream_options":7)"},
    {"stream_options.include_usage", R"("stream":true,"stream_options":{"include_usage":1})"},
    {"n", R"("n":0)"},
    {"n", R"("n":17)"},
    {"n", R"("n":"2")"},
    {"max_tokens", R"("max_tokens":0)"},
    {"max_tokens", R"("max_tokens":18446744073709551615)"},
    {"max_tokens", R"("max_tokens":1.5)"},
    {"max_completion_tokens", R"("max_completion_tokens":-1)"},
    {"frequency_penalty", R"("frequency_penalty":0.5)"},
    {"presence_penalty", R"("presence_penalty":-0.5)"},
    {"presence_penalty", R"("presence_penalty":"none")"},
    {"logit_bias", R"("logit_bias":{"5":1})"},
    {"best_of", R"("best_of":2)"},
    {"suffix", R"("suffix":"end")"},
    {"tools", R"("tools":[{"type":"function"}])"},
    {"tool_choice", R"("tool_choice":"auto")"},
    {"functions", R"("functions":[{}])"},
    {"function_call", R"("function_call":"auto")"},
    {"response_format", R"("response_format":{"type":"json_object"})"},
    {"response_format", R"("response_format":"text")"},
    {"grammar", R"("grammar":"root ::= x")"},
    {"json_schema", R"("json_schema":{"type":"object"})"},
    {"guided_json", R"("guided_json":{"a":1})"},
    {"modalities", R"("modalities":["text","audio"])"},
    {"audio", R"("audio":{"voice":"x"})"},
    {"mirostat", R"("mirostat":2)"},
    {"samplers", R"("samplers":["top_k"])"},
    {"samplers", R"("samplers":"kp")"},
    {"n_predict", R"("n_predict":3)"},
    {"ignore_eos", R"("ignore_eos":1)"},
    {"cairn", R"("cairn":"quest")"},
    {"cairn.polcy", R"("cairn":{"polcy":"quest"})"},
    {"cairn.policy", R"("cairn":{"policy":["quest"]})"},
    {"cairn.policy", R"("cairn":{"policy":"quest"})"},  // nothing is allowed
};

TEST_F(ApiRequestTest, WhatIsWrongIsNamed) {
  for (const Bad& bad : kBadInBoth) {
    for (const bool in_chat : {true, false}) {
      const auto request = in_chat ? chat(std::string(",") + bad.json) : completion(std::string(",") + bad.json);
      ASSERT_FALSE(request.has_value()) << bad.json;
      if (std::string_view(bad.json).find("1e999") != std::string_view::npos) continue;  // no JSON number
      EXPECT_EQ(request.error().param, bad.field) << bad.json << ": " << request.error().message;
      EXPECT_EQ(request.error().status, 400) << bad.json;
      EXPECT_NE(request.error().message.find(bad.field), std::string::npos);
    }
  }
}

TEST_F(ApiRequestTest, WhatIsWrongInAChatIsNamed) {
  const Bad cases[] = {
      {"messages", R"({})"},
      {"messages", R"({"messages":[]})"},
      {"messages", R"({"messages":"hi"})"},
      {"messages[0]", R"({"messages":["hi"]})"},
      {"messages[0].role", R"({"messages":[{"content":"hi"}]})"},
      {"messages[0].role", R"({"messages":[{"role":"tool","content":"hi"}]})"},
      {"messages[0].role", R"({"messages":[{"role":7,"content":"hi"}]})"},
      {"messages[1].content", R"({"messages":[{"role":"user","content":"a"},{"role":"user"}]})"},
      {"messages[0].content", R"({"messages":[{"role":"user","content":7}]})"},
      {"messages[0].content[0]", R"({"messages":[{"role":"user","content":[7]}]})"},
      {"messages[0].content[0].type", R"({"messages":[{"role":"user","content":[{"text":"x"}]}]})"},
      {"messages[0].content[1].type",
       R"({"messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"x"}}]}]})"},
      {"messages[0].content[0].text", R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})"},
      {"messages[0].tool_calls", R"({"messages":[{"role":"assistant","content":"","tool_calls":[{}]}]})"},
      {"top_logprobs", R"({"messages":[{"role":"user","content":"a"}],"top_logprobs":3})"},
      {"top_logprobs", R"({"messages":[{"role":"user","content":"a"}],"logprobs":true,"top_logprobs":21})"},
      {"logprobs", R"({"messages":[{"role":"user","content":"a"}],"logprobs":3})"},
      {"echo", R"({"messages":[{"role":"user","content":"a"}],"echo":true})"},
      {"chat_template_kwargs", R"({"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":[1]})"},
      {"chat_template_kwargs", R"({"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":"x"})"},
      {"chat_template_kwargs", R"({"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":{"messages":1}})"},
      {"continue_final_message", R"({"messages":[{"role":"user","content":"a"}],"continue_final_message":true})"},
      {"add_generation_prompt", R"({"messages":[{"role":"user","content":"a"}],"add_generation_prompt":false})"},
  };
  for (const Bad& bad : cases) {
    const auto request = parse_chat_request(bad.json, model_);
    ASSERT_FALSE(request.has_value()) << bad.json;
    EXPECT_EQ(request.error().param, bad.field) << bad.json << ": " << request.error().message;
  }
}

TEST_F(ApiRequestTest, WhatIsWrongInACompletionIsNamed) {
  const Bad cases[] = {
      {"prompt", R"({})"},
      {"prompt", R"({"prompt":7})"},
      {"prompt", R"({"prompt":[]})"},
      {"prompt", R"({"prompt":[1,"a"]})"},
      {"prompt", R"({"prompt":[-1]})"},
      {"prompt", R"({"prompt":[40]})"},
      {"prompt", R"({"prompt":[18446744073709551615]})"},
      {"prompt[1]", R"({"prompt":["a",{}]})"},
      {"prompt[0]", R"({"prompt":[[]]})"},
      {"prompt[0]", R"({"prompt":[[1.5]]})"},
      {"logprobs", R"({"prompt":"a","logprobs":true})"},
      {"echo", R"({"prompt":"a","logprobs":1,"echo":true})"},
      {"n", R"({"prompt":["a","b","c","d","e"],"n":16})"},
  };
  for (const Bad& bad : cases) {
    const auto request = parse_completion_request(bad.json, model_);
    ASSERT_FALSE(request.has_value()) << bad.json;
    EXPECT_EQ(request.error().param, bad.field) << bad.json << ": " << request.error().message;
  }
}

TEST_F(ApiRequestTest, TextsThatAreNoObjectAreRefused) {
  for (const char* text : {"", "{", "[]", "7", "\"x\"", "null", "{\"a\":}", "{\"a\":1}x", "\xff\xfe"}) {
    const auto request = parse_chat_request(text, model_);
    ASSERT_FALSE(request.has_value()) << text;
    EXPECT_EQ(request.error().code, "invalid_json") << text;
  }
}

TEST_F(ApiRequestTest, BombsAreRefusedBeforeTheyAreBuilt) {
  const std::size_t deep = std::size_t{4} << 20;
  for (const std::string& text :
       {std::string(deep, '['), R"({"a":)" + std::string(deep, '[') + std::string(deep, ']') + "}",
        [&] {
          std::string t;
          for (std::size_t i = 0; i < deep / 8; ++i) t += R"({"a":)";
          return t;
        }(),
        R"({"a":[)" +
            [&] {
              std::string t;
              for (std::size_t i = 0; i < deep / 3; ++i) t += "[],";
              return t;
            }() +
            "0]}"}) {
    const auto request = parse_chat_request(text, model_);
    ASSERT_FALSE(request.has_value());
    EXPECT_EQ(request.error().code, "invalid_json");
  }
  // Brackets inside a string are text.
  EXPECT_TRUE(completion(R"(,"user":"\")" + std::string(1000, '[') + "\"").has_value());
}

TEST_F(ApiRequestTest, HarmlessAndUnknownFieldsAreAccepted) {
  const auto request = chat(
      R"(,"model":"tiny","frequency_penalty":0,"presence_penalty":0.0,"logit_bias":{},"best_of":1,"suffix":"","tools":[],)"
      R"("tool_choice":"none","response_format":{"type":"text"},"modalities":["text"],"user":"u","metadata":{"a":"b"},)"
      R"("temperature":null,"some_new_field":{"x":[1,2]},"store":true,"stop":null,"top_k":-1,)"
      R"("samplers":[],"echo":false,"continue_final_message":false,"add_generation_prompt":true,"n_predict":null)");
  ASSERT_TRUE(request.has_value()) << request.error().message;
  EXPECT_EQ(request->each.sampler.temperature, 1.0F);
  EXPECT_EQ(request->each.sampler.top_k, 0);
}

TEST_F(ApiRequestTest, OnlyTheServedModelIsServed) {
  for (const char* name : {"tiny", "", "default"})
    EXPECT_TRUE(chat(R"(,"model":")" + std::string(name) + '"').has_value());
  const auto request = chat(R"(,"model":"gpt-4")");
  ASSERT_FALSE(request.has_value());
  EXPECT_EQ(request.error().status, 404);
  EXPECT_EQ(request.error().code, "model_not_found");
}

TEST_F(ApiRequestTest, FieldsArriveWhereTheyBelong) {
  const auto request = chat(
      R"(,"temperature":0.5,"top_p":0.9,"top_k":7,"min_p":0.1,"repetition_penalty":1.2,"seed":-1,"stop":["a","","b"],)"
      R"("max_completion_tokens":9,"stream":true,"stream_options":{"include_usage":true},"logprobs":true,"top_logprobs":4,"n":3)");
  ASSERT_TRUE(request.has_value()) << request.error().message;
  EXPECT_TRUE(request->chat && request->each.chat && request->stream && request->include_usage && request->seeded);
  EXPECT_EQ(request->each.sampler.temperature, 0.5F);
  EXPECT_EQ(request->each.sampler.top_p, 0.9F);
  EXPECT_EQ(request->each.sampler.top_k, 7);
  EXPECT_EQ(request->each.sampler.min_p, 0.1F);
  EXPECT_EQ(request->each.sampler.repetition_penalty, 1.2F);
  EXPECT_EQ(request->each.sampler.seed, UINT64_MAX);
  EXPECT_EQ(request->each.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(request->each.max_tokens, 9u);
  EXPECT_EQ(request->each.logprobs, 4u);
  EXPECT_EQ(request->choices, 3u);
}

TEST_F(ApiRequestTest, PartsOfAMessageAreOneText) {
  const auto parts = parse_chat_request(
      R"({"messages":[{"role":"user","content":[{"type":"text","text":"t3"},{"type":"text","text":"t4"}]}]})", model_);
  const auto whole = parse_chat_request(R"({"messages":[{"role":"user","content":"t3t4"}]})", model_);
  ASSERT_TRUE(parts.has_value() && whole.has_value());
  EXPECT_EQ(parts->prompts, whole->prompts);
}

TEST_F(ApiRequestTest, PromptsComeInFourForms) {
  const std::vector<TokenId> text = backend().tokenizer().encode("t3");
  const auto prompts = [&](const std::string& json) {
    auto request = parse_completion_request(R"({"prompt":)" + json + "}", model_);
    EXPECT_TRUE(request.has_value()) << json;
    return request->prompts;
  };
  EXPECT_EQ(prompts(R"("t3")"), (std::vector<std::vector<TokenId>>{text}));
  EXPECT_EQ(prompts(R"(["t3","t3"])"), (std::vector<std::vector<TokenId>>{text, text}));
  EXPECT_EQ(prompts("[3,4]"), (std::vector<std::vector<TokenId>>{{3, 4}}));
  EXPECT_EQ(prompts("[[3],[4,5]]"), (std::vector<std::vector<TokenId>>{{3}, {4, 5}}));
}

TEST_F(ApiRequestTest, ChoicesHaveSeedsOfTheirOwn) {
  auto request = parse_completion_request(R"({"prompt":[[3],[4]],"n":2,"seed":10})", model_);
  ASSERT_TRUE(request.has_value());
  const std::vector<GenerateRequest> each = generate_requests(*request, "cmpl-x", "alice", 99);
  ASSERT_EQ(each.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(each[i].id, "cmpl-x-" + std::to_string(i));
    EXPECT_EQ(each[i].tenant, "alice");
    EXPECT_EQ(each[i].prompt, (std::vector<TokenId>{i < 2 ? 3 : 4}));
    EXPECT_EQ(each[i].sampler.seed, 10 + i % 2);
  }
  auto unseeded = parse_completion_request(R"({"prompt":[3]})", model_);
  EXPECT_EQ(generate_requests(*unseeded, "x", "", 99)[0].sampler.seed, 99u);
  EXPECT_EQ(unseeded->each.max_tokens, 16u);  // as OpenAI's
}

TEST_F(ApiRequestTest, PublicPrefixesAreWhatRequestsBeginWith) {
  std::string words = "t3";
  for (int i = 0; i < 100; ++i) words += " t" + std::to_string(4 + i % 20);
  const auto chat =
      parse_public_prefix(R"({"messages":[{"role":"system","content":")" + words + R"("}]})", "a", model_);
  ASSERT_TRUE(chat) << chat.error().message;
  ASSERT_EQ(chat->size(), 1u);
  const auto asked = parse_chat_request(
      R"({"messages":[{"role":"system","content":")" + words + R"("},{"role":"user","content":"t5"}]})", model_);
  ASSERT_TRUE(asked);
  ASSERT_GT(asked->prompts[0].size(), chat->front().size());
  EXPECT_TRUE(std::ranges::equal(chat->front(), std::span(asked->prompts[0]).first(chat->front().size())));
  const auto texts = parse_public_prefix(R"({"prompt":[")" + words + R"(",")" + words + R"( t9"]})", "a", model_);
  ASSERT_TRUE(texts);
  ASSERT_EQ(texts->size(), 2u);
  EXPECT_EQ((*texts)[0], model_.tokenizer->encode(words, {.add_bos = true, .parse_special = true}));
}

TEST_F(ApiRequestTest, ABeginTokenThatIsThereTwiceIsOneAndANote) {
  const auto ids = model_.tokenizer->encode("t3");
  const auto twice = parse_completion_request(R"({"prompt":["t3","<s>t3"]})", model_);
  ASSERT_TRUE(twice);
  EXPECT_EQ(twice->prompts, (std::vector{ids, ids}));
  EXPECT_TRUE(twice->doubled_bos);
  for (const char* body : {R"({"prompt":"t3"})", R"({"prompt":"<s>t3","add_special_tokens":false})",
                           R"({"prompt":"<s>t3","parse_special":false})"}) {
    EXPECT_FALSE(parse_completion_request(body, model_)->doubled_bos) << body;
  }
  // The words of a message are words.
  EXPECT_GT(parse_chat_request(R"({"messages":[{"role":"user","content":"<s>t3"}]})", model_)->prompts[0].size(),
            ids.size());
}

TEST_F(ApiRequestTest, TheTemplateGetsItsKeywordsAndMayRefuse) {
  model_.chat_template = *ChatTemplate::jinja(
      "{% if refuse %}{{ raise_exception('Not ' ~ refuse) }}{% endif %}{{ words | join(' ') }} {{ messages[0].content "
      "}}");
  const auto with = chat(R"(,"chat_template_kwargs":{"words":["t5","t4"]})");
  ASSERT_TRUE(with) << with.error().message;
  EXPECT_EQ(with->prompts[0], model_.tokenizer->encode("t5 t4 t3"));
  EXPECT_EQ(chat(R"(,"chat_template_kwargs":null)")->prompts[0], model_.tokenizer->encode(" t3"));
  const auto refused = chat(R"(,"chat_template_kwargs":{"refuse":"today"})");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 400);
  EXPECT_EQ(refused.error().message,
            "'chat_template_kwargs' is at fault, since the chat can be written without it: the chat template refuses "
            "the messages: Not today");
  EXPECT_EQ(refused.error().param, "chat_template_kwargs");
  model_.chat_kwargs = *parse_chat_kwargs(R"({"refuse": "ever"})");
  for (const char* more : {"", R"(,"chat_template_kwargs":{"words":[]})"}) {  // these names are not to blame
    const auto always = chat(more);
    ASSERT_FALSE(always);
    EXPECT_EQ(always.error().message, "the chat template refuses the messages: Not ever");
    EXPECT_EQ(always.error().param, "messages");
  }
  model_.chat_template = *ChatTemplate::jinja("{{ 'a' | wordwrap }}");
  const auto failed = chat("");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().status, 501);
  EXPECT_EQ(failed.error().message, "the chat template fails: line 1: the filter 'wordwrap' is not supported");
  EXPECT_EQ(failed.error().param, "");
}

TEST_F(ApiRequestTest, KeywordsOfARequestGoBeforeTheServers) {
  model_.chat_template = *ChatTemplate::jinja("{{ a }} {{ b }} {{ messages[0].content }}");
  model_.chat_kwargs = *parse_chat_kwargs(R"({"a": "t5", "b": "t6"})");
  EXPECT_EQ(chat("")->prompts[0], model_.tokenizer->encode("t5 t6 t3"));
  EXPECT_EQ(chat(R"(,"chat_template_kwargs":{"b":"t7"})")->prompts[0], model_.tokenizer->encode("t5 t7 t3"));
}

TEST_F(ApiRequestTest, KeywordsThatMakeATemplateFailAreTheClientsFault) {
  model_.chat_template = *ChatTemplate::jinja("{{ messages[0].content * n }}");
  model_.chat_kwargs = *parse_chat_kwargs(R"({"n": 1})");
  for (const char* wrong : {R"({"n":{}})", R"({"n":999999999})"}) {  // not to be done, and beyond a limit
    const auto failed = chat(R"(,"chat_template_kwargs":)" + std::string(wrong));
    ASSERT_FALSE(failed) << wrong;
    EXPECT_EQ(failed.error().status, 400) << failed.error().message;
    EXPECT_EQ(failed.error().param, "chat_template_kwargs");
  }
}

TEST_F(ApiRequestTest, KeywordsThatNobodyReadsAreRefused) {
  const auto refused = chat(R"(,"chat_template_kwargs":{"enable_thinking":false})");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 400);
  EXPECT_EQ(refused.error().param, "chat_template_kwargs");
  EXPECT_EQ(refused.error().message,
            "'chat_template_kwargs' has no effect: the built-in template 'plain' reads no names; leave it out");
  for (const char* nothing : {"{}", "null"}) {
    EXPECT_TRUE(chat(R"(,"chat_template_kwargs":)" + std::string(nothing))) << nothing;
  }
}

TEST_F(ApiRequestTest, APublicPrefixEndsWhereATemplateWouldWriteAFollowingTurnOtherwise) {
  model_.chat_template = *ChatTemplate::jinja(
      "{% for m in messages %}{{ m.content }}{{ ' t1' if loop.last and not add_generation_prompt else ' t2' }}{% "
      "endfor %}");
  std::string words = "t3";
  for (int i = 0; i < 100; ++i) words += " t" + std::to_string(4 + i % 20);
  const auto prefix =
      parse_public_prefix(R"({"messages":[{"role":"system","content":")" + words + R"("}]})", "a", model_);
  ASSERT_TRUE(prefix) << prefix.error().message;
  const auto asked = parse_chat_request(
      R"({"messages":[{"role":"system","content":")" + words + R"("},{"role":"user","content":"t5"}]})", model_);
  ASSERT_TRUE(asked);
  EXPECT_GE(prefix->front().size(), 101u);
  ASSERT_GT(asked->prompts[0].size(), prefix->front().size());
  EXPECT_TRUE(std::ranges::equal(prefix->front(), std::span(asked->prompts[0]).first(prefix->front().size())));
}

TEST_F(ApiRequestTest, PublicPrefixesThatCannotBeHeldAreRefusedByName) {
  for (const auto& [body, why] :
       {std::pair{"[]", "must be a JSON object"}, std::pair{R"({"messages":[]})", "'messages'"},
        std::pair{R"({"prompt":"t3 t4"})", "cannot be held"}}) {
    const auto prefixes = parse_public_prefix(body, "some/file", model_);
    ASSERT_FALSE(prefixes) << body;
    EXPECT_EQ(prefixes.error().code, ErrorCode::kInvalidArgument);
    EXPECT_TRUE(prefixes.error().message.starts_with("some/file: ")) << prefixes.error().message;
    EXPECT_TRUE(prefixes.error().message.contains(why)) << prefixes.error().message;
  }
  EXPECT_EQ(read_public_prefixes({"/nowhere"}, model_).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace cairn::api
