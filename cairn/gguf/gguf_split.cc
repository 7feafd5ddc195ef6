// SPDX-License-Identifier: Apache-2.0
#include "cairn/gguf/gguf_split.h"

#include <algorithm>
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
  if (!*part) return given;
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
