// SPDX-License-Identifier: Apache-2.0
// How fast tiers give blocks back, every byte verified, beside what the same bytes cost without them.
//
//   store_tiers ram [--record BYTES] [--total BYTES] [--rounds N]     a RAM tier against memcpy, in turns
//   store_tiers fill --folder DIR [--record BYTES] [--total BYTES]    a folder to read from
//   store_tiers disk --folder DIR [--rounds N]                        reading all of it, in random order
//   store_tiers open --folder DIR                                     opening it
//
// Prints one JSON object.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/base/random.h"
#include "cairn/store/disk/disk_tier.h"
#include "cairn/store/ram_tier.h"
#include "cairn/store/store.h"

namespace cairn {
namespace {

struct Options {
  std::string what, folder;
  std::uint64_t record = 1 << 20, total = std::uint64_t{512} << 20;
  int rounds = 7;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

std::shared_ptr<const BlockRecord> record_of(std::uint64_t number, std::uint64_t bytes) {
  constexpr std::size_t kLayers = 16;
  static std::vector<std::byte> payload;
  const std::size_t layer = bytes / kLayers;
  payload.resize(layer);
  SeededRandom random(number);
  for (std::size_t i = 0; i + 8 <= layer; i += 8) {
    const std::uint64_t word = random.next();
    std::memcpy(payload.data() + i, &word, 8);
  }
  BlockMeta meta;
  meta.key = Hasher("bench.store").u64(number).finish();
  meta.parent = Hasher("bench.parent").u64(number).finish();
  meta.parts = std::vector(kLayers, PartMeta{static_cast<std::uint32_t>(layer), 0});
  const std::vector<std::span<const std::byte>> contents(kLayers, payload);
  return BlockRecord::build(std::move(meta), contents);
}

std::size_t copy_out(const BlockRecord& record, std::byte* to) {
  std::size_t at = 0;
  for (std::size_t p = 0; p < record.meta().parts.size(); ++p) {
    const std::size_t bytes = record.meta().parts[p].bytes;
    if (!record.copy_part(p, {to + at, bytes})) std::abort();
    at += bytes;
  }
  return at;
}

void print(const std::string& what, double ours, const std::string& other, double theirs) {
  std::cout << "{\"what\": \"" << what << "\", \"tier_bytes_per_s\": " << ours << ", \"" << other << "\": " << theirs
            << ", \"ratio\": " << ours / theirs << "}\n";
}

int ram(const Options& options) {
  auto tier = *RamTier::create({.budget_bytes = 4 * options.total, .policy = "lru"});
  const std::size_t count = options.total / options.record;
  std::vector<Digest> keys;
  std::vector<std::shared_ptr<const BlockRecord>> records;
  for (std::size_t i = 0; i < count; ++i) {
    records.push_back(record_of(i, options.record));
    keys.push_back(records.back()->meta().key);
    tier->put({&records.back(), 1}, Deadline::max());
  }
  std::vector<std::byte> to(options.total + (1 << 20), std::byte{1});
  std::vector<double> ours, plain;
  for (int round = 0; round < options.rounds; ++round) {
    auto start = std::chrono::steady_clock::now();
    std::size_t at = 0;
    tier->get(keys, Deadline::max(), [&](std::size_t, BlockStatus, std::shared_ptr<const BlockRecord> record) {
      at += copy_out(*record, to.data() + at);
    });
    ours.push_back(static_cast<double>(at) / seconds_since(start));
    start = std::chrono::steady_clock::now();
    std::size_t copied = 0;
    for (const auto& record : records) {
      const std::size_t bytes = options.record / 16 * 16;
      std::memcpy(to.data() + copied, record->bytes().data() + 4096, bytes);
      copied += bytes;
    }
    plain.push_back(static_cast<double>(copied) / seconds_since(start));
  }
  print("ram get, verified", median(ours), "memcpy_bytes_per_s", median(plain));
  return 0;
}

DiskTierOptions disk_options(const Options& options) {
  DiskTierOptions disk{.folder = options.folder,
                       .residency = {.budget_bytes = std::uint64_t{1} << 40, .policy = "lru"}};
  return disk;
}

int fill(const Options& options) {
  auto tier = DiskTier::open(disk_options(options));
  if (!tier) return std::cerr << tier.error().message << '\n', 1;
  const auto start = std::chrono::steady_clock::now();
  const std::uint64_t count = options.total / options.record;
  for (std::uint64_t i = 0; i < count;) {
    std::vector<std::shared_ptr<const BlockRecord>> batch;
    for (; i < count && batch.size() < 16; ++i) batch.push_back(record_of(i, options.record));
    for (const BlockStatus status : (*tier)->put(batch, Deadline::max())) {
      if (status != BlockStatus::kOk) return std::cerr << block_status_name(status) << '\n', 1;
    }
  }
  std::cout << "{\"what\": \"fill\", \"blocks\": " << count << ", \"seconds\": " << seconds_since(start) << "}\n";
  return 0;
}

int disk(const Options& options) {
  auto tier = DiskTier::open(disk_options(options));
  if (!tier) return std::cerr << tier.error().message << '\n', 1;
  std::vector<Digest> keys;
  (void)(*tier)->list([&](const StoredBlock& block) { return keys.push_back(block.meta.key), true; }, Deadline::max());
  SeededRandom random(1);
  std::vector<double> rates;
  std::vector<std::byte> to(std::size_t{64} << 20);
  for (int round = 0; round < options.rounds; ++round) {
    for (std::size_t i = keys.size(); i > 1; --i) std::swap(keys[i - 1], keys[random.below(i)]);
    const auto start = std::chrono::steady_clock::now();
    std::size_t bytes = 0;
    (*tier)->get(keys, Deadline::max(),
                 [&](std::size_t, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
                   if (status != BlockStatus::kOk) std::abort();
                   bytes += copy_out(*record, to.data());
                 });
    rates.push_back(static_cast<double>(bytes) / seconds_since(start));
  }
  std::cout << "{\"what\": \"disk get, verified\", \"blocks\": " << keys.size()
            << ", \"tier_bytes_per_s\": " << median(rates) << "}\n";
  return 0;
}

int open(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  auto tier = DiskTier::open(disk_options(options));
  const double seconds = seconds_since(start);
  if (!tier) return std::cerr << tier.error().message << '\n', 1;
  const TierStats stats = (*tier)->stats();
  std::cout << "{\"what\": \"open\", \"blocks\": " << stats.blocks << ", \"bytes\": " << stats.bytes
            << ", \"seconds\": " << seconds << "}\n"
            << std::flush;
  _exit(0);  // as if killed: no new checkpoint
}

int usage() {
  std::cerr << "usage: store_tiers ram|fill|disk|open [--folder DIR] [--record SIZE] [--total SIZE] [--rounds N]\n";
  return 2;
}

int run(int argc, char** argv) {
  Options options;
  if (argc < 2) return usage();
  options.what = argv[1];
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--folder") options.folder = value;
    if (name == "--rounds") options.rounds = std::max(1, std::atoi(value.c_str()));
    if (name == "--record" || name == "--total") {
      const auto bytes = parse_bytes(value);
      if (!bytes || *bytes < 4096) return usage();
      (name == "--record" ? options.record : options.total) = *bytes;
    }
  }
  if (options.what == "ram") return ram(options);
  if (options.folder.empty()) return usage();
  if (options.what == "fill") return fill(options);
  if (options.what == "disk") return disk(options);
  if (options.what == "open") return open(options);
  return usage();
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  return cairn::run(argc, argv);
}
