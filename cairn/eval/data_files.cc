// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/data_files.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <limits>
#include <optional>
#include <utility>

#include "cairn/eval/result_json.h"
#include "cairn/eval/session.h"
#include "cairn/eval/session_tokens.h"
#include "cairn/eval/tasks/task_table.h"

namespace cairn::eval {
namespace {

constexpr std::uint32_t kAnswerTokens = 40, kSummaryTokens = 200;
constexpr std::size_t kSummaryWords = 15;

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return lines;
}

Error format_error(const std::string& path, const std::string& what) {
  return {ErrorCode::kCorrupt,
          "'" + path + "': " + what +
              "; known are SQuAD JSON, passkey JSON lines {input, target} and JSON lines {context, "
              "question, answer}, SCBench JSON lines {context, multi_turns}"};
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

constexpr std::size_t kAny = std::numeric_limits<std::size_t>::max();  // texts and lists are as long as they are

// Texts or numbers, one or a list. What would be found in any answer is no gold.
void add_gold(std::vector<std::string>& gold, const JsonFields& fields, const char* name) {
  const auto found = fields.json().find(name);
  if (found == fields.json().end()) return fields.complain(name, "is missing");
  for (const Json& one : found->is_array() ? *found : Json::array({*found})) {
    if (!one.is_string() && !one.is_number()) return fields.complain(name, "is neither a text nor a number");
    std::string text = one.is_number() ? one.dump() : one.get<std::string>();
    if (text.find_first_not_of(" \t\r\n") != text.npos) gold.push_back(std::move(text));
  }
}

std::vector<std::string> texts(const JsonFields& fields, const char* name) {
  const auto found = fields.json().find(name);
  std::vector<std::string> all;
  if (found == fields.json().end() || !found->is_array()) {
    fields.complain(name, "is no list");
    return all;
  }
  for (const Json& one : *found) {
    if (!one.is_string()) fields.complain(name, "holds what is no text");
    all.push_back(one.is_string() ? one.get<std::string>() : "");
  }
  return all;
}

std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// Of the readers below: the first thing that is wrong is in `problem`, and the sessions are then no good.
std::vector<EvalSession> squad(const Json& root, std::string& problem) {
  std::vector<EvalSession> sessions;
  for (const JsonFields& article : JsonFields(root, "", problem).objects("data", kAny)) {
    for (const JsonFields& paragraph : article.objects("paragraphs", kAny)) {
      EvalSession session;
      const std::string context = paragraph.text("context", kAny);
      session.context = context + "\n\n";
      for (const JsonFields& qa : paragraph.objects("qas", kAny)) {
        std::vector<std::string> gold;
        const std::vector<JsonFields> answers = qa.objects("answers", kAny);
        for (const JsonFields& answer : answers) add_gold(gold, answer, "text");
        if (gold.empty() || context.empty()) continue;  // SQuAD 2 has questions without an answer
        const bool says_where = answers.front().json().contains("answer_start");
        const double start = says_where ? answers.front().number("answer_start", {-1e18, 1e18}) : 0;
        session.turns.push_back(question(qa.text("question", kAny), std::move(gold)));
        session.turns.back().depth = fifth(std::max(0.0, start) / static_cast<double>(code_points(context)));
      }
      if (!session.turns.empty()) sessions.push_back(std::move(session));
    }
  }
  return sessions;
}

EvalSession passkey(const JsonFields& line) {
  EvalSession session;
  session.context = line.text("input", kAny) + "\n";
  std::vector<std::string> gold;
  add_gold(gold, line, "target");
  if (gold.empty()) return session;
  Turn turn = question("", std::move(gold));
  turn.query = "What is the pass key? The pass key is";
  turn.metric = Metric::kFirstNumber;
  session.turns.push_back(std::move(turn));
  return session;
}

// "options" are the texts behind the letters; "answer" is one of the two.
Turn multiple_choice(const JsonFields& each, const std::string& answer) {
  const std::vector<std::string> options = texts(each, "options");
  const std::string asked = each.text("input", kAny);
  Turn turn = question(asked, {" " + answer});
  std::string listed;
  for (std::size_t i = 0; i < std::min<std::size_t>(options.size(), 26); ++i) {
    const std::string letter(1, static_cast<char>('A' + i));
    listed += letter + ". " + options[i] + "\n";
    turn.candidates.push_back(" " + letter);
    if (options[i] == answer) turn.gold = {" " + letter};
  }
  turn.query = "Question: " + asked + "\n" + listed + "Answer:";
  turn.answer = turn.gold.front() + "\n";
  turn.metric = Metric::kChoice;
  return turn;
}

EvalSession scbench(const JsonFields& line) {
  EvalSession session;
  session.context = line.text("context", kAny) + "\n\n";
  for (const JsonFields& each : line.objects("multi_turns", kAny)) {
    std::vector<std::string> gold;
    add_gold(gold, each, "answer");
    if (gold.empty()) continue;
    const bool choice = each.json().contains("options");
    session.turns.push_back(choice ? multiple_choice(each, gold.front())
                                   : question(each.text("input", kAny), std::move(gold)));
    Turn& turn = session.turns.back();
    turn.depth = kUnknownDepth;
    if (!choice && split_words(turn.gold.front()).size() > kSummaryWords) {  // SCBench's summaries
      turn.metric = Metric::kRougeL;
      turn.max_tokens = kSummaryTokens;
    }
  }
  return session;
}

// "kind" is its column. The answer may be a part of what is said: cut off at a newline, judged as a word of it.
EvalSession one_question(const JsonFields& line) {
  EvalSession session;
  session.context = line.text("context", kAny) + "\n\n";
  std::vector<std::string> gold;
  add_gold(gold, line, "answer");
  if (gold.empty()) return session;
  const std::string asked = line.text("question", kAny);
  Turn turn = question(asked, std::move(gold));
  if (asked.contains("Answer:")) turn.query = asked;
  turn.metric = Metric::kWholeWord;
  turn.column = line.json().contains("kind") ? line.text("kind") : "";
  turn.depth = kUnknownDepth;
  session.turns.push_back(std::move(turn));
  return session;
}

// What a line holds, by its fields. The error's message goes on from "line 3".
Result<EvalSession> parse_line(const std::string& line) {
  const std::optional<Json> json = parse_json(line);
  if (!json) return fail(ErrorCode::kCorrupt, " is no JSON");
  const auto has = [&](const char* name) { return json->is_object() && json->contains(name); };
  std::string problem;
  EvalSession session;
  if (has("input") && has("target")) {
    session = passkey({*json, "", problem});
  } else if (has("context") && has("multi_turns")) {
    session = scbench({*json, "", problem});
  } else if (has("context") && has("question")) {
    session = one_question({*json, "", problem});
  } else {
    return fail(ErrorCode::kCorrupt, " has none of the known forms");
  }
  if (!problem.empty()) return fail(ErrorCode::kCorrupt, ": " + problem);
  return session;
}

// One JSON document, or one per line; the error says where it stops being either.
Result<std::vector<EvalSession>> parse(const std::string& path, const std::string& text) {
  if (const auto root = parse_json(text); root && root->is_object() && root->contains("data")) {
    std::string problem;
    std::vector<EvalSession> sessions = squad(*root, problem);
    if (!problem.empty()) return std::unexpected(format_error(path, problem));
    return sessions;
  }
  std::vector<EvalSession> sessions;
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    Result<EvalSession> session = parse_line(line);
    if (!session) {
      return std::unexpected(format_error(path, "line " + std::to_string(number) + session.error().message));
    }
    sessions.push_back(*std::move(session));
  }
  std::erase_if(sessions, [](const EvalSession& session) { return session.turns.empty(); });
  return sessions;
}

Result<bool> session_fits(const EvalSession& session, const Tokenizer& tokenizer, const DataLimits& limits) {
  CAIRN_TRY(const std::size_t tokens,
            session_tokens(tokenizer, limits.chat == nullptr ? session : in_chat_form(session, limits.chat)));
  return tokens <= limits.context_tokens;
}

// Whether the session fits now, its context cut if it is a needle's.
Result<bool> make_fit(EvalSession& session, const Tokenizer& tokenizer, const DataLimits& limits, bool& cut) {
  CAIRN_TRY(const bool whole, session_fits(session, tokenizer, limits));
  if (whole) return true;
  if (session.turns.front().metric != Metric::kFirstNumber) return false;
  const CutHaystack haystack =
      cut_haystack(session.context, session.turns.front().gold.front(), [&](const std::string& text) {
        EvalSession tried = session;
        tried.context = text;
        return session_fits(tried, tokenizer, limits).value_or(false);
      });
  if (haystack.text.empty()) return false;
  session.context = haystack.text;
  session.turns.front().depth = fifth(haystack.depth);
  cut = true;
  return true;
}

}  // namespace

CutHaystack cut_haystack(std::string_view text, std::string_view needle,
                         const std::function<bool(const std::string&)>& fits) {
  const std::vector<std::string_view> lines = lines_of(text);
  const auto found =
      std::ranges::find_if(lines, [needle](std::string_view line) { return line.find(needle) != line.npos; });
  if (found == lines.end() || needle.empty()) return {};
  const auto at = static_cast<std::size_t>(found - lines.begin());
  const std::size_t before = at == 0 ? 0 : at - 1, after = lines.size() - at - 1;  // besides the first line
  CutHaystack best;
  const auto keep = [&](double share) {
    const auto head = static_cast<std::size_t>(share * static_cast<double>(before));
    const auto tail = static_cast<std::size_t>(share * static_cast<double>(after));
    CutHaystack kept;
    if (at > 0) kept.text += lines.front();
    for (std::size_t i = at - head; i < at; ++i) kept.text += lines[i];
    const std::size_t needle_at = kept.text.size();
    for (std::size_t i = at; i <= at + tail; ++i) kept.text += lines[i];
    kept.depth = static_cast<double>(needle_at) / static_cast<double>(kept.text.size());
    kept.cut = head + tail < before + after;
    return kept;
  };
  double low = 0, high = 1;
  if (CutHaystack all = keep(1); fits(all.text)) return all;
  if (best = keep(0); !fits(best.text)) return {};
  for (int step = 0; step < 20; ++step) {
    const double middle = (low + high) / 2;
    CutHaystack tried = keep(middle);
    if (fits(tried.text)) {
      best = std::move(tried);
      low = middle;
    } else {
      high = middle;
    }
  }
  return best;
}

Result<DataSessions> parse_data(const std::string& path, const std::string& text, const Tokenizer& tokenizer,
                                const DataLimits& limits) {
  CAIRN_TRY(std::vector<EvalSession> all, parse(path, text));
  if (all.empty()) return std::unexpected(format_error(path, "holds no session"));
  DataSessions data{.name = std::filesystem::path(path).stem().string(), .sessions = {}, .note = {}};
  for (char& c : data.name) {  // it stands in tables and keys
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '-') c = '_';
  }
  if (tasks::find_task(data.name)) {
    return fail(ErrorCode::kInvalidArgument, "'" + path + "' is named like a task of the suite; rename it");
  }
  std::size_t too_long = 0, cut = 0;
  // Spread over the file, since neighbours are often of one article.
  const std::size_t step = std::max<std::size_t>(1, all.size() / limits.sessions);
  for (std::size_t i = 0; i < all.size() && data.sessions.size() < limits.sessions; i += step) {
    EvalSession& session = all[i];
    if (session.turns.size() > limits.turns) session.turns.resize(limits.turns);
    bool was_cut = false;
    CAIRN_TRY(const bool fit, make_fit(session, tokenizer, limits, was_cut));
    if (!fit) {
      ++too_long;
      continue;
    }
    cut += was_cut ? 1 : 0;
    session.task = data.name;
    session.index = static_cast<std::uint32_t>(data.sessions.size());
    session.context_tokens = limits.context_tokens;
    if (limits.chat != nullptr) session = in_chat_form(std::move(session), limits.chat);
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

}  // namespace cairn::eval
