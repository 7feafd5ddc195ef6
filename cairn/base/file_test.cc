// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

namespace cairn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class File : public ::testing::Test {
 protected:
  File() { fs::create_directory(folder_); }
  ~File() override { fs::remove_all(folder_); }

  std::string text_of(const fs::path& path) const {
    const auto bytes = read_file(path.string(), 100);
    if (!bytes) return bytes.error().message;
    return {reinterpret_cast<const char*>(bytes->data()), bytes->size()};
  }
  std::ptrdiff_t entries() const { return std::distance(fs::directory_iterator(folder_), {}); }

  const fs::path folder_ = fs::temp_directory_path() / ("cairn-file-" + std::to_string(::getpid()));
  const fs::path path_ = folder_ / "file";
};

TEST_F(File, ComesBackAndIsReplaced) {
  for (const std::string text : {"first", "", "second\n"}) {
    ASSERT_TRUE(write_file(path_.string(), text));
    EXPECT_EQ(text_of(path_), text);
    EXPECT_EQ(entries(), 1);
  }
}

TEST_F(File, ALinkStaysALink) {
  ASSERT_TRUE(write_file(path_.string(), "old"));
  fs::create_symlink("file", folder_ / "link");
  ASSERT_TRUE(write_file((folder_ / "link").string(), "new"));
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(text_of(path_), "new");
}

TEST_F(File, WhatCannotBeReadSaysWhy) {
  const auto error = [](const fs::path& path, std::size_t max_bytes = 100) {
    return read_file(path.string(), max_bytes).error();
  };
  EXPECT_EQ(error(path_).code, ErrorCode::kNotFound);
  EXPECT_EQ(error(folder_).code, ErrorCode::kIo);
  EXPECT_EQ(error("/dev/null").code, ErrorCode::kIo);
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(error(folder_ / "pipe").code, ErrorCode::kIo);
  ASSERT_TRUE(write_file(path_.string(), "12345"));
  EXPECT_EQ(error(path_, 4).code, ErrorCode::kCorrupt);
  EXPECT_THAT(error(path_, 4).message, HasSubstr("has 5 bytes"));
  EXPECT_TRUE(read_file(path_.string(), 5));
}

TEST_F(File, WhatCannotBeWrittenLeavesNothing) {
  EXPECT_EQ(write_file(folder_.string(), "x").error().code, ErrorCode::kIo);
  EXPECT_EQ(write_file((folder_ / "no" / "file").string(), "x").error().code, ErrorCode::kIo);
  EXPECT_EQ(entries(), 0);
}

}  // namespace
}  // namespace cairn
