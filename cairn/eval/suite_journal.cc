// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/suite_journal.h"

#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>
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
  if (!(is_share(answered.outcome.read_fraction) && answered.outcome.box_bytes >= 0 && decode.seconds >= 0 &&
        decode.seconds < 1e9))
    return false;
  if (std::ranges::any_of(answered.depths, [](std::uint32_t depth) { return depth > kUnknownDepth; })) return false;
  for (std::size_t i = 0; i < answered.outcome.turns.size(); ++i) {
    const TurnOutcome& turn = answered.outcome.turns[i];
    if (turn.mode != kModes[i / turns] || turn.turn != i % turns) return false;
    if (!is_share(turn.score)) return false;
  }
  return true;
}

}  // namespace

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
  return {{"bytes_per_token", outcome.cost.bytes_per_token},
          {"bits_per_value", outcome.cost.bits_per_value},
          {"bytes_held", outcome.cost.bytes_held},
          {"kept", outcome.cost.kept},
          {"read_fraction", outcome.read_fraction},
          {"box_bytes", outcome.box_bytes},
          {"decode_seconds", outcome.decode.seconds},
          {"decode_tokens", outcome.decode.tokens},
          {"turns", std::move(turns)}};
}

std::optional<AnsweredCell> answered_from_json(const Json& json, const Cell& cell) {
  try {
    AnsweredCell answered{.cell = cell, .columns = {}, .depths = {}, .outcome = {}};
    answered.outcome.cost = {json.at("bytes_per_token"), json.at("bits_per_value"), json.at("bytes_held"),
                             json.at("kept")};
    answered.outcome.read_fraction = json.at("read_fraction");
    answered.outcome.box_bytes = json.at("box_bytes");
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

}  // namespace cairn::eval
