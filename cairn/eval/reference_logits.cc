// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/reference_logits.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace cairn {
namespace {

constexpr std::array<char, 8> kMagic = {'C', 'A', 'I', 'R', 'N', 'R', 'E', 'F'};
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kDigestBytes = sizeof(Digest::bytes);

struct Head {
  std::array<char, 8> magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t vocab = 0;
  std::uint64_t rows = 0;
  std::array<std::uint8_t, kDigestBytes> subject{};
};
static_assert(sizeof(Head) == 24 + kDigestBytes);

Error io_error(const std::string& what, const std::string& path) {
  return {ErrorCode::kIo, "cannot " + what + " '" + path + "': " + std::strerror(errno)};
}

bool is_reference(const std::string& path, std::filesystem::file_status status) {
  if (!std::filesystem::is_regular_file(status)) return false;
  std::array<char, 8> magic{};
  std::ifstream file(path, std::ios::binary);
  return file.read(magic.data(), magic.size()) && magic == kMagic;
}

}  // namespace

Result<std::unique_ptr<ReferenceWriter>> ReferenceWriter::create(const std::string& path, const Digest& subject,
                                                                 std::uint32_t vocab, std::uint64_t rows) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (std::filesystem::exists(status) && !is_reference(path, status)) {
    return fail(ErrorCode::kInvalidArgument,
                "'" + path + "' exists and is no file of reference logits; choose another name");
  }
  std::unique_ptr<ReferenceWriter> writer(new ReferenceWriter());
  writer->path_ = path;
  std::string partial = path + ".XXXXXX";
  const int created = mkstemp(partial.data());  // a unique name: two runs may write at once
  if (created < 0) return std::unexpected(io_error("write", path));
  ::close(created);
  writer->partial_path_ = partial;
  writer->file_.open(partial, std::ios::binary | std::ios::trunc);
  Head head{.vocab = vocab, .rows = rows, .subject = subject.bytes};
  if (!writer->file_.write(reinterpret_cast<const char*>(&head), sizeof head)) {
    return std::unexpected(io_error("write", writer->partial_path_));
  }
  return writer;
}

ReferenceWriter::~ReferenceWriter() {
  if (finished_) return;
  file_.close();
  std::remove(partial_path_.c_str());
}

Status ReferenceWriter::append(std::span<const float> row) {
  hasher_.bytes(std::as_bytes(row));
  if (!file_.write(reinterpret_cast<const char*>(row.data()), static_cast<std::streamsize>(row.size_bytes()))) {
    return std::unexpected(io_error("write", partial_path_));
  }
  return {};
}

Status ReferenceWriter::finish() {
  const Digest digest = hasher_.finish();
  file_.write(reinterpret_cast<const char*>(digest.bytes.data()), kDigestBytes);
  file_.close();
  if (!file_) return std::unexpected(io_error("write", partial_path_));
  if (std::rename(partial_path_.c_str(), path_.c_str()) != 0) return std::unexpected(io_error("write", path_));
  finished_ = true;
  return {};
}

Result<std::unique_ptr<ReferenceReader>> ReferenceReader::open(const std::string& path, const Digest& subject,
                                                               std::uint32_t vocab, std::uint64_t rows) {
  std::unique_ptr<ReferenceReader> reader(new ReferenceReader());
  reader->path_ = path;
  reader->row_.resize(vocab);
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error == std::errc::no_such_file_or_directory) return fail(ErrorCode::kNotFound, "no such file: '" + path + "'");
  if (!error && std::filesystem::is_regular_file(path)) reader->file_.open(path, std::ios::binary);
  if (error || !reader->file_.is_open()) return fail(ErrorCode::kIo, "cannot read '" + path + "'");
  Head head;
  reader->file_.read(reinterpret_cast<char*>(&head), sizeof head);
  if (!reader->file_ || head.magic != kMagic) {
    return fail(ErrorCode::kCorrupt, "'" + path + "' is no file of reference logits");
  }
  if (head.version != kVersion) {
    return fail(ErrorCode::kUnsupported,
                "'" + path + "' has version " + std::to_string(head.version) + "; make it anew with --save-reference");
  }
  if (head.subject != subject.bytes || head.vocab != vocab || head.rows != rows) {
    return fail(ErrorCode::kInvalidArgument, "'" + path +
                                                 "' holds the logits of another model, text or window layout; make it "
                                                 "anew with --save-reference");
  }
  const std::size_t row_bytes = std::size_t{vocab} * sizeof(float);
  Hasher hasher("cairn.reference-rows.v1");
  bool whole = size == sizeof head + rows * row_bytes + kDigestBytes;
  for (std::uint64_t r = 0; whole && r < rows; ++r) {
    whole = static_cast<bool>(
        reader->file_.read(reinterpret_cast<char*>(reader->row_.data()), static_cast<std::streamsize>(row_bytes)));
    hasher.bytes(std::as_bytes(std::span(reader->row_)));
  }
  Digest stored;
  whole = whole && reader->file_.read(reinterpret_cast<char*>(stored.bytes.data()), kDigestBytes) &&
          stored == hasher.finish();
  if (!whole) {
    return fail(ErrorCode::kCorrupt, "'" + path + "' is truncated or damaged; make it anew with --save-reference");
  }
  reader->file_.seekg(sizeof head);
  return reader;
}

Result<std::span<const float>> ReferenceReader::next() {
  if (!file_.read(reinterpret_cast<char*>(row_.data()), static_cast<std::streamsize>(row_.size() * sizeof(float)))) {
    return fail(ErrorCode::kIo, "cannot read on in '" + path_ + "'");
  }
  return std::span<const float>(row_);
}

}  // namespace cairn
