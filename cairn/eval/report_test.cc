// SPDX-License-Identifier: Apache-2.0
// What the browser makes of the page is tested by tools/eval_report_test.py.
#include "cairn/eval/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cairn::eval {
namespace {

using testing::HasSubstr;

std::string kld(const std::string& recipe, const std::string& kl_low = "0.1") {
  const std::string one = R"({"value": 1, "low": 1, "high": 1})";
  const std::string mean = R"({"value": 0.2, "low": )" + kl_low + R"(, "high": 0.3})";
  return R"({"format": "cairn.eval.kld.v1", "version": "1", "commit": "c", "model": {"file": "f", "name": "n",)"
         R"("weights_digest": "d", "layers": 1, "kv_heads": 1, "head_dim": 1}, "settings": {"seed": 1},)"
         R"("text": {"file": "t", "tokens": 9}, "rows": [{"recipe": ")" +
         recipe + R"(", "context": 8, "windows": 1, "tokens": 4, "bytes_per_token": 2, "bits_per_value": 8, "kl": {)" +
         R"("mean": )" + mean + R"(, "median": )" + mean + R"(, "p95": )" + mean + R"(, "p99": )" + mean +
         R"(, "max": )" + mean + R"(}, "same_top1": )" + one + R"(, "perplexity": )" + one +
         R"(, "reference_perplexity": )" + one + R"(, "perplexity_ratio": )" + one + "}]}";
}

std::string suite(const std::string& retained) {
  return R"({"format": "cairn.eval.suite.v1", "version": "1", "commit": "c", "model": {"file": "f", "name": "n",)"
         R"("weights_digest": "d", "layers": 1, "kv_heads": 1, "head_dim": 1}, "settings": {}, "recipes": [{)"
         R"("recipe": "r", "control": "", "bytes_per_token": 2, "bits_per_value": 8, "kept": 1, "cells": [{"task": "S1",)"
         R"("column": "", "mode": "multi-turn", "context": 8, "turn": 2, "depth": null, "items": 4, "score": 0.5,)"
         R"("accuracy": {"value": 0.5, "low": 0.2, "high": 0.8}, "retained": )" +
         retained + R"(, "lost": 1, "won": 0, "cap_hits": 0, "answer_tokens": 3}]}]})";
}

std::string message_of(std::string_view text) {
  const Status added = Report().add("x.json", text);
  return added.has_value() ? "" : added.error().message;
}

TEST(Report, HostileTextsStayWithinTheirScript) {
  Report report;
  ASSERT_TRUE(report.add("a@RESULTS@<b", kld("</script><!-- \xE2\x80\xA8 @NONCE@")).has_value());
  const std::string page = report.page();
  EXPECT_THAT(page, HasSubstr(R"("recipe":"\u003c/script>\u003c!-- \u2028 @NONCE@")"));
  EXPECT_THAT(page, HasSubstr(R"("source":"a@RESULTS@\u003cb"}])"));
  EXPECT_EQ(page.find("<!--"), std::string::npos);
}

TEST(Report, CellsBecomeRows) {
  Report report;
  ASSERT_TRUE(report.add("x", suite(R"({"items": 3, "kept": 2, "interval": null})")).has_value());
  EXPECT_THAT(report.page(), HasSubstr(R"("rows":[["S1","","multi-turn",8,2,null,4,0.5,3,2,1,0,0,0.5,3]])"));
}

TEST(Report, EqualResultsGiveEqualBytesAndOthersAnotherNonce) {
  const auto page_of = [](const std::string& recipe) {
    Report report;
    EXPECT_TRUE(report.add("x", kld(recipe)).has_value());
    return report.page();
  };
  const auto nonce_of = [](const std::string& page) { return page.substr(page.find("'nonce-"), 70); };
  EXPECT_EQ(page_of("a"), page_of("a"));
  EXPECT_NE(nonce_of(page_of("a")), nonce_of(page_of("b")));
  EXPECT_THAT(nonce_of(page_of("a")), testing::MatchesRegex("'nonce-[0-9a-f]+"));
}

TEST(Report, SaysWhatIsWrongAndWhere) {
  EXPECT_EQ(message_of("{"), "'x.json' is no JSON; pass the output of cairn eval kld or suite with --json");
  EXPECT_EQ(message_of(kld("r", "-5")), "'x.json': rows[0].kl.mean.low is -5, outside -1e-06 to 1000000.0");
  EXPECT_EQ(message_of(kld("r", "0.9")), "'x.json': rows[0].kl.mean has low above high");
  EXPECT_THAT(message_of(suite(R"({"items": 3, "kept": 4, "interval": null})")),
              HasSubstr("recipes[0].cells[0].retained.kept is 4, outside 0 to 3"));
}

TEST(Report, AFileThatIsRefusedLeavesNoTrace) {
  Report report;
  ASSERT_TRUE(report.add("x", kld("a")).has_value());
  const std::string before = report.page();
  EXPECT_FALSE(report.add("y", kld("b", "0.9")).has_value());
  EXPECT_EQ(report.page(), before);
}

}  // namespace
}  // namespace cairn::eval
