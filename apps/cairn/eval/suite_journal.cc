// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/suite_journal.h"

#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace cairn {
namespace {

std::string read_all(std::FILE* file) {
  std::string text;
  char buffer[65536];
  std::rewind(file);
  while (const std::size_t count = std::fread(buffer, 1, sizeof buffer, file)) text.append(buffer, count);
  return text;
}

Json parse(const std::string& line) {
  return Json::parse(line, nullptr, /*allow_exceptions=*/false);
}

}  // namespace

Result<std::unique_ptr<SuiteJournal>> SuiteJournal::open(const std::string& path, const Json& head) {
  std::unique_ptr<SuiteJournal> journal(new SuiteJournal());
  journal->path_ = path;
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
    Json line = parse(text.substr(good_bytes_, end - good_bytes_));
    if (good_bytes_ == 0) {
      if (!line.is_object() || line.value("format", "") != head.at("format")) {
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
    done_[line.at("key").get<std::string>()] = std::move(line.at("value"));
  }
  if (good_bytes_ == 0 && !text.empty() && text.front() != '{') {
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
  const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size() || std::fflush(file_) != 0) {
    return fail(ErrorCode::kIo, "cannot write '" + path_ + "': " + std::strerror(errno));
  }
  return {};
}

}  // namespace cairn
