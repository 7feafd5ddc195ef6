// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/suite_run.h"

#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>

namespace cairn::eval {
namespace {

std::string read_all(std::FILE* file) {
  std::string text;
  char buffer[65536];
  std::rewind(file);
  while (const std::size_t count = std::fread(buffer, 1, sizeof buffer, file)) text.append(buffer, count);
  return text;
}

bool is_share(double value) {
  return value >= 0 && value <= 1;
}

// A journal may have been edited: each turn once in each mode, in order, and no figure that run_session cannot give.
bool is_whole(const AnsweredCell& answered) {
  const std::size_t turns = answered.columns.size();
  const CacheCost& cost = answered.outcome.cost;
  if (turns == 0 || answered.outcome.turns.size() != kModes.size() * turns) return false;
  const DecodeTime& decode = answered.outcome.decode;
  if (!(cost.bytes_per_token >= 0 && cost.bytes_per_token < 1e12 && cost.bits_per_value >= 0)) return false;
  if (!(cost.bytes_held >= 0 && cost.bytes_held < 1e18 && is_share(cost.kept))) return false;
  if (!(is_share(answered.outcome.read_fraction) && decode.seconds >= 0 && decode.seconds < 1e9)) return false;
  if (std::ranges::any_of(answered.depths, [](std::uint32_t depth) { return depth > kUnknownDepth; })) return false;
  for (std::size_t i = 0; i < answered.outcome.turns.size(); ++i) {
    const TurnOutcome& turn = answered.outcome.turns[i];
    if (turn.mode != kModes[i / turns] || turn.turn != i % turns) return false;
    if (!is_share(turn.score)) return false;
  }
  return true;
}

// Sessions that are tried of each task and context: where all of these can be made, the others can too.
constexpr std::uint32_t kTriedSessions = 8;

// The cells are handed out in order; what they give is kept by index, so the result does not show which worker did
// which.
class SuiteRunner {
 public:
  SuiteRunner(const SuiteRunSettings& plan, const SuiteRunControl& control, SuiteJournal* journal)
      : plan_(plan), control_(control), journal_(journal), answers_(plan.cells.size()) {}

  Result<std::vector<AnsweredCell>> run(std::unique_ptr<Engine> engine) {
    take_from_journal();
    std::vector<std::jthread> workers;
    if (control_.workers > 1) engine.reset();  // each worker's engine has fewer threads
    for (unsigned i = 1; i < std::min<std::size_t>(control_.workers, open_.size()); ++i) {
      workers.emplace_back([this] { work(nullptr); });
    }
    work(std::move(engine));
    workers.clear();  // joins
    if (error_) {
      if (error_->code == ErrorCode::kCancelled) {
        error_->message = "interrupted after " + std::to_string(done_) + " of " + std::to_string(plan_.cells.size()) +
                          " sessions" + (journal_ == nullptr ? "" : "; the same command goes on from there");
      }
      return std::unexpected(*error_);
    }
    std::vector<AnsweredCell> all;
    for (auto& answer : answers_) all.push_back(std::move(*answer));
    return all;
  }

 private:
  // The longer the context, the longer it takes.
  double weight(std::size_t cell) const { return plan_.cells[cell].context; }

  void take_from_journal() {
    for (std::size_t i = 0; i < plan_.cells.size(); ++i) {
      const Json* kept = journal_ == nullptr ? nullptr : journal_->find(cell_key(plan_, plan_.cells[i]));
      if (kept != nullptr) answers_[i] = answered_from_json(*kept, plan_.cells[i]);
      total_weight_ += weight(i);
      if (!answers_[i]) {
        open_.push_back(i);
        continue;
      }
      ++done_;
      done_weight_ += weight(i);
    }
  }

  void work(std::unique_ptr<Engine> engine) {
    std::unique_ptr<JudgedEngine> judged;
    for (std::size_t next; !stop_ && (next = next_.fetch_add(1)) < open_.size();) {
      const std::size_t index = open_[next];
      Result<AnsweredCell> answered = answer(plan_.cells[index], engine, judged);
      const std::scoped_lock lock(mutex_);
      Status kept = {};
      if (answered && journal_ != nullptr) {
        kept = journal_->append(cell_key(plan_, plan_.cells[index]), answered_json(*answered));
      }
      if (!answered || !kept) {
        if (!error_) error_ = answered ? kept.error() : answered.error();
        stop_ = true;
        return;
      }
      answers_[index] = *std::move(answered);
      ++done_;
      done_weight_ += weight(index);
      if (control_.on_progress) control_.on_progress(done_weight_ / total_weight_);
    }
  }

  Result<AnsweredCell> answer(const Cell& cell, std::unique_ptr<Engine>& engine,
                              std::unique_ptr<JudgedEngine>& judged) {
    const Contender& contender = plan_.contenders[cell.contender];
    if (engine == nullptr) {
      CAIRN_TRY(engine, control_.load());
    }
    if (judged == nullptr || judged->recipe().text != contender.recipe.text) {
      judged.reset();
      CAIRN_TRY(judged, JudgedEngine::make(*engine, contender.recipe,
                                           {.kv_budget_bytes = control_.kv_budget_bytes,
                                            .context = std::max(cell.context, engine->context())}));
    }
    std::optional<EvalSession> session;
    if (const auto data = plan_.data.find(cell.task); data != plan_.data.end()) {
      session = data->second.at(cell.index);
    } else {
      CAIRN_TRY(session, session_of(cell, contender.control, plan_.settings, engine->tokenizer()));
    }
    AnsweredCell answered{.cell = cell, .columns = {}, .depths = {}, .outcome = {}};
    CAIRN_TRY(answered.outcome, run_session(*judged, *session,
                                            {.with_context = contender.control != Control::kNoContext,
                                             .pin_instruction = contender.control == Control::kInstructionPinned,
                                             .cancel = control_.cancel}));
    for (const Turn& turn : session->turns) {
      answered.columns.push_back(turn.column);
      answered.depths.push_back(turn.depth);
    }
    return answered;
  }

  const SuiteRunSettings& plan_;
  const SuiteRunControl& control_;
  SuiteJournal* journal_;
  std::vector<std::size_t> open_;  // cells to answer
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> stop_{false};

  std::mutex mutex_;  // guards what follows
  std::vector<std::optional<AnsweredCell>> answers_;
  std::size_t done_ = 0;
  double done_weight_ = 0, total_weight_ = 0;
  std::optional<Error> error_;
};

}  // namespace

void add_data_cells(SuiteRunSettings& plan) {
  std::vector<Cell> cells;
  for (std::size_t c = 0; c < plan.contenders.size(); ++c) {
    std::ranges::copy_if(plan.cells, std::back_inserter(cells), [c](const Cell& cell) { return cell.contender == c; });
    const Control control = plan.contenders[c].control;
    if (control != Control::kNone && control != Control::kRandomEviction && control != Control::kNoContext) continue;
    for (const auto& [name, sessions] : plan.data) {
      for (std::uint32_t i = 0; i < sessions.size(); ++i) {
        cells.push_back({c, name, plan.settings.contexts.back(), i});
      }
    }
  }
  plan.cells = std::move(cells);
}

Result<std::vector<std::string>> leave_out_impossible(SuiteRunSettings& plan, const Tokenizer& tokenizer) {
  std::map<std::pair<std::string, std::uint32_t>, std::string> why;  // by task and context
  std::set<std::tuple<std::string, std::uint32_t, std::uint32_t, Control>> made;
  for (const Cell& cell : plan.cells) {
    const Control control = plan.contenders[cell.contender].control;
    if (cell.index >= kTriedSessions || plan.data.contains(cell.task) || why.contains({cell.task, cell.context}) ||
        !made.emplace(cell.task, cell.context, cell.index, control).second) {
      continue;
    }
    const Result<EvalSession> session = session_of(cell, control, plan.settings, tokenizer);
    if (!session) why[{cell.task, cell.context}] = session.error().message;
  }
  std::erase_if(plan.cells, [&](const Cell& cell) { return why.contains({cell.task, cell.context}); });
  if (plan.cells.empty()) return fail(ErrorCode::kInvalidArgument, why.begin()->second);
  std::vector<std::string> lines;
  for (const auto& [place, reason] : why) {
    plan.left_out.push_back(place.first + " at " + std::to_string(place.second));
    lines.push_back(plan.left_out.back() + " tokens is left out: " + reason);
  }
  return lines;
}

Status check_contenders(const SuiteRunSettings& plan, std::uint64_t kv_budget_bytes, const Engine& engine) {
  // Forks copy the open tail and add a block or two for the question and the answer of every turn in both modes.
  const std::size_t blocks = plan.settings.contexts.back() / kBlockTokens + 1 + 2 * 3 * plan.settings.turns;
  for (const Contender& contender : plan.contenders) {
    CAIRN_TRY(const auto judged, JudgedEngine::make(engine, contender.recipe, {.kv_budget_bytes = kv_budget_bytes}));
    const std::size_t needed = judged->engine().cache().bytes_of(blocks * kBlockTokens);
    if (needed <= kv_budget_bytes) continue;
    return fail(ErrorCode::kOutOfBudget, "sessions of " + std::to_string(plan.settings.contexts.back()) +
                                             " tokens need " + std::to_string(needed) +
                                             " bytes of keys and values; raise --kv-budget");
  }
  return {};
}

Result<std::unique_ptr<SuiteJournal>> SuiteJournal::open(const std::string& path, const Json& head) {
  std::unique_ptr<SuiteJournal> journal(new SuiteJournal());
  journal->path_ = path;
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    return fail(ErrorCode::kIo, "cannot write '" + path + "': it is no regular file");
  }
  journal->file_ = std::fopen(path.c_str(), "a+");
  if (journal->file_ == nullptr) {
    return fail(ErrorCode::kIo, "cannot write '" + path + "': " + std::strerror(errno));
  }
  if (flock(fileno(journal->file_), LOCK_EX | LOCK_NB) != 0) {
    return fail(ErrorCode::kIo, "another run is writing '" + path + "'; wait for it or choose another --out");
  }
  const std::string text = read_all(journal->file_);
  CAIRN_TRY_VOID(journal->read(text, head));
  if (journal->good_bytes_ < text.size() &&
      ftruncate(fileno(journal->file_), static_cast<off_t>(journal->good_bytes_)) != 0) {
    return fail(ErrorCode::kIo, "cannot cut the broken end off '" + path + "': " + std::strerror(errno));
  }
  if (journal->good_bytes_ == 0) CAIRN_TRY_VOID(journal->write_line(head));
  return journal;
}

SuiteJournal::~SuiteJournal() {
  if (file_ != nullptr) std::fclose(file_);
}

Status SuiteJournal::read(const std::string& text, const Json& head) {
  for (std::size_t end; (end = text.find('\n', good_bytes_)) != text.npos; good_bytes_ = end + 1) {
    const std::optional<Json> parsed = parse_json(std::string_view(text).substr(good_bytes_, end - good_bytes_));
    const Json line = parsed.value_or(Json());
    if (good_bytes_ == 0) {
      if (!line.is_object() || !line.contains("format") || line.at("format") != head.at("format")) {
        return fail(ErrorCode::kCorrupt, "'" + path_ + "' is no journal of this command; choose another --out");
      }
      for (const auto& [key, value] : head.items()) {
        if (line.contains(key) && line.at(key) == value) continue;
        return fail(ErrorCode::kInvalidArgument,
                    "'" + path_ + "' belongs to another run: " + key + " differs; choose another --out or remove it");
      }
      continue;
    }
    if (!line.is_object() || !line.contains("key") || !line.at("key").is_string() || !line.contains("value")) {
      ++broken_lines_;
      continue;
    }
    done_[line.at("key").get<std::string>()] = line.at("value");
  }
  // A run that was killed in its first line has left the beginning of its head; nothing else may be cut off.
  if (good_bytes_ == 0 && !json_line(head).starts_with(text)) {
    return fail(ErrorCode::kCorrupt, "'" + path_ + "' is no journal of this command; choose another --out");
  }
  if (good_bytes_ < text.size()) ++broken_lines_;
  return {};
}

const Json* SuiteJournal::find(const std::string& key) const {
  const auto found = done_.find(key);
  return found == done_.end() ? nullptr : &found->second;
}

Status SuiteJournal::append(const std::string& key, Json value) {
  CAIRN_TRY_VOID(write_line({{"key", key}, {"value", value}}));
  done_[key] = std::move(value);
  return {};
}

Status SuiteJournal::write_line(const Json& line) {
  const std::string text = json_line(line);
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size() || std::fflush(file_) != 0) {
    return fail(ErrorCode::kIo, "cannot write '" + path_ + "': " + std::strerror(errno));
  }
  return {};
}

std::string cell_key(const SuiteRunSettings& plan, const Cell& cell) {
  return contender_label(plan.contenders[cell.contender]) + "|" + cell.task + "|" + std::to_string(cell.context) + "|" +
         std::to_string(cell.index);
}

Json answered_json(const AnsweredCell& answered) {
  Json turns = Json::array();
  for (const TurnOutcome& turn : answered.outcome.turns) {
    turns.push_back({{"mode", mode_name(turn.mode)},
                     {"turn", turn.turn},
                     {"column", answered.columns[turn.turn]},
                     {"depth", answered.depths[turn.turn]},
                     {"score", turn.score},
                     {"correct", turn.correct},
                     {"obeyed", turn.obeyed},
                     {"tokens", turn.answer_tokens},
                     {"cap", turn.hit_cap},
                     {"answer", turn.answer}});
  }
  const SessionOutcome& outcome = answered.outcome;
  return {{"bytes_per_token", outcome.cost.bytes_per_token}, {"bits_per_value", outcome.cost.bits_per_value},
          {"bytes_held", outcome.cost.bytes_held},           {"kept", outcome.cost.kept},
          {"read_fraction", outcome.read_fraction},          {"decode_seconds", outcome.decode.seconds},
          {"decode_tokens", outcome.decode.tokens},          {"turns", std::move(turns)}};
}

std::optional<AnsweredCell> answered_from_json(const Json& json, const Cell& cell) {
  try {
    AnsweredCell answered{.cell = cell, .columns = {}, .depths = {}, .outcome = {}};
    answered.outcome.cost = {json.at("bytes_per_token"), json.at("bits_per_value"), json.at("bytes_held"),
                             json.at("kept")};
    answered.outcome.read_fraction = json.at("read_fraction");
    answered.outcome.decode = {json.at("decode_seconds"), json.at("decode_tokens")};
    for (const Json& turn : json.at("turns")) {
      TurnOutcome& outcome = answered.outcome.turns.emplace_back();
      const auto mode = turn.at("mode").get<std::string>();
      const auto known = std::ranges::find(kModes, mode, mode_name);
      if (known == kModes.end()) return std::nullopt;
      outcome.mode = *known;
      outcome.turn = turn.at("turn");
      outcome.score = turn.at("score");
      outcome.correct = turn.at("correct");
      outcome.obeyed = turn.at("obeyed");
      outcome.answer_tokens = turn.at("tokens");
      outcome.hit_cap = turn.at("cap");
      outcome.answer = turn.at("answer");
      if (outcome.mode != kModes.front()) continue;
      if (outcome.turn != answered.columns.size()) return std::nullopt;
      answered.columns.push_back(turn.at("column"));
      answered.depths.push_back(turn.at("depth"));
    }
    return is_whole(answered) ? std::optional(std::move(answered)) : std::nullopt;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

Result<std::vector<AnsweredCell>> run_suite(const SuiteRunSettings& plan, const SuiteRunControl& control,
                                            std::unique_ptr<Engine> engine, SuiteJournal* journal) {
  return SuiteRunner(plan, control, journal).run(std::move(engine));
}

}  // namespace cairn::eval
