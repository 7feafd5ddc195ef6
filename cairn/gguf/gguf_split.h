// SPDX-License-Identifier: Apache-2.0
// A model in several files, as llama.cpp's gguf-split writes them: each is a GGUF file with some of the tensors, and
// the first has the metadata. NAME-00002-of-00003.gguf is the second of three; each says in its metadata which it is
// (split.no, from 0), of how many (split.count), and how many tensors all of them have (split.tensors.count).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cairn/base/result.h"
#include "cairn/gguf/gguf.h"

namespace cairn {

struct GgufPart {
  std::uint32_t number = 0;  // from 0
  std::uint32_t count = 1;
  std::uint64_t tensors = 0;  // of all parts
};

// What a file says it is a part of; nothing when it is a whole model. Errors: kCorrupt (contradictory, or of a wrong
// type).
Result<std::optional<GgufPart>> gguf_part(const GgufFile& file);

// "NAME-00002-of-00003.gguf", for the path of any part of the same model. Errors: kCorrupt when `path` is not named as
// `part`, so that the names of the others cannot be told.
Result<std::string> gguf_part_path(const std::string& path, const GgufPart& part, std::uint32_t number);

}  // namespace cairn
