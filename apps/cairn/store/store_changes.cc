// SPDX-License-Identifier: Apache-2.0
// cairn store pin, move, clear, gc and compress.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/cairn/input.h"
#include "apps/cairn/options.h"
#include "apps/cairn/store/store_commands.h"
#include "apps/cairn/terminal.h"
#include "cairn/store/record/compression.h"
#include "cairn/store/residency.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

struct PinOptions : StoreCommand {
  std::string prefix;
  std::uint64_t seconds = 3600;
  bool unpin = false;
};

Status pin(const PinOptions& options) {
  if (options.prefix.empty()) return fail(ErrorCode::kInvalidArgument, "give the first digits of a key");
  CAIRN_TRY(const auto tier, open_named(options, Access::kChange));
  warn_of_foreign(*tier);
  CAIRN_TRY(const std::vector<StoredBlock> blocks,
            upkeep::blocks_with_prefix(*tier, options.prefix, options.deadline()));
  const std::int64_t until = options.unpin ? 0 : unix_seconds() + static_cast<std::int64_t>(options.seconds);
  std::size_t done = 0;
  BlockStatus last = BlockStatus::kOk;
  for (const StoredBlock& block : blocks) {
    last = tier->pin(block.meta.key, until);
    if (last == BlockStatus::kReadOnly || last == BlockStatus::kBroken) break;
    done += last == BlockStatus::kOk;
  }
  CAIRN_TRY_VOID(tier->flush(options.deadline()));
  if (done == 0) return fail(ErrorCode::kIo, tier->name() + " refuses: " + std::string(block_status_name(last)));
  if (options.json) {
    std::cout << Json{{"store", tier->name()}, {"blocks", done}, {"until", until}}.dump(2) << '\n';
  } else {
    std::cout << plural(done, "block") << (options.unpin ? " unpinned" : " pinned until " + time_text(until) + " UTC")
              << '\n';
  }
  return {};
}

struct MoveOptions : StoreCommand {
  std::string to;
  std::string prefix;
  bool copy = false;
};

Status move(const MoveOptions& options) {
  CAIRN_TRY(const auto from, open_named(options, options.copy ? Access::kRead : Access::kChange));
  warn_of_foreign(*from);
  StoreCommand target = options;
  target.store = options.to;
  CAIRN_TRY(const auto to, open_named(target, Access::kCreate));
  CAIRN_TRY(const upkeep::Moved moved, [&] {
    const Working working(options, options.copy ? "Copying" : "Moving");
    return upkeep::move(*from, *to, options.prefix, options.copy, working.watch());
  }());
  if (moved.same_store) {
    return fail(ErrorCode::kInvalidArgument, "'" + options.store + "' and '" + options.to + "' are the same store");
  }
  CAIRN_TRY_VOID(to->flush(options.deadline()));
  CAIRN_TRY_VOID(from->flush(options.deadline()));
  const char* const verb = options.copy ? "copied" : "moved";
  if (options.json) {
    std::cout << Json{{"from", from->name()},        {"to", to->name()},         {verb, moved.moved},
                      {"bytes", moved.bytes},        {"damaged", moved.damaged}, {"refused", moved.refused},
                      {"pins_lost", moved.pins_lost}}
                     .dump(2)
              << '\n';
  } else {
    std::cout << moved.moved << " of " << moved.blocks << " blocks " << verb << " to " << to->name() << ", "
              << format_bytes(static_cast<double>(moved.bytes)) << '\n';
    if (moved.damaged > 0) std::cout << moved.damaged << " were damaged and left out\n";
    if (moved.pins_lost > 0) std::cout << moved.pins_lost << " are not pinned there\n";
    if (moved.refused > 0) {
      std::cout << moved.refused << " stay: no room, no answer, or another form of the block is there\n";
    }
  }
  if (interrupted()) return fail(ErrorCode::kCancelled, "interrupted");
  if (moved.moved < moved.blocks) return fail(ErrorCode::kIo, "not every block was " + std::string(verb));
  return {};
}

struct ClearOptions : StoreCommand {
  std::string recipe;
  std::string tenant;
  bool yes = false;
};

Status clear(const ClearOptions& options) {
  if (!options.yes && options.recipe.empty() && options.tenant.empty()) {
    return fail(ErrorCode::kInvalidArgument, "this erases every block of the store: say --yes");
  }
  CAIRN_TRY(const auto tier, open_named(options, Access::kChange));
  warn_of_foreign(*tier);
  CAIRN_TRY(const std::vector<StoredBlock> blocks, upkeep::all_blocks(*tier, options.deadline()));
  std::vector<Digest> keys;
  for (const StoredBlock& block : blocks) {
    if (!block.meta.recipe.hex().starts_with(options.recipe)) continue;
    if (!options.tenant.empty() && block.meta.tenant != tenant_tag(options.tenant)) continue;
    keys.push_back(block.meta.key);
  }
  const std::vector<BlockStatus> statuses = tier->erase(keys, options.deadline());
  CAIRN_TRY_VOID(tier->flush(options.deadline()));
  const auto erased = std::ranges::count(statuses, BlockStatus::kOk);
  if (options.json) {
    std::cout << Json{{"store", tier->name()}, {"erased", erased}}.dump(2) << '\n';
  } else {
    std::cout << erased << " blocks erased\n";
  }
  if (static_cast<std::size_t>(erased) < keys.size()) {
    return fail(ErrorCode::kIo, "not every block could be erased: " +
                                    std::string(block_status_name(*std::ranges::find_if(
                                        statuses, [](BlockStatus s) { return s != BlockStatus::kOk; }))));
  }
  return {};
}

// Expired blocks go; opening the store has given back segments without a block; a checkpoint makes the next start fast.
Status gc(const StoreCommand& options) {
  CAIRN_TRY(const auto tier, open_named(options, Access::kChange));
  warn_of_foreign(*tier);
  CAIRN_TRY(const std::vector<StoredBlock> blocks, upkeep::all_blocks(*tier, options.deadline()));
  std::vector<Digest> expired;
  std::uint64_t bytes = 0;
  for (const StoredBlock& block : blocks) {
    if (block.meta.expires_s == 0 || block.meta.expires_s > unix_seconds()) continue;
    expired.push_back(block.meta.key);
    bytes += block.bytes;
  }
  const std::vector<BlockStatus> statuses = tier->erase(expired, options.deadline());
  if (const auto bad = std::ranges::find_if(statuses, [](BlockStatus s) { return s != BlockStatus::kOk; });
      bad != statuses.end()) {
    return fail(ErrorCode::kIo, "cannot erase from " + tier->name() + ": " + std::string(block_status_name(*bad)));
  }
  CAIRN_TRY_VOID(tier->flush(options.deadline()));
  if (options.json) {
    std::cout << Json{{"store", tier->name()}, {"expired", expired.size()}, {"bytes", bytes}}.dump(2) << '\n';
  } else {
    std::cout << expired.size() << " expired blocks erased, " << format_bytes(static_cast<double>(bytes)) << '\n';
  }
  return {};
}

struct CompressCommand : StoreCommand {
  std::string older_than = "0s";
  int level = upkeep::CompressOptions{}.level;
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

void print_compressed(const Tier& tier, const upkeep::Compressed& figures, bool json) {
  const double ratio =
      figures.after == 0 ? 1 : static_cast<double>(figures.before) / static_cast<double>(figures.after);
  const double mb_per_s = figures.seconds > 0 ? static_cast<double>(figures.bytes_seen) / figures.seconds / 1e6 : 0;
  if (json) {
    std::cout << Json{{"store", tier.name()},
                      {"compressed", figures.compressed},
                      {"before", figures.before},
                      {"after", figures.after},
                      {"ratio", ratio},
                      {"mb_per_s", mb_per_s},
                      {"already", figures.already},
                      {"left", figures.left},
                      {"locked", figures.locked},
                      {"damaged", figures.damaged},
                      {"gone", figures.gone},
                      {"refused", figures.refused}}
                     .dump(2)
              << '\n';
    return;
  }
  std::cout << tier.name() << ": " << figures.compressed << " blocks compressed, "
            << format_bytes(static_cast<double>(figures.before)) << " to "
            << format_bytes(static_cast<double>(figures.after)) << ", ratio " << format_number(ratio, 2) << ", "
            << format_number(mb_per_s, 0) << " MB/s\n";
  if (figures.already > 0) std::cout << figures.already << " were compressed before\n";
  if (figures.left > 0) std::cout << figures.left << " would not become smaller\n";
  if (figures.locked > 0) std::cout << figures.locked << " are encrypted with another key\n";
  if (figures.damaged > 0) std::cout << figures.damaged << " were damaged and erased\n";
  if (figures.refused > 0) std::cout << figures.refused << " stay as they are: no room, or it does not answer\n";
}

Status compress(const CompressCommand& options) {
  CAIRN_TRY(const std::int64_t age_s, parse_age(options.older_than));
  std::optional<StoreKey> key;
  if (!options.config.key_file.empty()) {
    CAIRN_TRY(key, StoreKey::from_file(options.config.key_file));
  }
  CAIRN_TRY(const auto tier, open_named(options, Access::kChange));
  warn_of_foreign(*tier);
  if (!tier->writes()) {
    return fail(ErrorCode::kIo,
                "'" + options.store + "' cannot be written: " + std::string(read_only_text(tier->read_only())));
  }
  CAIRN_TRY(const upkeep::Compressed figures, [&] {
    const Working working(options, "Compressing");
    return upkeep::compress(*tier, {.older_than_s = age_s, .level = options.level, .key = key ? &*key : nullptr},
                            working.watch());
  }());
  const Status flushed = tier->flush(options.deadline());
  print_compressed(*tier, figures, options.json);
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

void add_store_pin_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("pin", "Keep blocks from being evicted for some time");
  auto options = std::make_shared<PinOptions>();
  add_store_argument(*command, *options);
  command->add_option("key", options->prefix, "First digits of the keys, see ls and explain")->required();
  command->add_option("--for", options->seconds, "Seconds")->check(whole_number(1, 315360000))->capture_default_str();
  command->add_flag("--unpin", options->unpin, "End it instead");
  command->callback([options, &outcome] { outcome = pin(*options); });
}

void add_store_move_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("move", "Move blocks to another store, verified on the way");
  auto options = std::make_shared<MoveOptions>();
  add_store_argument(*command, *options);
  command->add_option("to", options->to, "Where to")->required();
  command->add_option("--prefix", options->prefix, "Only keys that begin so");
  command->add_flag("--copy", options->copy, "Leave them where they are too");
  command->callback([options, &outcome] { outcome = move(*options); });
}

void add_store_clear_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("clear", "Erase blocks");
  auto options = std::make_shared<ClearOptions>();
  add_store_argument(*command, *options);
  command->add_option("--recipe", options->recipe, "Only of recipes that begin so, see stat");
  command->add_option("--tenant", options->tenant, "Only of this tenant");
  command->add_flag("--yes", options->yes, "Really all of them");
  command->callback([options, &outcome] { outcome = clear(*options); });
}

void add_store_gc_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("gc", "Erase what has expired");
  auto options = std::make_shared<StoreCommand>();
  add_store_argument(*command, *options);
  command->callback([options, &outcome] { outcome = gc(*options); });
}

void add_store_compress_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("compress", "Compress blocks without loss, where that saves a page or more");
  auto options = std::make_shared<CompressCommand>();
  add_store_argument(*command, *options);
  command->add_option("--older-than", options->older_than, "Only blocks stored so long ago: 90s, 30m, 12h, 7d")
      ->capture_default_str();
  command->add_option("--level", options->level, "zstd's: higher is slower and seldom much smaller")
      ->check(whole_number(kMinCompressionLevel, kMaxCompressionLevel))
      ->capture_default_str();
  command->add_option("--store-key", options->config.key_file, "The key of encrypted blocks; they stay encrypted");
  command->callback([options, &outcome] { outcome = compress(*options); });
}

}  // namespace cairn::cli
