// SPDX-License-Identifier: Apache-2.0
// The folder of a store: what makes it one, who may write it, and what lies there beside blocks.
//
//   FOLDER/cairn-store     one line with the format's version: what makes the folder a store
//   FOLDER/lock            locked by the one process that writes; others read
//   FOLDER/checkpoint      the index, now and then (recovery.h)
//   FOLDER/segments/*.seg  records (segment_log.h)
//   FOLDER/recipes/*       what recipes mean, for people
//   FOLDER/gone            why blocks are not there any more, as of the last checkpoint
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/store/tier.h"

namespace cairn::disk {

// Holds the lock while it lives. Immutable, thread-safe.
class StoreFolder {
 public:
  // Makes the folder where there is none, save with `read_only`. kInvalidArgument when it is neither a store nor empty,
  // kUnsupported for another format, kCorrupt, kNotFound, kIo. Where another process holds the lock, this one reads.
  static Result<StoreFolder> open(std::string path, bool read_only);

  StoreFolder(StoreFolder&& other) noexcept
      : path_(std::move(other.path_)), lock_fd_(std::exchange(other.lock_fd_, -1)), read_only_(other.read_only_) {}
  StoreFolder& operator=(StoreFolder&&) = delete;
  ~StoreFolder();

  const std::string& path() const { return path_; }
  std::string segments() const { return path_ + "/segments"; }
  std::string checkpoint() const { return path_ + "/checkpoint"; }
  std::string gone() const { return path_ + "/gone"; }

  ReadOnly read_only() const { return read_only_; }
  bool writes() const { return read_only_ == ReadOnly::kNo; }
  // The folder or its lock was removed or moved since. False for readers.
  bool moved() const;
  // Whether the file system has this many bytes free; true when it does not say.
  bool has_free(std::uint64_t bytes) const;

  void describe_recipe(const Digest& recipe, const std::string& text) const;
  std::map<Digest, std::string> recipes() const;

 private:
  explicit StoreFolder(std::string path) : path_(std::move(path)) {}
  Status prepare(bool read_only) const;
  Status take_lock();

  std::string path_;
  int lock_fd_ = -1;
  ReadOnly read_only_ = ReadOnly::kAsked;
};

}  // namespace cairn::disk
