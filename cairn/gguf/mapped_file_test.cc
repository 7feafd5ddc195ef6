// SPDX-License-Identifier: Apache-2.0
#include "cairn/gguf/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace cairn {
namespace {

std::string write_file(const std::string& name, const std::string& contents) {
  const std::string path = testing::TempDir() + "cairn_mapped_" + name;
  std::ofstream(path, std::ios::binary) << contents;
  return path;
}

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(MappedFile, HoldsTheFileAndMoves) {
  const std::string path = write_file("plain", "some bytes");
  Result<MappedFile> opened = MappedFile::open(path);
  ASSERT_TRUE(opened) << opened.error().message;
  const std::byte* address = opened->bytes().data();
  MappedFile moved = *std::move(opened);
  EXPECT_EQ(moved.bytes().data(), address);
  EXPECT_EQ(text_of(moved), "some bytes");
  Result<MappedFile> other = MappedFile::open(path);
  ASSERT_TRUE(other);
  moved = *std::move(other);
  EXPECT_EQ(text_of(moved), "some bytes");
}

TEST(MappedFile, NamesWhatCannotBeMapped) {
  const Result<MappedFile> missing = MappedFile::open("/no/such/file.gguf");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_NE(missing.error().message.find("/no/such/file.gguf"), std::string::npos);

  const Result<MappedFile> directory = MappedFile::open(testing::TempDir());
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().code, ErrorCode::kIo);
  EXPECT_NE(directory.error().message.find("directory"), std::string::npos);

  const Result<MappedFile> empty = MappedFile::open(write_file("empty", ""));
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().code, ErrorCode::kCorrupt);

  const std::string pipe = testing::TempDir() + "cairn_mapped_pipe";
  std::filesystem::remove(pipe);
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const Result<MappedFile> fifo = MappedFile::open(pipe);
  ASSERT_FALSE(fifo);
  EXPECT_EQ(fifo.error().code, ErrorCode::kIo);
}

TEST(MappedFile, ReleasedPagesReadTheSame) {
  const std::size_t size = 5 * 4096 + 100;
  std::string contents(size, '\0');
  for (std::size_t i = 0; i < size; ++i) contents[i] = static_cast<char>(i * 31);
  Result<MappedFile> file = MappedFile::open(write_file("pages", contents));
  ASSERT_TRUE(file);
  file->release(file->bytes().subspan(1, 50));          // no whole page
  file->release(file->bytes().subspan(size));           // nothing
  file->release(file->bytes().subspan(100, 3 * 4096));  // two whole pages
  file->release(file->bytes());
  EXPECT_EQ(text_of(*file), contents);
}

}  // namespace
}  // namespace cairn
