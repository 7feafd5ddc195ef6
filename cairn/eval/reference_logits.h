// SPDX-License-Identifier: Apache-2.0
// The exact cache's logits in a file, so that many recipes can be judged against one run of a slow model.
//
// Layout, little-endian: magic "CAIRNREF", u32 version 1, u32 vocab, u64 rows, digest of what the rows are of (32
// bytes), rows x vocab f32 logits, the BLAKE2b digest of all rows (32 bytes).
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"

namespace cairn {

// Writes beside the final name and renames in finish(), so that a file that exists is whole. Thread-compatible.
class ReferenceWriter {
 public:
  // Errors: kIo; kInvalidArgument when something else than a reference is there already.
  static Result<std::unique_ptr<ReferenceWriter>> create(const std::string& path, const Digest& subject,
                                                         std::uint32_t vocab, std::uint64_t rows);
  ~ReferenceWriter();  // without finish(): nothing is left behind

  Status append(std::span<const float> row);  // [vocab]
  Status finish();

 private:
  ReferenceWriter() : hasher_("cairn.reference-rows.v1") {}

  std::string path_, partial_path_;
  std::ofstream file_;
  Hasher hasher_;
  bool finished_ = false;
};

// Reads rows in order. Thread-compatible.
class ReferenceReader {
 public:
  // Reads the file once to verify it. Errors: kNotFound, kIo, kCorrupt (no such file format, truncated, changed),
  // kInvalidArgument (of another model, text or window layout).
  static Result<std::unique_ptr<ReferenceReader>> open(const std::string& path, const Digest& subject,
                                                       std::uint32_t vocab, std::uint64_t rows);

  // The next row, valid until the next call. kIo when the file has changed under us.
  Result<std::span<const float>> next();

 private:
  std::string path_;
  std::ifstream file_;
  std::vector<float> row_;
};

}  // namespace cairn
