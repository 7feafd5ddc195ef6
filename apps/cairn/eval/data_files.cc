// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/data_files.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "apps/cairn/eval/haystack.h"
#include "apps/cairn/text.h"
#include "cairn/eval/session_run.h"

namespace cairn {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint32_t kAnswerTokens = 40;

Error format_error(const std::string& path, const std::string& what) {
  return {ErrorCode::kCorrupt, "'" + path + "': " + what +
                                   "; known are SQuAD JSON, passkey JSON lines {input, target} and SCBench JSON lines "
                                   "{context, multi_turns}"};
}

Turn question(const std::string& text, std::vector<std::string> gold) {
  Turn turn;
  turn.query = "Question: " + text + "\nAnswer:";
  turn.answer = " " + gold.front() + "\n";
  turn.gold = std::move(gold);
  turn.metric = Metric::kContains;
  turn.max_tokens = kAnswerTokens;
  return turn;
}

std::uint32_t fifth(double depth) {
  return std::min(4u, static_cast<std::uint32_t>(depth * 5));
}

std::vector<Session> squad(const Json& root) {
  std::vector<Session> sessions;
  for (const Json& article : root.at("data")) {
    for (const Json& paragraph : article.at("paragraphs")) {
      Session session;
      const auto context = paragraph.at("context").get<std::string>();
      session.context = context + "\n\n";
      for (const Json& qa : paragraph.at("qas")) {
        std::vector<std::string> gold;
        for (const Json& answer : qa.at("answers")) gold.push_back(answer.at("text"));
        if (gold.empty() || context.empty()) continue;  // SQuAD 2 has questions without an answer
        const double start = qa.at("answers").front().value("answer_start", 0.0);
        session.turns.push_back(question(qa.at("question"), std::move(gold)));
        session.turns.back().depth = fifth(std::max(0.0, start) / static_cast<double>(context.size()));
      }
      if (!session.turns.empty()) sessions.push_back(std::move(session));
    }
  }
  return sessions;
}

Session passkey(const Json& line) {
  Session session;
  session.context = line.at("input").get<std::string>() + "\n";
  Turn turn = question("", {line.at("target").get<std::string>()});
  turn.query = "What is the pass key? The pass key is";
  turn.metric = Metric::kFirstNumber;
  session.turns.push_back(std::move(turn));
  return session;
}

Session scbench(const Json& line) {
  Session session;
  session.context = line.at("context").get<std::string>() + "\n\n";
  for (const Json& each : line.at("multi_turns")) {
    std::vector<std::string> gold;
    const Json& answer = each.at("answer");
    if (answer.is_array()) {
      for (const Json& one : answer) gold.push_back(one.is_string() ? one.get<std::string>() : one.dump());
    } else {
      gold.push_back(answer.is_string() ? answer.get<std::string>() : answer.dump());
    }
    if (!gold.empty()) session.turns.push_back(question(each.at("input"), std::move(gold)));
  }
  return session;
}

// One JSON document, or one per line; the error says where it stops being either.
Result<std::vector<Session>> parse(const std::string& path, const std::string& text) {
  std::vector<Session> sessions;
  try {
    if (const Json root = Json::parse(text, nullptr, false); root.is_object() && root.contains("data")) {
      return squad(root);
    }
    std::size_t number = 0;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      const std::string line = text.substr(begin, end - begin);
      begin = end + 1;
      ++number;
      if (line.find_first_not_of(" \t\r") == line.npos) continue;
      const Json json = Json::parse(line, nullptr, false);
      if (json.is_object() && json.contains("input") && json.contains("target")) {
        sessions.push_back(passkey(json));
      } else if (json.is_object() && json.contains("context") && json.contains("multi_turns")) {
        sessions.push_back(scbench(json));
      } else {
        const std::string what = json.is_discarded() ? " is no JSON" : " has none of the known forms";
        return std::unexpected(format_error(path, "line " + std::to_string(number) + what));
      }
    }
  } catch (const Json::exception& error) {
    return std::unexpected(
        format_error(path, std::string("a field is missing or of the wrong type (") + error.what() + ")"));
  }
  std::erase_if(sessions, [](const Session& session) { return session.turns.empty(); });
  return sessions;
}

// Whether the session fits now, its context cut if it is a needle's.
bool make_fit(Session& session, const Tokenizer& tokenizer, std::uint32_t limit, bool& cut) {
  if (session_tokens(tokenizer, session) <= limit) return true;
  if (session.turns.front().metric != Metric::kFirstNumber) return false;
  const CutHaystack haystack =
      cut_haystack(session.context, session.turns.front().gold.front(), [&](const std::string& text) {
        Session tried = session;
        tried.context = text;
        return session_tokens(tokenizer, tried) <= limit;
      });
  if (haystack.text.empty()) return false;
  session.context = haystack.text;
  session.turns.front().depth = fifth(haystack.depth);
  cut = true;
  return true;
}

}  // namespace

Result<DataSessions> load_data(const std::string& path, const Tokenizer& tokenizer, const DataLimits& limits) {
  CAIRN_TRY(const std::string text, read_text(path));
  CAIRN_TRY(std::vector<Session> all, parse(path, text));
  if (all.empty()) return std::unexpected(format_error(path, "holds no session"));
  DataSessions data{.name = std::filesystem::path(path).stem().string(), .sessions = {}, .note = {}};
  std::size_t too_long = 0, cut = 0;
  // Spread over the file, since neighbours are often of one article.
  const std::size_t step = std::max<std::size_t>(1, all.size() / limits.sessions);
  for (std::size_t i = 0; i < all.size() && data.sessions.size() < limits.sessions; i += step) {
    Session& session = all[i];
    if (session.turns.size() > limits.turns) session.turns.resize(limits.turns);
    bool was_cut = false;
    if (!make_fit(session, tokenizer, limits.context_tokens, was_cut)) {
      ++too_long;
      continue;
    }
    cut += was_cut ? 1 : 0;
    session.task = data.name;
    session.index = static_cast<std::uint32_t>(data.sessions.size());
    session.context_tokens = limits.context_tokens;
    data.sessions.push_back(std::move(session));
  }
  if (data.sessions.empty()) {
    return fail(ErrorCode::kTooLong, "'" + path + "': no session fits into " + std::to_string(limits.context_tokens) +
                                         " tokens; raise --contexts");
  }
  if (too_long + cut > 0) {
    data.note = "'" + path + "': " + std::to_string(too_long) + " sessions left out as too long for " +
                std::to_string(limits.context_tokens) + " tokens, " + std::to_string(cut) +
                " haystacks cut around the needle";
  }
  return data;
}

}  // namespace cairn
