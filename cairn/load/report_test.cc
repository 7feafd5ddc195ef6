// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace cairn::load {
namespace {

using testing::HasSubstr;
using testing::Not;

Record whole_answer() {
  Record record;
  record.client = 3;
  record.due_s = record.sent_s = 1;
  record.piece_s = {1.5, 1.75};
  record.done_s = record.finished_s.emplace(2);
  record.usage = {.prompt = 100, .completion = 2, .cached = 25};
  return record;
}

Report report_of(std::vector<Record> records) {
  Report report{.workload = {.clients = 4, .seed = 7}, .salt = "salt", .document_tokens = 100};
  MeasuredServer server{.name = "one", .model = "tiny"};
  server.rounds.push_back(summarize_round(records, {}));
  server.records.push_back(std::move(records));
  report.servers = {server, server};
  report.servers[1].name = "two";
  return report;
}

TEST(LoadReport, SaysWhatWasAskedAndMeasured) {
  const std::string json = report_json(report_of({whole_answer()}));
  for (const char* part :
       {R"("format": "cairn.load.v1")", R"("workload": "document")", R"("clients": 4)", R"("seed": 7)",
        R"("salt": "salt")", R"("document_tokens": 100)", R"("approximate_lengths": false)", R"("slo_ttft_ms": null)",
        R"("name": "two")", R"("ttft_p50_ms": 500.0)", R"("most_late_s": 0.0)", R"("hit_rate": 25.0)"}) {
    EXPECT_THAT(json, HasSubstr(part));
  }
  EXPECT_THAT(json, HasSubstr(R"("goodput": null)")) << "no target was given";
}

TEST(LoadReport, ServersAreComparedWithTheFirst) {
  Record slow = whole_answer();
  slow.piece_s = {2, 2.25};
  Report report = report_of({whole_answer()});
  report.servers[1].rounds = {summarize_round(std::vector{slow}, {})};
  const std::string json = report_json(report);
  const std::string second = json.substr(json.find(R"("name": "two")"));
  EXPECT_THAT(second.substr(second.find(R"("to_first")")), HasSubstr(R"("of_medians": 2.0)"));
}

TEST(LoadReport, ALinePerRequest) {
  Record failed = whole_answer();
  failed.error = "status 400";
  failed.detail = "too \"long\"\x01";
  failed.usage = {};
  const std::string lines = request_lines(report_of({whole_answer(), failed}));
  EXPECT_EQ(std::ranges::count(lines, '\n'), 4);
  const std::string first = lines.substr(0, lines.find('\n'));
  EXPECT_THAT(first, HasSubstr(R"({"server":"one","round":0,"client":3,)"));
  EXPECT_THAT(first, HasSubstr(R"("ttft_ms":500.0)"));
  EXPECT_THAT(first, HasSubstr(R"("piece_s":[1.5,1.75])"));
  EXPECT_THAT(first, Not(HasSubstr("error")));
  EXPECT_THAT(lines, HasSubstr(R"("prompt_tokens":null)"));
  EXPECT_THAT(lines, HasSubstr(R"("error":"status 400","detail":"too \"long\"\u0001")"));
}

}  // namespace
}  // namespace cairn::load
