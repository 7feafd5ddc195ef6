// SPDX-License-Identifier: Apache-2.0
// cairn store compress: cold blocks made smaller where they are.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/cairn/input.h"
#include "apps/cairn/terminal.h"
#include "apps/cairn/store/store_commands.h"
#include "cairn/base/thread_pool.h"
#include "cairn/store/record/compression.h"
#include "cairn/store/residency.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kBytesAtOnce = std::size_t{8} << 20, kBlocksAtOnce = 64;

struct CompressOptions : StoreCommand {
  std::string older_than = "0s";
  int level = 1;  // 3 takes 0.5 % more off f16 pages, in half as much time again
};

struct Figures {
  std::uint64_t compressed = 0, before = 0, after = 0;  // blocks, and what they took and take
  std::uint64_t left = 0;                               // would not take a page less
  std::uint64_t damaged = 0, locked = 0, gone = 0, refused = 0;
  std::uint64_t bytes_seen = 0;
  double seconds = 0;  // of compressing and verifying, without the store's reads and writes
};

// "90s", "30m", "12h", "7d": kInvalidArgument for other texts.
Result<std::int64_t> parse_age(const std::string& text) {
  constexpr std::pair<std::string_view, std::int64_t> kUnits[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto unit = std::ranges::find(kUnits, std::string_view(end, text.data() + text.size()),
                                      &std::pair<std::string_view, std::int64_t>::first);
  if (error != std::errc() || unit == std::end(kUnits)) {
    return fail(ErrorCode::kInvalidArgument, "--older-than: '" + text + "' is no age: write 90s, 30m, 12h or 7d");
  }
  return number * unit->second;
}

// A few blocks of the store: read, compressed on all cores, verified, put in the place of what was there.
void compress_some(Tier& tier, std::span<const Digest> keys, const CompressOptions& options, const StoreKey* key,
                   ThreadPool& threads, Figures& figures) {
  using Outcome = std::expected<std::shared_ptr<const BlockRecord>, Refusal>;
  std::vector<std::shared_ptr<const BlockRecord>> records, smaller;
  tier.get(keys, options.deadline(), [&](std::size_t, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
    if (record != nullptr) {
      records.push_back(std::move(record));
    } else {
      ++(status == BlockStatus::kMiss || status == BlockStatus::kExpired ? figures.gone
         : status == BlockStatus::kCorrupt                               ? figures.damaged
                                                                         : figures.refused);
    }
  });
  std::vector<Outcome> outcomes(records.size());
  const Clock::time_point begin = Clock::now();
  threads.run(records.size(), [&](std::size_t i, unsigned) {
    if (!interrupted()) outcomes[i] = compress_record(*records[i], options.level, key);
  });
  figures.seconds += std::chrono::duration<double>(Clock::now() - begin).count();
  if (interrupted()) return;
  for (std::size_t i = 0; i < records.size(); ++i) {
    figures.bytes_seen += records[i]->size();
    if (outcomes[i] && *outcomes[i] != nullptr) {
      smaller.push_back(*outcomes[i]);
    } else if (outcomes[i]) {
      ++figures.left;
    } else if (records[i]->intact()) {
      ++figures.locked;
    } else {
      ++figures.damaged;
      tier.report_corrupt(records[i]->meta().key);
    }
  }
  const std::vector<BlockStatus> statuses = tier.replace(smaller, options.deadline());
  for (std::size_t i = 0; i < smaller.size(); ++i) {
    if (statuses[i] != BlockStatus::kOk) {
      ++(statuses[i] == BlockStatus::kMiss ? figures.gone : figures.refused);
      continue;
    }
    ++figures.compressed;
    figures.before += smaller[i]->plain_size();
    figures.after += smaller[i]->size();
  }
}

void print(const Tier& tier, const Figures& figures, std::uint64_t already, bool json) {
  const double ratio =
      figures.after == 0 ? 1 : static_cast<double>(figures.before) / static_cast<double>(figures.after);
  const double mb_per_s = figures.seconds > 0 ? static_cast<double>(figures.bytes_seen) / figures.seconds / 1e6 : 0;
  if (json) {
    std::cout << Json{{"store", tier.name()},     {"compressed", figures.compressed},
                      {"before", figures.before}, {"after", figures.after},
                      {"ratio", ratio},           {"mb_per_s", mb_per_s},
                      {"already", already},       {"left", figures.left},
                      {"locked", figures.locked}, {"damaged", figures.damaged},
                      {"gone", figures.gone},     {"refused", figures.refused}}
                     .dump(2)
              << '\n';
    return;
  }
  std::cout << tier.name() << ": " << figures.compressed << " blocks compressed, "
            << format_bytes(static_cast<double>(figures.before)) << " to "
            << format_bytes(static_cast<double>(figures.after)) << ", ratio " << format_number(ratio, 2) << ", "
            << format_number(mb_per_s, 0) << " MB/s\n";
  if (already > 0) std::cout << already << " were compressed before\n";
  if (figures.left > 0) std::cout << figures.left << " would not become smaller\n";
  if (figures.locked > 0) std::cout << figures.locked << " are encrypted with another key\n";
  if (figures.damaged > 0) std::cout << figures.damaged << " were damaged and erased\n";
  if (figures.refused > 0) std::cout << figures.refused << " stay as they are: no room, or it does not answer\n";
}

Status compress(const CompressOptions& options) {
  CAIRN_TRY(const std::int64_t age_s, parse_age(options.older_than));
  std::optional<StoreKey> key;
  if (!options.config.key_file.empty()) {
    CAIRN_TRY(key, StoreKey::from_file(options.config.key_file));
  }
  CAIRN_TRY(const auto tier, open_named(options, Access::kChange));
  if (!tier->writes()) {
    return fail(ErrorCode::kIo,
                "'" + options.store + "' cannot be written: " + std::string(read_only_text(tier->read_only())));
  }
  CAIRN_TRY(std::vector<StoredBlock> blocks, all_blocks(*tier, options.deadline()));
  const auto already = std::erase_if(blocks, [](const StoredBlock& block) { return block.meta.compressed; });
  const std::int64_t newest_s = unix_seconds() - age_s;
  std::erase_if(blocks, [&](const StoredBlock& block) { return block.meta.created_s > newest_s; });
  // The oldest first: an interrupted run has done the coldest.
  std::ranges::sort(blocks, {},
                    [](const StoredBlock& block) { return std::pair(block.meta.created_s, block.meta.key); });
  Figures figures;
  ThreadPool threads(0);
  {
    Progress progress("Compressing");
    InterruptScope scope;
    for (std::size_t next = 0; next < blocks.size() && !interrupted();) {
      std::vector<Digest> keys;
      for (std::uint64_t bytes = 0; next < blocks.size() && bytes < kBytesAtOnce && keys.size() < kBlocksAtOnce;
           ++next) {
        keys.push_back(blocks[next].meta.key);
        bytes += blocks[next].bytes;
      }
      compress_some(*tier, keys, options, key ? &*key : nullptr, threads, figures);
      progress.update(static_cast<double>(next) / static_cast<double>(blocks.size()));
    }
  }
  const Status flushed = tier->flush(options.deadline());
  print(*tier, figures, already, options.json);
  CAIRN_TRY_VOID(flushed);
  if (interrupted()) return fail(ErrorCode::kCancelled, "interrupted");
  if (figures.locked > 0 && figures.compressed + figures.left == 0) {
    return fail(ErrorCode::kInvalidArgument, "the blocks are encrypted: give their key with --store-key");
  }
  if (figures.damaged > 0) return fail(ErrorCode::kCorrupt, std::to_string(figures.damaged) + " blocks were damaged");
  if (figures.refused > 0) return fail(ErrorCode::kIo, "not every block could be compressed");
  return {};
}

}  // namespace

void add_store_compress_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("compress", "Compress blocks without loss, where that saves a page or more");
  auto options = std::make_shared<CompressOptions>();
  add_store_argument(*command, *options);
  command->add_option("--older-than", options->older_than, "Only blocks stored so long ago: 90s, 30m, 12h, 7d")
      ->capture_default_str();
  command->add_option("--level", options->level, "zstd's: higher is slower and seldom much smaller")
      ->check(CLI::Range(kLeastCompressionLevel, kMaxCompressionLevel))
      ->capture_default_str();
  command->add_option("--store-key", options->config.key_file, "The key of encrypted blocks; they stay encrypted");
  command->callback([options, &outcome] { outcome = compress(*options); });
}

}  // namespace cairn::cli
