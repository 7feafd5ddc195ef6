// SPDX-License-Identifier: Apache-2.0
// The public headers alone, as a program outside uses them.
#include <cairn/cairn.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

namespace {

std::string model_file() {
  return CAIRN_SOURCE_DIR "/models/cairn-tiny-f16.gguf";
}

std::string document() {
  std::string text;
  for (const char* line : {"garden is 2784", "river is 5931", "window is 6150", "market is 7415", "winter is 8273"}) {
    text += std::string("The code of ") + line + ".\n";
  }
  return text;
}

std::vector<float> copied(const cairn::Result<std::span<const float>>& logits) {
  EXPECT_TRUE(logits) << logits.error().message;
  return logits ? std::vector<float>(logits->begin(), logits->end()) : std::vector<float>();
}

constexpr cairn::SamplerOptions kGreedy{.temperature = 0};

TEST(Library, AnswersAndReuses) {
  const auto model = cairn::Model::load(model_file(), {.threads = 2});
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->facts().architecture, "llama");
  EXPECT_EQ(model->facts().layers, 6u);
  EXPECT_EQ(model->facts().kv_bytes_per_token, 3072u);
  const auto ask = [&](const std::string& word) {
    const auto prompt = model->encode(document() + "\nQuestion: What is the code of " + word + "?\nAnswer:");
    std::string streamed;
    const auto answer = model->generate(prompt, kGreedy, {.max_tokens = 6, .stop = {"\n"}},
                                        {.on_text = [&](std::string_view text) { streamed += text; }});
    EXPECT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(streamed, answer->text);
    return *answer;
  };
  const cairn::Generated first = ask("river"), second = ask("market");
  EXPECT_NE(first.text.find("5931"), std::string::npos) << first.text;
  EXPECT_NE(second.text.find("7415"), std::string::npos) << second.text;
  EXPECT_EQ(first.reused_tokens, 0u);
  EXPECT_GE(second.reused_tokens, 64u);
}

TEST(Library, ForkTrimAndExtendGiveTheBitsOfAColdRun) {
  const auto model = cairn::Model::load(model_file(), {.threads = 2});
  ASSERT_TRUE(model) << model.error().message;
  const auto prompt = model->encode(document() + "Then came");
  cairn::Session session = model->open({});
  ASSERT_EQ(session.size(), 0u);
  const std::vector<float> cold = copied(session.extend(prompt));
  EXPECT_GT(session.kv_bytes(), 0u);
  cairn::Session other = session.fork();
  ASSERT_TRUE(other.trim(10));
  EXPECT_EQ(copied(other.extend(std::span(prompt).subspan(10))), cold);
  EXPECT_EQ(other.size(), session.size());
  EXPECT_FALSE(other.trim(10'000));
  cairn::Session hit = model->open(prompt);
  EXPECT_GE(hit.reused_tokens(), 64u);
  EXPECT_EQ(copied(hit.extend(std::span(prompt).subspan(hit.size()))), cold);
}

TEST(Library, AStoreOutlivesTheModel) {
  const std::string folder = testing::TempDir() + "cairn_library_store";
  std::filesystem::remove_all(folder);
  std::vector<float> cold;
  for (const bool again : {false, true}) {
    const auto store = cairn::PrefixStore::open({.tiers = {folder}, .required = true});
    ASSERT_TRUE(store) << store.error().message;
    const auto model = cairn::Model::load(model_file(), {.threads = 2, .codec = "tok4", .store = *store});
    ASSERT_TRUE(model) << model.error().message;
    const auto prompt = model->encode(document() + "Then came");
    cairn::Session session = model->open(prompt);
    EXPECT_EQ(session.reused_tokens() > 0, again);
    const std::vector<float> logits = copied(session.extend(std::span(prompt).subspan(session.size())));
    if (again) {
      EXPECT_EQ(logits, cold);
      EXPECT_GT(store->stats().blocks_read, 0u);
    } else {
      cold = logits;
      ASSERT_TRUE(store->flush(std::chrono::seconds(10)));
      EXPECT_GT(store->stats().blocks_written, 0u);
    }
  }
  std::filesystem::remove_all(folder);
}

TEST(Library, APolicyReadsLessAndMovesBlocksOutOfTheBudget) {
  const auto answer = [](const std::string& policy, const std::string& offload) {
    const auto model = cairn::Model::load(model_file(), {.policy = policy, .offload = offload, .reuse = false});
    EXPECT_TRUE(model) << model.error().message;
    const auto prompt = model->encode(document() + document() + "\nQuestion: What is the code of river?\nAnswer:");
    return *model->generate(prompt, kGreedy, {.max_tokens = 6, .stop = {"\n"}});
  };
  const cairn::Generated stays = answer("sketch+keep=0.5", ""), moves = answer("sketch+keep=0.5+unread=offload", "ram");
  EXPECT_EQ(stays.policy.policy, "sketch+keep=0.5");
  EXPECT_LT(stays.policy.read, 1);
  EXPECT_EQ(moves.ids, stays.ids);
  EXPECT_GT(moves.policy.bytes_offloaded, 0u);
  EXPECT_EQ(moves.kv_bytes + moves.policy.bytes_offloaded, stays.kv_bytes);
  EXPECT_EQ(cairn::Model::load(model_file(), {.policy = "no-such"}).error().code, cairn::ErrorCode::kInvalidArgument);
  EXPECT_EQ(cairn::Model::load(model_file(), {.policy = "quest+unread=offload"}).error().code,
            cairn::ErrorCode::kUnsupported);
}

TEST(Library, WhatIsWrongIsToldInALine) {
  EXPECT_EQ(cairn::Model::load("/nowhere.gguf").error().code, cairn::ErrorCode::kNotFound);
  EXPECT_EQ(cairn::Model::load(model_file(), {.codec = "no-such"}).error().code, cairn::ErrorCode::kUnsupported);
  EXPECT_FALSE(cairn::Model::load(model_file(), {.eviction = "no-such"}));
  EXPECT_FALSE(cairn::PrefixStore::open({}));
  EXPECT_FALSE(cairn::PrefixStore::open({.tiers = {"ftp://x"}}));
  EXPECT_TRUE(cairn::check_codec("tok4+sinks=1"));
  EXPECT_TRUE(cairn::check_codec("tok8/tok4+sinks=1+recent=2"));
  EXPECT_FALSE(cairn::check_codec("tok5"));
  EXPECT_FALSE(cairn::check_codec("tok4+shrinks=1"));
  EXPECT_FALSE(cairn::check_codec("tok4++"));
  EXPECT_GE(cairn::codec_names().size(), 10u);
  const auto model = cairn::Model::load(model_file(), {.threads = 1});
  ASSERT_TRUE(model);
  cairn::Session session = model->open({});
  ASSERT_TRUE(session.extend(std::vector<cairn::TokenId>{5, 6, 7}));
  EXPECT_EQ(session.generate(std::vector<cairn::TokenId>{5, 6}, {}, {}).error().code,
            cairn::ErrorCode::kInvalidArgument);
  EXPECT_EQ(session.generate(std::vector<cairn::TokenId>{5, 6, 8, 9}, {}, {}).error().code,
            cairn::ErrorCode::kInvalidArgument);
  EXPECT_FALSE(session.extend(std::vector<cairn::TokenId>{1'000'000}));
  EXPECT_FALSE(session.extend({}));
  EXPECT_EQ(session.size(), 3u);
}

TEST(Library, AChatIsEncodedWithItsTurnOpen) {
  const auto model = cairn::Model::load(model_file(), {.threads = 1});
  ASSERT_TRUE(model);
  const std::vector<cairn::ChatMessage> messages = {{cairn::ChatRole::kUser, "Hello"}};
  const auto tokens = model->encode_chat(messages);
  ASSERT_TRUE(tokens) << tokens.error().message;
  EXPECT_NE(model->decode(*tokens).find("Hello"), std::string::npos);
}

TEST(Library, TheVersionIsThatOfTheHeaders) {
  EXPECT_EQ(cairn::library_version(), std::to_string(CAIRN_VERSION_MAJOR) + "." + std::to_string(CAIRN_VERSION_MINOR) +
                                          "." + std::to_string(CAIRN_VERSION_PATCH));
}

}  // namespace
