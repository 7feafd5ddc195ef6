// SPDX-License-Identifier: Apache-2.0
#include "cairn/gguf/gguf.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cairn/testing/gguf_builder.h"

namespace cairn {
namespace {

// The file and the bytes that it views.
struct Parsed {
  std::vector<std::byte> bytes;
  Result<GgufFile> file;

  explicit Parsed(const GgufBuilder& builder) : bytes(builder.build()), file(GgufFile::parse(bytes)) {}
  const GgufFile* operator->() const { return &*file; }
};

TEST(Gguf, ReadsEveryMetadataType) {
  const Parsed file(GgufBuilder()
                        .set("u8", std::uint8_t{200})
                        .set("i8", std::int8_t{-7})
                        .set("u16", std::uint16_t{60000})
                        .set("i16", std::int16_t{-300})
                        .set("u32", std::uint32_t{4000000000})
                        .set("i32", std::int32_t{-5})
                        .set("f32", 1.5f)
                        .set("bool", true)
                        .set("text", "h\xc3\xa9llo")
                        .set("u64", std::uint64_t{1} << 40)
                        .set("i64", std::int64_t{-1} << 40)
                        .set("f64", 0.1)
                        .array("names", std::vector<std::string>{"a", "", "ccc"})
                        .array("floats", std::vector<float>{1, -2.5f})
                        .array("ints", std::vector<std::int32_t>{3, -4, 5})
                        .array("none", std::vector<std::string>{}));
  ASSERT_TRUE(file.file) << file.file.error().message;
  EXPECT_EQ(file->get<std::uint32_t>("u8"), 200u);
  EXPECT_EQ(file->get<std::int32_t>("i8"), -7);
  EXPECT_EQ(file->get<std::uint64_t>("u16"), 60000u);
  EXPECT_EQ(file->get<std::int64_t>("i16"), -300);
  EXPECT_EQ(file->get<std::uint32_t>("u32"), 4000000000u);
  EXPECT_EQ(file->get<std::int32_t>("i32"), -5);
  EXPECT_EQ(file->get<float>("f32"), 1.5f);
  EXPECT_EQ(file->get<double>("f32"), 1.5);
  EXPECT_EQ(file->get<bool>("bool"), true);
  EXPECT_EQ(file->get<std::string_view>("text"), "h\xc3\xa9llo");
  EXPECT_EQ(file->get<std::string>("text"), "h\xc3\xa9llo");
  EXPECT_EQ(file->get<std::uint64_t>("u64"), std::uint64_t{1} << 40);
  EXPECT_EQ(file->get<std::int64_t>("i64"), std::int64_t{-1} << 40);
  EXPECT_EQ(file->get<double>("f64"), 0.1);
  EXPECT_EQ(file->get<float>("u8"), 200.0f);
  EXPECT_EQ(file->get<std::vector<std::string_view>>("names"), (std::vector<std::string_view>{"a", "", "ccc"}));
  EXPECT_EQ(file->get<std::vector<float>>("floats"), (std::vector<float>{1, -2.5f}));
  EXPECT_EQ(file->get<std::vector<std::int32_t>>("ints"), (std::vector<std::int32_t>{3, -4, 5}));
  EXPECT_EQ(file->get<std::vector<float>>("ints"), (std::vector<float>{3, -4, 5}));
  EXPECT_EQ(file->get<std::vector<std::string_view>>("none")->size(), 0u);
  EXPECT_EQ(file->metadata().size(), 16u);
  EXPECT_EQ(file->metadata()[8].key, "text");
}

TEST(Gguf, WrongTypesAreNamed) {
  const Parsed file(GgufBuilder()
                        .set("count", "twelve")
                        .set("negative", std::int32_t{-1})
                        .set("large", std::uint64_t{1} << 32)
                        .set("half", 0.5f)
                        .array("names", std::vector<std::string>{"x"})
                        .array("wide", std::vector<std::int64_t>{std::int64_t{1} << 40}));
  ASSERT_TRUE(file.file);
  const auto count = file->get<std::uint32_t>("count");
  ASSERT_FALSE(count);
  EXPECT_EQ(count.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(count.error().message,
            "metadata 'count' must be an unsigned 32-bit integer, but is 'twelve' of type string");
  const auto missing = file->get<bool>("nothing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(missing.error().message, "the metadata has no 'nothing'");

  EXPECT_FALSE(file->get<std::uint32_t>("negative"));
  EXPECT_FALSE(file->get<std::uint32_t>("large"));
  EXPECT_FALSE(file->get<std::uint32_t>("half"));
  EXPECT_FALSE(file->get<bool>("negative"));
  EXPECT_FALSE(file->get<std::string_view>("names"));
  EXPECT_FALSE(file->get<std::vector<float>>("names"));
  EXPECT_FALSE(file->get<std::vector<std::string_view>>("count"));
  EXPECT_FALSE(file->get<std::vector<std::int32_t>>("wide"));
  EXPECT_EQ(file->get_or<std::uint32_t>("nothing", 7u), 7u);
  EXPECT_FALSE(file->get_or<std::uint32_t>("count", 7u));
}

TEST(Gguf, PreviewsAreShortAndPrintable) {
  const Parsed file(GgufBuilder()
                        .set("small", std::uint8_t{3})
                        .set("ratio", 0.25f)
                        .set("text", "two\nlines")
                        .set("long", std::string(1000, 'x'))
                        .array("names", std::vector<std::string>{"a", "b", "c", "d", "e"})
                        .array("flags", std::vector<std::uint16_t>{1, 2}));
  ASSERT_TRUE(file.file);
  EXPECT_EQ(file->find("small")->preview(), "3");
  EXPECT_EQ(file->find("ratio")->preview(), "0.25");
  EXPECT_EQ(file->find("text")->preview(), "'two?lines'");
  EXPECT_EQ(file->find("long")->preview(), "'" + std::string(64, 'x') + "...'");
  EXPECT_EQ(file->find("names")->preview(), "['a', 'b', 'c', 'd', ... 5 in all]");
  EXPECT_EQ(file->find("flags")->preview(), "[1, 2]");
  EXPECT_EQ(file->find("names")->type_name(), "array of string");
}

TEST(Gguf, LongTextIsNotCutInsideACharacter) {
  const std::string text = std::string(63, 'x') + "\xe2\x82\xac" + "tail";
  EXPECT_EQ(in_quotes(text), "'" + std::string(63, 'x') + "...'");
}

TEST(Gguf, FindsTensorsAndTheirBytes) {
  const std::vector<float> small = {1, 2, 3};
  const std::vector<float> large = {1, 2, 3, 4, 5, 6};
  const Parsed file(GgufBuilder().tensor_f32("b", {3}, small).tensor_f32("a", {3, 2}, large));
  ASSERT_TRUE(file.file) << file.file.error().message;
  const GgufTensor* a = file->find_tensor("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->cols(), 3u);
  EXPECT_EQ(a->rows(), 2u);
  EXPECT_EQ(a->shape(), "[3, 2]");
  EXPECT_EQ(a->offset, 32u);
  EXPECT_EQ(a->data.size(), 24u);
  EXPECT_EQ(a->format(), WeightFormat::kF32);
  EXPECT_EQ(a->to_f32(), large);
  EXPECT_EQ(file->find_tensor("b")->to_f32(), small);
  EXPECT_EQ(file->find_tensor("c"), nullptr);
  EXPECT_EQ(file->tensors()[0].name, "b");
  file->release(*a);
}

TEST(Gguf, OtherTensorTypesAreListedButNotComputed) {
  const Parsed file(GgufBuilder()
                        .tensor({.name = "iq1", .dims = {256}, .type = 19, .data = std::vector<std::byte>(50)})
                        .tensor({.name = "new", .dims = {999}, .type = 77, .data = {}}));
  ASSERT_TRUE(file.file) << file.file.error().message;
  const auto known = file->find_tensor("iq1")->format();
  ASSERT_FALSE(known);
  EXPECT_EQ(known.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(known.error().message.find("tensor 'iq1' has type IQ1_S (19)"), std::string::npos);
  EXPECT_EQ(file->find_tensor("iq1")->data.size(), 50u);
  const auto unknown = file->find_tensor("new")->to_f32();
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("'new' has type type 77"), std::string::npos);
  EXPECT_TRUE(file->find_tensor("new")->data.empty());
}

TEST(Gguf, TypeTablesAgree) {
  std::set<std::uint32_t> numbers;
  for (std::uint32_t number = 0; number < 100; ++number) {
    const GgufTensorType* type = find_gguf_tensor_type(number);
    const WeightFormatInfo* format = find_weight_format(number);
    if (format == nullptr) continue;
    ASSERT_NE(type, nullptr) << format->name;
    EXPECT_EQ(type->name, format->name);
    EXPECT_EQ(type->block_values, format->block_values);
    EXPECT_EQ(type->block_bytes, format->block_bytes);
    numbers.insert(number);
  }
  EXPECT_EQ(numbers.size(), weight_formats().size());
}

TEST(Gguf, OpenNamesThePathAndSurvivesMoves) {
  const std::string path = testing::TempDir() + "cairn_gguf_test.gguf";
  const std::vector<float> values = {1, 2, 3};
  const auto bytes = GgufBuilder().set("name", "kept").tensor_f32("t", {3}, values).build();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  auto opened = GgufFile::open(path);
  ASSERT_TRUE(opened) << opened.error().message;
  const std::string_view name = *opened->get<std::string_view>("name");
  const GgufFile moved = *std::move(opened);
  EXPECT_EQ(name, "kept");
  moved.release(*moved.find_tensor("t"));
  EXPECT_EQ(moved.find_tensor("t")->to_f32(), values);

  std::ofstream(path, std::ios::binary) << "not a model";
  const auto wrong = GgufFile::open(path);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message, path + ": this is not a GGUF file: it does not start with the letters GGUF");
}

TEST(Gguf, LargeVocabulariesAreFast) {
  std::vector<std::string> tokens;
  for (int i = 0; i < 150000; ++i) tokens.push_back("token" + std::to_string(i));
  const Parsed file(GgufBuilder().array("tokens", tokens));
  ASSERT_TRUE(file.file);
  const auto views = file->get<std::vector<std::string_view>>("tokens");
  ASSERT_EQ(views->size(), tokens.size());
  EXPECT_EQ(views->back(), tokens.back());
  // Views of the file, not copies.
  EXPECT_GE(reinterpret_cast<const std::byte*>(views->back().data()), file.bytes.data());
  EXPECT_LT(reinterpret_cast<const std::byte*>(views->back().data()), file.bytes.data() + file.bytes.size());
}

}  // namespace
}  // namespace cairn
