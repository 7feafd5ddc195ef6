// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/suite_journal.h"

#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

namespace cairn::cli {
namespace {

std::string read_all(std::FILE* file) {
  std::string text;
  char buffer[65536];
  std::rewind(file);
  while (const std::size_t count = std::fread(buffer, 1, sizeof buffer, file)) text.append(buffer, count);
  return text;
}

std::string one_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
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
  if (good_bytes_ == 0 && !one_line(head).starts_with(text)) {
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
  const std::string text = one_line(line);
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size() || std::fflush(file_) != 0) {
    return fail(ErrorCode::kIo, "cannot write '" + path_ + "': " + std::strerror(errno));
  }
  return {};
}

}  // namespace cairn::cli
