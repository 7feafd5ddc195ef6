// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/reference_logits.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace cairn {
namespace {

class ReferenceLogits : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kVocab = 5;
  const std::string path_ =
      (std::filesystem::temp_directory_path() / ("cairn-reference-" + std::to_string(::getpid()))).string();
  const Digest subject_ = Hasher("test").u32(1).finish();

  void TearDown() override { std::filesystem::remove(path_); }

  void write(std::uint64_t rows) const {
    auto writer = ReferenceWriter::create(path_, subject_, kVocab, rows);
    ASSERT_TRUE(writer);
    for (std::uint64_t r = 0; r < rows; ++r) {
      const float base = static_cast<float>(r);
      ASSERT_TRUE((*writer)->append(std::vector<float>{base, -base, 0.5f * base, 1e-30f, -0.0f}));
    }
    ASSERT_TRUE((*writer)->finish());
  }

  ErrorCode open_error(std::uint64_t rows) const {
    const auto reader = ReferenceReader::open(path_, subject_, kVocab, rows);
    return reader ? ErrorCode::kInternal : reader.error().code;
  }
};

TEST_F(ReferenceLogits, ComeBackAsTheyWere) {
  write(3);
  const auto reader = ReferenceReader::open(path_, subject_, kVocab, 3);
  ASSERT_TRUE(reader);
  for (int r = 0; r < 3; ++r) EXPECT_EQ((*(*reader)->next())[1], -static_cast<float>(r));
}

TEST_F(ReferenceLogits, OfSomethingElseAreRefused) {
  write(3);
  EXPECT_EQ(open_error(4), ErrorCode::kInvalidArgument);
  EXPECT_FALSE(ReferenceReader::open(path_, Digest{}, kVocab, 3));
  EXPECT_FALSE(ReferenceReader::open(path_, subject_, kVocab + 1, 3));
  EXPECT_EQ(ReferenceReader::open(path_ + "-none", subject_, kVocab, 3).error().code, ErrorCode::kNotFound);
}

TEST_F(ReferenceLogits, AnyChangedOrMissingByteIsNoticed) {
  write(2);
  const auto size = std::filesystem::file_size(path_);
  for (std::uintmax_t at = 0; at < size; ++at) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte ^ 0x40));
    file.flush();
    EXPECT_NE(open_error(2), ErrorCode::kInternal) << at;
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte));
  }
  EXPECT_EQ(open_error(2), ErrorCode::kInternal);  // whole again
  for (std::uintmax_t keep = size; keep-- > 0;) {
    std::filesystem::resize_file(path_, keep);
    EXPECT_EQ(open_error(2), ErrorCode::kCorrupt) << keep;
  }
}

TEST_F(ReferenceLogits, AnUnfinishedFileIsNoFile) {
  {
    auto writer = ReferenceWriter::create(path_, subject_, kVocab, 2);
    ASSERT_TRUE(writer);
    ASSERT_TRUE((*writer)->append(std::vector<float>(kVocab)));
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::temp_directory_path())) {
    EXPECT_FALSE(entry.path().string().starts_with(path_)) << entry.path();
  }
}

TEST_F(ReferenceLogits, AnotherFileIsNotOverwritten) {
  std::ofstream(path_) << "a model, say";
  EXPECT_EQ(ReferenceWriter::create(path_, subject_, kVocab, 2).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(std::filesystem::file_size(path_), 12u);
  std::filesystem::remove(path_);
  write(1);
  write(2);  // an older reference may be
}

}  // namespace
}  // namespace cairn
