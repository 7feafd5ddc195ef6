// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/generate.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"
#include "cairn/testing/tokenizer_data.h"

namespace cairn {
namespace {

using testing::bpe_data;
using testing::must_make;

const Tokenizer& byte_pairs() {
  static const std::unique_ptr<const Tokenizer> tokenizer = must_make(bpe_data());
  return *tokenizer;
}

TokenId byte_token(unsigned char byte) {
  return static_cast<TokenId>(byte);
}

struct Fed {
  std::vector<std::string> texts;  // of each step, and of finish()
  std::optional<StopReason> stop;
  std::vector<TokenId> ids;
};

Fed feed(const std::vector<TokenId>& ids, const GenerationOptions& options) {
  GenerationState state(byte_pairs(), options);
  Fed fed;
  for (const TokenId id : ids) {
    const GenerationStep step = state.take(id);
    fed.texts.push_back(step.text);
    EXPECT_EQ(step.id.has_value(), step.stop != StopReason::kEnd);
    fed.stop = step.stop;
    if (fed.stop) break;
  }
  fed.texts.push_back(state.finish());
  EXPECT_EQ(state.finish(), "");
  fed.ids = state.ids();
  return fed;
}

std::vector<TokenId> tokens_of(const std::string& text) {
  return byte_pairs().encode(text, {.add_bos = false});
}

TEST(GenerationState, AStopStringMayLieAcrossTokens) {
  const std::vector<TokenId> ids = {byte_token('x'), tokens_of("he")[0], tokens_of("ll")[0], byte_token('o'),
                                    byte_token('!')};
  const Fed fed = feed(ids, {.stop = {"hello"}});
  EXPECT_EQ(fed.texts, (std::vector<std::string>{"x", "", "", "", ""}));
  EXPECT_EQ(fed.stop, StopReason::kString);
  EXPECT_EQ(fed.ids, std::vector<TokenId>(ids.begin(), ids.begin() + 4));
}

TEST(GenerationState, TextBeforeAStopStringWithinOneTokenIsKept) {
  const Fed fed = feed({byte_token('x'), tokens_of("hello")[0]}, {.stop = {"ll"}});
  EXPECT_EQ(fed.texts, (std::vector<std::string>{"x", "he", ""}));
  EXPECT_EQ(fed.stop, StopReason::kString);
}

TEST(GenerationState, WhatOnlySeemedToBeginAStopStringIsHandedOn) {
  EXPECT_EQ(feed({tokens_of("he")[0], byte_token('x')}, {.stop = {"hello"}}).texts,
            (std::vector<std::string>{"", "hex", ""}));
  const Fed cut = feed({byte_token('x'), tokens_of("he")[0]}, {.max_tokens = 2, .stop = {"hello"}});
  EXPECT_EQ(cut.texts, (std::vector<std::string>{"x", "", "he"}));
  EXPECT_EQ(cut.stop, StopReason::kLength);
}

TEST(GenerationState, ACharacterSplitAcrossTokensComesWhole) {
  EXPECT_EQ(feed({byte_token(0xE2), byte_token(0x82), byte_token(0xAC)}, {}).texts,
            (std::vector<std::string>{"", "", "€", ""}));
  EXPECT_EQ(feed({byte_token(0xE2), byte_token('a')}, {}).texts, (std::vector<std::string>{"",
                                                                                           "\xE2"
                                                                                           "a",
                                                                                           ""}));
  const Fed cut = feed({byte_token('a'), byte_token(0xE2)}, {.max_tokens = 2});
  EXPECT_EQ(cut.texts, (std::vector<std::string>{"a", "", "\xE2"}));
}

TEST(GenerationState, TheEndTokenEndsUnlessItIsIgnored) {
  const TokenId end = *byte_pairs().eos();
  const Fed ended = feed({byte_token('a'), end, byte_token('b')}, {});
  EXPECT_EQ(ended.stop, StopReason::kEnd);
  EXPECT_EQ(ended.ids, std::vector<TokenId>{byte_token('a')});
  const Fed ignored = feed({byte_token('a'), end, byte_token('b')}, {.max_tokens = 3, .ignore_eos = true});
  EXPECT_EQ(ignored.stop, StopReason::kLength);
  EXPECT_EQ(ignored.ids, (std::vector<TokenId>{byte_token('a'), end, byte_token('b')}));
  EXPECT_EQ(ignored.texts, (std::vector<std::string>{"a", "", "b", ""}));
}

TEST(GenerationState, TheLastTokenAllowedMayStillCompleteAStopString) {
  EXPECT_EQ(feed({byte_token('a'), byte_token('b')}, {.max_tokens = 2, .stop = {"b"}}).stop, StopReason::kString);
  EXPECT_EQ(feed({byte_token('a'), byte_token('b')}, {.max_tokens = 2}).stop, StopReason::kLength);
  EXPECT_EQ(feed({byte_token('a'), byte_token('b')}, {.max_tokens = 3}).stop, std::nullopt);
}

// Any ids, any options: the text is that of the ids up to the first stop string.
RC_GTEST_PROP(GenerationState, TextIsTheTextOfTheIdsUpToTheStopString, ()) {
  const auto ids = *rc::gen::container<std::vector<TokenId>>(
      rc::gen::oneOf(rc::gen::element<TokenId>('a', 'b', 0xC3, 0xA9, 0xE2, 0x82),
                     rc::gen::inRange<TokenId>(0, static_cast<TokenId>(byte_pairs().size()))));
  const GenerationOptions options{.max_tokens = *rc::gen::inRange<std::size_t>(1, 30),
                                  .stop = {*rc::gen::element<std::string>("ab", "aé", "é", "bb")},
                                  .ignore_eos = *rc::gen::arbitrary<bool>()};
  const Fed fed = feed(ids, options);
  std::string text;
  for (const std::string& part : fed.texts) text += part;
  const std::string all = byte_pairs().decode(fed.ids);
  RC_ASSERT(text == all.substr(0, all.find(options.stop[0])));
  RC_ASSERT((fed.stop == StopReason::kLength) ==
            (fed.ids.size() == options.max_tokens && fed.stop != StopReason::kString));
}

std::unique_ptr<Engine> tiny(std::uint32_t context = 256) {
  return load_tiny(TinyModel{}.builder().build(), {.threads = 1, .context = context}).value();
}

const std::vector<TokenId> kPrompt(100, 7);
constexpr SamplerOptions kDrawn{.temperature = 1, .top_k = 0, .repetition_penalty = 1.5F, .seed = 5};

TEST(Generate, DrawsWhatAHandWrittenLoopDraws) {
  const auto engine = tiny();
  Sampler sampler = *Sampler::make(kDrawn);
  for (const TokenId id : kPrompt) sampler.accept(id);
  Sequence sequence = engine->open({});
  std::vector<TokenId> expected;
  auto logits = engine->prefill(sequence, kPrompt);
  while (expected.size() < 20) {
    expected.push_back(*sampler.sample(*logits));
    sampler.accept(expected.back());
    logits = engine->decode(sequence, expected.back());
  }
  std::size_t asked = 0;
  std::string streamed;
  GenerationHooks hooks;
  hooks.on_logits = [&](std::span<const float>) { ++asked; };
  hooks.on_step = [&](const GenerationStep& step) {
    streamed += step.text;
    return Status{};
  };
  const auto got =
      generate(*engine, kPrompt, kDrawn, {.max_tokens = 20, .ignore_eos = true, .continues_text = true}, hooks);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->ids, expected);
  EXPECT_EQ(got->stop, StopReason::kLength);
  EXPECT_EQ(got->text, engine->tokenizer().decode(expected, {.continues_text = true}));
  EXPECT_EQ(streamed, got->text);
  EXPECT_EQ(asked, 20u);
  EXPECT_EQ(got->prompt_tokens, kPrompt.size());
  EXPECT_EQ(got->reused_tokens, kBlockTokens);  // which the loop above left behind
  EXPECT_GT(got->first_token_s, 0);
  EXPECT_GT(got->decode_rate(), 0);
}

TEST(Generate, ASequenceGoesOnWhereTheConversationIs) {
  const auto engine = tiny();
  Sampler sampler = *Sampler::make({.temperature = 0});
  Sequence sequence = engine->open({});
  const GenerationOptions options{.max_tokens = 5, .ignore_eos = true};
  const auto first = generate(*engine, sequence, kPrompt, sampler, options);
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(sequence.size(), kPrompt.size() + 4);  // the last token is not computed
  std::vector<TokenId> tokens = kPrompt;
  tokens.insert(tokens.end(), first->ids.begin(), first->ids.end());
  tokens.push_back(9);
  const auto second = generate(*engine, sequence, tokens, sampler, options);
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(second->reused_tokens, kPrompt.size() + 4);
  EXPECT_EQ(second->kv_bytes, sequence.bytes_held());
  const auto apart = generate(*engine, tokens, {.temperature = 0}, options);
  EXPECT_EQ(second->ids, apart->ids);
}

TEST(Generate, StopsWhenTheContextIsFull) {
  const auto engine = tiny(110);
  const auto got = generate(*engine, kPrompt, kDrawn, {.ignore_eos = true});
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->stop, StopReason::kContext);
  EXPECT_EQ(got->ids.size(), 11u);
}

TEST(Generate, ACancelledAnswerKeepsWhatWasDrawn) {
  const auto engine = tiny();
  std::atomic<bool> cancel{false};
  std::size_t drawn = 0;
  GenerationHooks hooks{.prefill = {.cancel = &cancel}};
  hooks.on_step = [&](const GenerationStep&) {
    if (++drawn == 3) cancel = true;
    return Status{};
  };
  const auto later = generate(*engine, kPrompt, kDrawn, {.ignore_eos = true}, hooks);
  ASSERT_TRUE(later) << later.error().message;
  EXPECT_EQ(later->stop, StopReason::kCancelled);
  EXPECT_EQ(later->ids.size(), 3u);
  const auto at_once = generate(*engine, kPrompt, kDrawn, {.ignore_eos = true}, hooks);
  ASSERT_TRUE(at_once) << at_once.error().message;
  EXPECT_EQ(at_once->stop, StopReason::kCancelled);
  EXPECT_TRUE(at_once->ids.empty());
}

TEST(Generate, PassesOnErrors) {
  const auto engine = tiny();
  GenerationHooks hooks;
  hooks.on_step = [](const GenerationStep&) -> Status { return fail(ErrorCode::kIo, "closed"); };
  EXPECT_EQ(generate(*engine, kPrompt, kDrawn, {.ignore_eos = true}, hooks).error().code, ErrorCode::kIo);
  EXPECT_EQ(generate(*engine, {}, kDrawn, {}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(generate(*engine, kPrompt, {.temperature = -1}, {}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(generate(*engine, std::vector<TokenId>(300, 7), kDrawn, {}).error().code, ErrorCode::kTooLong);
}

TEST(Generate, StopReasonsHaveNames) {
  EXPECT_EQ(stop_reason_name(StopReason::kEnd), "end");
  EXPECT_EQ(stop_reason_name(StopReason::kString), "string");
  EXPECT_EQ(stop_reason_name(StopReason::kLength), "length");
  EXPECT_EQ(stop_reason_name(StopReason::kContext), "context");
  EXPECT_EQ(stop_reason_name(StopReason::kCancelled), "interrupted");
}

}  // namespace
}  // namespace cairn
