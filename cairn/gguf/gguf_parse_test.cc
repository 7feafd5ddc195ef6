// SPDX-License-Identifier: Apache-2.0
// Every way in which bytes can contradict the format, by example.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "cairn/gguf/gguf.h"
#include "cairn/testing/gguf_builder.h"

namespace cairn {
namespace {

Error error_of(const std::vector<std::byte>& bytes) {
  const auto file = GgufFile::parse(bytes);
  if (file) return {ErrorCode::kInternal, "parsed without an error"};
  EXPECT_EQ(file.error().message.find('\n'), std::string::npos) << "more than one line: " << file.error().message;
  return file.error();
}

void expect_error(const std::vector<std::byte>& bytes, ErrorCode code, const std::string& part) {
  const Error error = error_of(bytes);
  EXPECT_EQ(error_code_name(error.code), error_code_name(code)) << error.message;
  EXPECT_NE(error.message.find(part), std::string::npos) << "'" << error.message << "' lacks '" << part << "'";
}

GgufBuilder::Tensor tensor(std::vector<std::uint64_t> dims, std::uint32_t type = 0, std::size_t size = 16) {
  return {.name = "t", .dims = std::move(dims), .type = type, .data = std::vector<std::byte>(size)};
}

TEST(GgufParse, TruncationAnywhereIsAnError) {
  const std::vector<std::byte> whole = small_gguf().build();
  ASSERT_TRUE(GgufFile::parse(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    // A copy of exact length, so that a sanitizer sees any read past the end.
    const std::vector<std::byte> part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const Error error = error_of(part);
    EXPECT_EQ(error.code, ErrorCode::kCorrupt) << size << ": " << error.message;
  }
}

TEST(GgufParse, Header) {
  expect_error({}, ErrorCode::kCorrupt, "the file ends inside the magic number");
  std::vector<std::byte> bytes = small_gguf().build();
  bytes[0] = std::byte{'g'};
  expect_error(bytes, ErrorCode::kCorrupt, "not a GGUF file");
  expect_error(small_gguf().version(1).build(), ErrorCode::kUnsupported, "version 1");
  expect_error(small_gguf().version(4).build(), ErrorCode::kUnsupported, "version 4");
  expect_error(small_gguf().version(0).build(), ErrorCode::kUnsupported, "version 0");
  expect_error(small_gguf().version(0x03000000).build(), ErrorCode::kUnsupported, "big-endian");
  EXPECT_TRUE(GgufFile::parse(small_gguf().version(2).build()));
}

TEST(GgufParse, CountsBeyondTheFileAreRefusedBeforeAllocating) {
  for (const std::uint64_t count : {std::uint64_t{1000}, std::uint64_t{1} << 40, UINT64_MAX}) {
    std::vector<std::byte> bytes = small_gguf().build();
    std::memcpy(bytes.data() + 8, &count, sizeof count);
    expect_error(bytes, ErrorCode::kCorrupt, "tensors it announces");
    bytes = small_gguf().build();
    std::memcpy(bytes.data() + 16, &count, sizeof count);
    expect_error(bytes, ErrorCode::kCorrupt, "metadata entries it announces");
    expect_error(GgufBuilder().raw("a", GgufBuilder::kArray, ByteWriter().number(5u).number(count).take()).build(),
                 ErrorCode::kCorrupt, "elements, more than the file can hold");
    expect_error(GgufBuilder().raw("a", GgufBuilder::kArray, ByteWriter().number(8u).number(count).take()).build(),
                 ErrorCode::kCorrupt, "elements, more than the file can hold");
  }
}

TEST(GgufParse, Strings) {
  for (const std::uint64_t length : {std::uint64_t{1} << 63, UINT64_MAX, std::uint64_t{100}}) {
    const auto payload = ByteWriter().number(length).take();
    expect_error(GgufBuilder().raw("k", GgufBuilder::kString, payload).build(), ErrorCode::kCorrupt, "value of 'k'");
    const auto in_array = ByteWriter().number(8u).number(std::uint64_t{1}).number(length).take();
    expect_error(GgufBuilder().raw("k", GgufBuilder::kArray, in_array).build(), ErrorCode::kCorrupt, "value of 'k'");
    std::vector<std::byte> key = small_gguf().build();
    std::memcpy(key.data() + 24, &length, sizeof length);
    EXPECT_EQ(error_of(key).code, ErrorCode::kCorrupt);
  }
  expect_error(GgufBuilder().set("", true).set("room for one", true).build(), ErrorCode::kCorrupt, "key 0 is empty");
  expect_error(GgufBuilder().set(std::string(70000, 'k'), true).build(), ErrorCode::kCorrupt, "absurd length");
}

TEST(GgufParse, MetadataTypes) {
  expect_error(GgufBuilder().raw("k", 13, ByteWriter().number(1.0).take()).build(), ErrorCode::kCorrupt,
               "the value of 'k' has the unknown type 13");
  const auto unknown_elements = ByteWriter().number(99u).number(std::uint64_t{0}).take();
  expect_error(GgufBuilder().raw("k", GgufBuilder::kArray, unknown_elements).build(), ErrorCode::kCorrupt, "type 99");
  const auto nested = ByteWriter().number(9u).number(std::uint64_t{1}).number(5u).number(std::uint64_t{0}).take();
  expect_error(GgufBuilder().raw("k", GgufBuilder::kArray, nested).build(), ErrorCode::kUnsupported, "array of arrays");
  expect_error(GgufBuilder().set("k", true).set("k", false).build(), ErrorCode::kCorrupt, "'k' occurs twice");
}

TEST(GgufParse, Alignment) {
  for (const std::uint32_t bad : {0u, 1u, 3u, 33u, 1u << 31}) {
    expect_error(small_gguf().erase("general.alignment").set("general.alignment", bad).build(), ErrorCode::kCorrupt,
                 "general.alignment must be a power of two");
  }
  expect_error(small_gguf().erase("general.alignment").set("general.alignment", "32").build(), ErrorCode::kCorrupt,
               "'general.alignment' must be an unsigned integer");
  const auto wide = small_gguf().alignment(64).erase("general.alignment").set("general.alignment", 64u).build();
  const auto file = GgufFile::parse(wide);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->tensors()[1].offset, 64u);
  EXPECT_EQ(file->tensors()[1].to_f32(), (std::vector<float>{1, 2, 3}));
}

TEST(GgufParse, TensorShapes) {
  expect_error(GgufBuilder().tensor(tensor({})).build(), ErrorCode::kCorrupt, "0 dimensions");
  expect_error(GgufBuilder().tensor(tensor({1, 1, 1, 1, 1})).build(), ErrorCode::kCorrupt, "5 dimensions");
  expect_error(GgufBuilder().tensor(tensor({4, 0})).build(), ErrorCode::kCorrupt, "dimension of 0");
  const std::uint64_t large = std::uint64_t{1} << 32;
  expect_error(GgufBuilder().tensor(tensor({large, large})).build(), ErrorCode::kCorrupt, "too large");
  expect_error(GgufBuilder().tensor(tensor({large, large - 1})).build(), ErrorCode::kCorrupt, "too large");
  expect_error(GgufBuilder().tensor(tensor({UINT64_MAX, 1, 1, 2}, 77)).build(), ErrorCode::kCorrupt, "too large");
  expect_error(GgufBuilder().tensor(tensor({33}, 8, 64)).build(), ErrorCode::kCorrupt, "not a multiple of 32");
  expect_error(GgufBuilder().tensor(tensor({96, 8}, 12, 1024)).build(), ErrorCode::kCorrupt,
               "tensor 't' of type Q4_K has rows of 96 values, not a multiple of 256");
  expect_error(GgufBuilder().tensor(tensor({5})).build(), ErrorCode::kCorrupt, "beyond the end of the file");
  EXPECT_TRUE(GgufFile::parse(GgufBuilder().tensor(tensor({2, 1, 2, 1})).build()));
}

TEST(GgufParse, TensorPlaces) {
  const auto at = [](std::uint64_t offset) {
    GgufBuilder::Tensor placed = tensor({4});
    placed.offset = offset;
    return GgufBuilder().tensor(placed).build();
  };
  EXPECT_TRUE(GgufFile::parse(at(0)));
  expect_error(at(4), ErrorCode::kCorrupt, "misaligned");
  expect_error(at(32), ErrorCode::kCorrupt, "outside the file");
  expect_error(at(UINT64_MAX - 31), ErrorCode::kCorrupt, "outside the file");
  expect_error(GgufBuilder().tensor(tensor({4})).tensor(tensor({4})).build(), ErrorCode::kCorrupt,
               "tensor 't' occurs twice");
}

TEST(GgufParse, NamesInMessagesStayOnOneLine) {
  GgufBuilder::Tensor odd = tensor({0});
  odd.name = "line\nbreak" + std::string(500, 'x');
  const Error error = error_of(GgufBuilder().tensor(odd).build());
  EXPECT_NE(error.message.find("'line?break"), std::string::npos);
  EXPECT_LT(error.message.size(), 300u);
}

}  // namespace
}  // namespace cairn
