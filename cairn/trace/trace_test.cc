// SPDX-License-Identifier: Apache-2.0
// Reading traces as they are published: what is a block, what is cached, and what is wrong with a line.
#include "cairn/trace/trace.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

namespace cairn {
namespace {

std::string refusal(const std::string& text, TraceFormat format = TraceFormat::kAuto) {
  const auto trace = parse_trace(text, "t.jsonl", format);
  if (trace) return "read";
  EXPECT_EQ(trace.error().code, ErrorCode::kCorrupt);
  return trace.error().message;
}

// The ids from `first` on, as a JSON list.
std::string ids(std::uint64_t first, std::size_t count) {
  std::string text = "[";
  for (std::size_t i = 0; i < count; ++i) text += (i == 0 ? "" : ",") + std::to_string(first + i);
  return text + "]";
}

TEST(ParseTrace, MooncakeBlocksAreEqualWhereTheirIdsAre) {
  const auto trace = parse_trace(
      "{\"timestamp\": 1500, \"input_length\": 1100, \"output_length\": 7, \"hash_ids\": [4, 5, 6]}\n"
      "\n"
      "{\"timestamp\": 2000, \"input_length\": 1024, \"hash_ids\": [4, 9]}",
      "t", TraceFormat::kAuto);
  ASSERT_TRUE(trace) << trace.error().message;
  EXPECT_EQ(trace->format, "mooncake");
  EXPECT_EQ(trace->block_tokens, 512u);
  ASSERT_EQ(trace->blocks.size(), 4u);
  ASSERT_EQ(trace->requests.size(), 2u);
  EXPECT_EQ(trace->requests[0].input, (std::vector<std::uint32_t>{0, 1, 2}));
  EXPECT_EQ(trace->requests[1].input, (std::vector<std::uint32_t>{0, 3}));
  EXPECT_EQ(trace->input_blocks(), 5u);
  EXPECT_EQ(trace->blocks[2].tokens, 1100u - 1024u) << "the last block may be partial";
  EXPECT_EQ(trace->blocks[3].item.parent, trace->blocks[0].item.key);
  EXPECT_EQ(trace->blocks[3].item.depth, 1u);
  EXPECT_EQ(trace->requests[0].arrival_s, 1.5);
  EXPECT_EQ(trace->requests[0].output_tokens, 7u);
  EXPECT_EQ(trace->requests[1].output_tokens, 0u);
}

TEST(ParseTrace, ShareGptBlocksChainOverInputAndOutput) {
  const auto trace = parse_trace("{\"input_tok_ids\": " + ids(0, 40) + ", \"output_tok_ids\": " + ids(40, 10) +
                                     ", \"arrival_time_ns\": 2500000000}\n{\"input_tok_ids\": " + ids(0, 50) + "}\n" +
                                     "{\"input_tok_ids\": " + ids(1, 16) + "}\n",
                                 "t", TraceFormat::kAuto);
  ASSERT_TRUE(trace) << trace.error().message;
  EXPECT_EQ(trace->format, "sharegpt");
  EXPECT_EQ(trace->requests[0].input, (std::vector<std::uint32_t>{0, 1}));
  EXPECT_EQ(trace->requests[0].output, (std::vector<std::uint32_t>{2})) << "it has tokens of both";
  EXPECT_EQ(trace->requests[0].arrival_s, 2.5);
  EXPECT_EQ(trace->requests[1].input, (std::vector<std::uint32_t>{0, 1, 2})) << "what was an answer is a prompt now";
  EXPECT_EQ(trace->requests[1].input_tokens, 50u);
  EXPECT_EQ(trace->requests[2].input, (std::vector<std::uint32_t>{3})) << "other tokens";
}

TEST(ParseTrace, SaysWhichLineIsWrongAndHow) {
  const std::string good = "{\"input_length\": 512, \"hash_ids\": [1]}\n";
  EXPECT_EQ(refusal(good), "read");
  EXPECT_EQ(refusal(good + "\n{"), "t.jsonl:3: not JSON");
  EXPECT_EQ(refusal("[1]"), "t.jsonl:1: not a JSON object");
  EXPECT_EQ(refusal("{\"a\": 1}"), "t.jsonl:1: neither 'hash_ids' (mooncake) nor 'input_tok_ids' (sharegpt)");
  EXPECT_EQ(refusal(good + "{\"input_length\": 513, \"hash_ids\": [1]}"),
            "t.jsonl:2: 'input_length' 513 does not fit 1 hash_ids of 512 tokens");
  EXPECT_EQ(refusal("{\"input_length\": -1, \"hash_ids\": [1]}"), "t.jsonl:1: 'input_length' must be a whole number");
  EXPECT_EQ(refusal("{\"input_length\": 512, \"hash_ids\": [1.5]}"),
            "t.jsonl:1: 'hash_ids' must be a list of whole numbers");
  EXPECT_EQ(refusal("{\"input_tok_ids\": [4294967296]}"), "t.jsonl:1: 'input_tok_ids' must be a list of token ids");
  EXPECT_EQ(refusal("{\"input_tok_ids\": [], \"output_tok_ids\": 3}"),
            "t.jsonl:1: 'output_tok_ids' must be a list of token ids");
  EXPECT_EQ(refusal(good, TraceFormat::kShareGpt), "t.jsonl:1: 'input_tok_ids' must be a list of token ids");
  EXPECT_EQ(refusal(""), "t.jsonl: no requests");
  EXPECT_EQ(refusal("\n \n"), "t.jsonl: no requests");
}

}  // namespace
}  // namespace cairn
