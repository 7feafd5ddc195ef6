// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as the index of a store on disk, with a checksum that fits: the store opens, and its blocks come as
// they were put, damaged in a way that their checksums tell, or not at all. Most inputs are laid over the checkpoint
// that the store wrote itself.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/base/checksum.h"
#include "cairn/base/file.h"
#include "cairn/store/disk/disk_tier.h"
#include "cairn/testing/stored_blocks.h"

namespace cairn {
namespace {

constexpr std::uint64_t kBlocks = 12, kErased = 3;

class OneStore {
 public:
  OneStore() {
    {
      const auto tier = open();
      for (std::uint64_t number = 0; number < kBlocks; ++number) {
        const auto record = TestBlock{.number = number}.record();
        CAIRN_CHECK(tier->put({&record, 1}, Deadline::max())[0] == BlockStatus::kOk);
      }
      const Digest erased = test_key(kErased);
      (void)tier->erase({&erased, 1}, Deadline::max());
    }
    checkpoint_ = *read_file(path() + "/checkpoint", 1 << 20);
    checkpoint_.resize(checkpoint_.size() - sizeof(std::uint64_t));
    std::filesystem::copy(path(), whole(), std::filesystem::copy_options::recursive);
    // What is looked for below is found where nothing is damaged.
    open_with(checkpoint_);
    const auto tier = open();
    for (std::uint64_t number = 0; number < kBlocks; ++number) {
      const Digest key = test_key(number);
      CAIRN_CHECK((tier->contains({&key, 1}, Deadline::max())[0] == BlockStatus::kOk) == (number != kErased));
    }
  }

  void open_with(std::vector<std::byte> checkpoint) const {
    std::filesystem::remove_all(path());
    std::filesystem::copy(whole(), path(), std::filesystem::copy_options::recursive);
    const std::uint64_t sum = checksum(checkpoint);
    const auto seal = std::as_bytes(std::span(&sum, 1));
    checkpoint.insert(checkpoint.end(), seal.begin(), seal.end());
    CAIRN_CHECK(write_file(path() + "/checkpoint", checkpoint).has_value());
    for (const bool again : {false, true}) {
      const auto tier = open();
      for (std::uint64_t number = 0; number < kBlocks; ++number) look(*tier, number);
      CAIRN_CHECK(tier->list([](const StoredBlock&) { return true; }, Deadline::max()).has_value());
      const auto record = TestBlock{.number = kBlocks + (again ? 1 : 0)}.record();
      (void)tier->put({&record, 1}, Deadline::max());  // the index may say that it is there, or that there is no room
      look(*tier, kBlocks + (again ? 1 : 0));
    }
  }

  // The bytes from `at` on are those of the input.
  std::vector<std::byte> overlaid(std::size_t at, std::span<const std::byte> input) const {
    std::vector<std::byte> bytes = checkpoint_;
    at %= bytes.size();
    std::ranges::copy(input.first(std::min(input.size(), bytes.size() - at)),
                      bytes.begin() + static_cast<std::ptrdiff_t>(at));
    return bytes;
  }

 private:
  std::string path() const { return folder_.path() + "/store"; }
  std::string whole() const { return folder_.path() + "/whole"; }
  std::unique_ptr<DiskTier> open() const {
    DiskTierOptions options{.folder = path(), .residency = {.budget_bytes = std::uint64_t{1} << 20}};
    options.segment_bytes = 40960;
    options.min_free_bytes = 0;
    options.sync = false;
    options.io = disk::make_disk_io(disk::DiskIoKind::kThreads);
    auto tier = DiskTier::open(std::move(options));
    CAIRN_CHECK(tier.has_value());
    return *std::move(tier);
  }
  static void look(Tier& tier, std::uint64_t number) {
    const Digest key = test_key(number);
    tier.get({&key, 1}, Deadline::max(), [&](std::size_t, BlockStatus, std::shared_ptr<const BlockRecord> record) {
      // Space that a lying index calls free may have been given back: then the parts' checksums say so.
      if (record != nullptr && record->intact()) CAIRN_CHECK(TestBlock{.number = number}.equals(*record));
    });
  }

  TestFolder folder_;
  std::vector<std::byte> checkpoint_;
};

}  // namespace
}  // namespace cairn

// The first two bytes are where to lay the rest; 0xffff: the input is all there is.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const cairn::OneStore store;
  if (size < 2) return 0;
  const std::size_t at = data[0] | data[1] << 8;
  const auto input = std::as_bytes(std::span(data, size).subspan(2));
  store.open_with(at == 0xffff ? std::vector(input.begin(), input.end()) : store.overlaid(at, input));
  return 0;
}
