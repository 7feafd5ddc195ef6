// SPDX-License-Identifier: Apache-2.0
#include "cairn/gguf/gguf_split.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <vector>

#include "cairn/testing/gguf_builder.h"
#include "cairn/testing/test_folder.h"

namespace cairn {
namespace {

// Three files of a model of five tensors, as gguf-split makes them: metadata in the first alone.
class GgufSplit : public ::testing::Test {
 protected:
  GgufSplit() {
    const auto part = [](std::uint16_t number) {
      GgufBuilder builder;
      if (number == 0) builder.set("general.architecture", "llama").set("general.name", "a model");
      builder.set("split.no", number).set("split.count", std::uint16_t{3});
      return builder.set("split.tensors.count", std::int32_t{5});
    };
    for (std::uint16_t number = 0; number < 3; ++number) parts.push_back(part(number));
    add(0, "e", 1000);
    add(0, "a", 3);
    add(1, "c", 2000);
    add(1, "b", 5);
    add(2, "d", 10);
  }

  void add(std::size_t part, const char* name, std::size_t count) {
    std::vector<float> values(count);
    std::iota(values.begin(), values.end(), static_cast<float>(name[0]));
    parts[part].tensor_f32(name, {count}, values);
  }

  std::string path(std::size_t part) const {
    return folder.path() + "/model-0000" + std::to_string(part + 1) + "-of-00003.gguf";
  }
  static void write(const std::string& path, const GgufBuilder& builder) {
    const auto bytes = builder.build();
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  void write_all() const {
    for (std::size_t part = 0; part < parts.size(); ++part) write(path(part), parts[part]);
  }

  // What opening any of the parts says, which must be one line.
  void expect_refusal(ErrorCode code, const std::string& says) const {
    for (std::size_t part = 0; part < parts.size(); ++part) {
      if (!std::filesystem::exists(path(part))) continue;
      const auto file = GgufFile::open(path(part));
      ASSERT_FALSE(file) << says;
      EXPECT_EQ(error_code_name(file.error().code), error_code_name(code)) << file.error().message;
      EXPECT_NE(file.error().message.find(says), std::string::npos) << file.error().message;
      EXPECT_EQ(file.error().message.find('\n'), std::string::npos) << file.error().message;
    }
  }

  TestFolder folder;
  std::vector<GgufBuilder> parts;
};

TEST_F(GgufSplit, OpensFromAnyPart) {
  write_all();
  std::uint64_t size = 0;
  for (std::size_t part = 0; part < 3; ++part) size += std::filesystem::file_size(path(part));
  for (std::size_t part = 0; part < 3; ++part) {
    const auto file = GgufFile::open(path(part));
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->get<std::string_view>("general.name"), "a model");
    EXPECT_EQ(file->size_bytes(), size);
    std::string names;
    for (const GgufTensor& tensor : file->tensors()) names += tensor.name;
    EXPECT_EQ(names, "eacbd");
    for (const char* name : {"a", "b", "c", "d", "e"}) {
      const GgufTensor* tensor = file->find_tensor(name);
      ASSERT_NE(tensor, nullptr) << name;
      file->release(*tensor);
      EXPECT_EQ(tensor->to_f32()->front(), static_cast<float>(name[0]));
      EXPECT_EQ(tensor->to_f32()->back(), static_cast<float>(name[0]) + static_cast<float>(tensor->cols()) - 1);
    }
  }
}

TEST_F(GgufSplit, AWholeModelNeedsNoName) {
  GgufBuilder whole = parts[2].erase("split.count").set("split.count", std::uint16_t{1});
  write(folder.path() + "/anything", whole);
  EXPECT_TRUE(GgufFile::open(folder.path() + "/anything"));
}

TEST_F(GgufSplit, AWholeModelIsNotNamedAsAPart) {
  for (const auto count : {std::uint16_t{0}, std::uint16_t{1}, std::uint16_t{2}}) {
    GgufBuilder whole = parts[0].erase("split.count");
    if (count < 2) whole.set("split.count", count);  // else it says nothing of parts
    for (const std::string name : {"model-00001-of-00003.gguf", "model-00003-of-00003.gguf"}) {
      const std::string path = folder.path() + "/" + name;
      write(path, whole);
      const auto file = GgufFile::open(path);
      ASSERT_FALSE(file) << path << " " << count;
      EXPECT_EQ(error_code_name(file.error().code), error_code_name(ErrorCode::kCorrupt));
      EXPECT_EQ(file.error().message, path + ": its name says that it is part " + name[10] +
                                          " of 3 of a model, but the file says that it is whole; fetch the parts "
                                          "again, or rename a model that is whole");
    }
    for (const char* name : {"model-00001-of-00001.gguf", "model-0001-of-0003.gguf", "model-00001-of-0000x.gguf",
                             "00001-of-00003.gguf", "model-00001-of-00003.gguf.bak"}) {
      const std::string path = folder.path() + "/" + name;
      write(path, whole);
      EXPECT_TRUE(GgufFile::open(path)) << path;
    }
  }
}

TEST_F(GgufSplit, MissingPartsAreNamed) {
  write_all();
  std::filesystem::remove(path(1));
  expect_refusal(ErrorCode::kNotFound, "part 2 of 3 of the model is missing: cannot open '" + path(1) + "'");
}

TEST_F(GgufSplit, NamesTellTheOtherParts) {
  write_all();
  const std::string renamed = folder.path() + "/model.gguf";
  std::filesystem::rename(path(1), renamed);
  const auto file = GgufFile::open(renamed);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().message, renamed +
                                      ": this is part 2 of 3 of a model, but its name does not end with "
                                      "-00002-of-00003.gguf; give all parts the names they had, in one folder");
}

TEST_F(GgufSplit, PartsMustBeWhatTheirNamesSay) {
  std::swap(parts[1], parts[2]);
  write_all();
  const auto file = GgufFile::open(path(0));
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().message,
            path(1) + ": the file says that it is part 3 of 3, where part 2 of 3 is expected; fetch it again");

  std::swap(parts[1], parts[2]);
  parts[2].erase("split.count").set("split.count", std::uint16_t{4});
  write_all();
  const auto four = GgufFile::open(path(1));
  ASSERT_FALSE(four);
  EXPECT_EQ(four.error().message,
            path(2) + ": the file says that it is part 3 of 4, where part 3 of 3 is expected; fetch it again");

  parts[2].erase("split.count");
  write_all();
  const auto whole = GgufFile::open(path(1));
  ASSERT_FALSE(whole);
  EXPECT_EQ(whole.error().message,
            path(2) + ": the file is a whole model, where part 3 of 3 is expected; fetch it again");
}

TEST_F(GgufSplit, PartsOfAnotherModelAreRefused) {
  parts[1].set("general.name", "another");
  write_all();
  expect_refusal(ErrorCode::kCorrupt,
                 path(1) +
                     ": this is a part of another model: its general.name is 'another', where the first part says "
                     "'a model'; put the parts of one model together");
  parts[1].erase("general.name").erase("split.tensors.count").set("split.tensors.count", std::int32_t{6});
  write_all();
  expect_refusal(ErrorCode::kCorrupt, "this is a part of another model: of ");
}

TEST_F(GgufSplit, TensorsMustBeAllThereAndOnce) {
  add(2, "a", 3);
  write_all();
  expect_refusal(ErrorCode::kCorrupt, path(2) + ": tensor 'a' occurs twice");
  parts[2].tensors().clear();
  write_all();
  expect_refusal(ErrorCode::kCorrupt,
                 "the 3 parts have 4 tensors together, where they announce 5; fetch or split the model again");
}

TEST_F(GgufSplit, NumbersMustMakeSense) {
  const auto refusal = [&](const GgufBuilder& builder) {
    write(path(0), builder);
    const auto file = GgufFile::open(path(0));
    return file ? std::string("opened") : file.error().message;
  };
  GgufBuilder part = parts[0];
  EXPECT_EQ(refusal(part.erase("split.no").set("split.no", std::uint16_t{3})),
            path(0) + ": the file says that it is part 4 of 3; fetch or split the model again");
  EXPECT_EQ(refusal(part.erase("split.no")), path(0) + ": the metadata has no 'split.no'");
  EXPECT_EQ(refusal(part.set("split.no", "one")),
            path(0) + ": metadata 'split.no' must be an unsigned 32-bit integer, but is 'one' of type string");
  part = parts[0];
  EXPECT_EQ(refusal(part.erase("split.tensors.count").set("split.tensors.count", std::int32_t{-1})),
            path(0) + ": metadata 'split.tensors.count' must be an unsigned integer, but is -1 of type i32");
}

}  // namespace
}  // namespace cairn
