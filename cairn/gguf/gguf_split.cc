// SPDX-License-Identifier: Apache-2.0
#include "cairn/gguf/gguf_split.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <string_view>
#include <utility>

namespace cairn {
namespace {

std::string five_digits(std::uint32_t number) {
  const std::string digits = std::to_string(number);
  return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
}

std::string ending(std::uint32_t number, std::uint32_t count) {
  return "-" + five_digits(number + 1) + "-of-" + five_digits(count) + ".gguf";
}

std::string place(std::uint32_t number, std::uint32_t count) {
  return "part " + std::to_string(number + 1) + " of " + std::to_string(count);
}

// Numbers as in the file's name, from 1: {2, 3} of "NAME-00002-of-00003.gguf". Nothing where it has none.
struct NamedPart {
  std::uint32_t number = 0, count = 0;
};

std::optional<NamedPart> part_by_name(std::string_view path) {
  constexpr std::string_view kLike = "-00000-of-00000.gguf";
  if (path.size() < kLike.size()) return std::nullopt;
  const std::string_view name = path.substr(path.size() - kLike.size());
  for (std::size_t i = 0; i < kLike.size(); ++i) {
    const bool alike = kLike[i] == '0' ? std::isdigit(static_cast<unsigned char>(name[i])) != 0 : name[i] == kLike[i];
    if (!alike) return std::nullopt;
  }
  NamedPart part;
  std::from_chars(name.data() + 1, name.data() + 6, part.number);
  std::from_chars(name.data() + 10, name.data() + 15, part.count);
  return part;
}

// A file that says it is whole must not be named as one of several parts: its tensors would be all there is.
Status check_whole(const std::string& path) {
  const std::optional<NamedPart> named = part_by_name(path);
  if (!named || named->count <= 1) return {};
  return fail(ErrorCode::kCorrupt, "its name says that it is part " + std::to_string(named->number) + " of " +
                                       std::to_string(named->count) +
                                       " of a model, but the file says that it is whole; fetch the parts again, or "
                                       "rename a model that is whole");
}

std::unexpected<Error> of_another_model(const std::string& why) {
  return fail(ErrorCode::kCorrupt, "this is a part of another model: " + why + "; put the parts of one model together");
}

}  // namespace

Result<std::optional<GgufPart>> gguf_part(const GgufFile& file) {
  GgufPart part;
  CAIRN_TRY(part.count, file.get_or<std::uint32_t>("split.count", 0u));
  if (part.count <= 1) return std::nullopt;
  CAIRN_TRY(part.number, file.get<std::uint32_t>("split.no"));
  CAIRN_TRY(part.tensors, file.get<std::uint64_t>("split.tensors.count"));
  if (part.number >= part.count) {
    return fail(ErrorCode::kCorrupt,
                "the file says that it is " + place(part.number, part.count) + "; fetch or split the model again");
  }
  return part;
}

Result<std::string> gguf_part_path(const std::string& path, const GgufPart& part, std::uint32_t number) {
  const std::string own = ending(part.number, part.count);
  if (!path.ends_with(own)) {
    return fail(ErrorCode::kCorrupt, "this is " + place(part.number, part.count) +
                                         " of a model, but its name does not end with " + own +
                                         "; give all parts the names they had, in one folder");
  }
  return path.substr(0, path.size() - own.size()) + ending(number, part.count);
}

// Takes the parts of one model in order. Errors are about the part at hand, without its path.
class GgufJoiner {
 public:
  explicit GgufJoiner(const GgufPart& expected) : expected_(expected) {}

  Status add(GgufFile file, std::uint32_t number) {
    CAIRN_TRY(const std::optional<GgufPart> part, gguf_part(file));
    if (!part) return not_the_part("is a whole model", number);
    if (part->number != number || part->count != expected_.count) {
      return not_the_part("says that it is " + place(part->number, part->count), number);
    }
    if (part->tensors != expected_.tensors) {
      return of_another_model("of " + std::to_string(part->tensors) + " tensors, where the others say " +
                              std::to_string(expected_.tensors));
    }
    if (!whole_) {
      whole_ = std::move(file);
      return {};
    }
    CAIRN_TRY_VOID(check_same_model(file));
    return whole_->absorb(std::move(file));
  }

  Result<GgufFile> finish() {
    if (whole_->tensors().size() != expected_.tensors) {
      return fail(ErrorCode::kCorrupt, "the " + std::to_string(expected_.count) + " parts have " +
                                           std::to_string(whole_->tensors().size()) +
                                           " tensors together, where they announce " +
                                           std::to_string(expected_.tensors) + "; fetch or split the model again");
    }
    return *std::move(whole_);
  }

 private:
  Status not_the_part(const std::string& what, std::uint32_t number) const {
    return fail(ErrorCode::kCorrupt,
                "the file " + what + ", where " + place(number, expected_.count) + " is expected; fetch it again");
  }

  // Parts after the first need no metadata of the model; what they have must not contradict it.
  Status check_same_model(const GgufFile& file) const {
    for (const GgufValue& here : file.metadata()) {
      const GgufValue* first = here.key.starts_with("split.") ? nullptr : whole_->find(here.key);
      if (first == nullptr || (first->type == here.type && std::ranges::equal(first->bytes, here.bytes))) continue;
      return of_another_model("its " + std::string(here.key) + " is " + here.preview() +
                              ", where the first part says " + first->preview());
    }
    return {};
  }

  GgufPart expected_;
  std::optional<GgufFile> whole_;
};

Result<GgufFile> GgufFile::open_one(const std::string& path) {
  CAIRN_TRY(MappedFile mapping, MappedFile::open(path));
  Result<GgufFile> file = parse(mapping.bytes());
  if (!file) return fail(file.error().code, path + ": " + file.error().message);
  file->mappings_.push_back(std::move(mapping));
  return file;
}

Result<GgufFile> GgufFile::open(const std::string& path) {
  CAIRN_TRY(GgufFile given, open_one(path));
  const auto of = [](const std::string& file, const Error& error) {
    return fail(error.code, file + ": " + error.message);
  };
  const Result<std::optional<GgufPart>> part = gguf_part(given);
  if (!part) return of(path, part.error());
  if (!*part) {
    if (const Status whole = check_whole(path); !whole) return of(path, whole.error());
    return given;
  }
  GgufJoiner joiner(**part);
  for (std::uint32_t number = 0; number < (*part)->count; ++number) {
    const Result<std::string> name = gguf_part_path(path, **part, number);
    if (!name) return of(path, name.error());
    Result<GgufFile> file = number == (*part)->number ? Result<GgufFile>(std::move(given)) : open_one(*name);
    if (!file && file.error().code == ErrorCode::kNotFound) {
      return fail(ErrorCode::kNotFound,
                  place(number, (*part)->count) + " of the model is missing: " + file.error().message);
    }
    if (!file) return std::unexpected(file.error());
    if (const Status added = joiner.add(*std::move(file), number); !added) return of(*name, added.error());
  }
  Result<GgufFile> whole = joiner.finish();
  if (!whole) return of(path, whole.error());
  return whole;
}

}  // namespace cairn
