// SPDX-License-Identifier: Apache-2.0
// cairn store pin, move and clear.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/cairn/input.h"
#include "apps/cairn/terminal.h"
#include "apps/cairn/store/store_commands.h"
#include "cairn/store/residency.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kChangedAtOnce = 16;

// The blocks whose keys begin with `prefix`. kInvalidArgument when there are none.
Result<std::vector<StoredBlock>> chosen(Tier& tier, const std::string& prefix, Deadline deadline) {
  CAIRN_TRY(std::vector<StoredBlock> blocks, all_blocks(tier, deadline));
  std::erase_if(blocks, [&](const StoredBlock& block) { return !block.meta.key.hex().starts_with(prefix); });
  if (blocks.empty()) {
    const std::string which = prefix.empty() ? "" : " has a key that begins with '" + prefix + "'";
    return fail(ErrorCode::kNotFound,
                prefix.empty() ? tier.name() + " is empty" : "no block of " + tier.name() + which);
  }
  return blocks;
}

struct PinOptions : StoreCommand {
  std::string prefix;
  std::uint64_t seconds = 3600;
  bool unpin = false;
};

Status pin(const PinOptions& options) {
  if (options.prefix.empty()) return fail(ErrorCode::kInvalidArgument, "give the first digits of a key");
  CAIRN_TRY(const auto tier, open_named(options, Access::kChange));
  CAIRN_TRY(const std::vector<StoredBlock> blocks, chosen(*tier, options.prefix, options.deadline()));
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

// The keys of those records whose parts `to` has, byte for byte. What it has under the same key and is damaged goes.
std::set<Digest> arrived(Tier& to, std::span<const std::shared_ptr<const BlockRecord>> records, Deadline deadline) {
  std::vector<Digest> keys;
  for (const auto& record : records) keys.push_back(record->meta().key);
  std::set<Digest> there;
  to.get(keys, deadline, [&](std::size_t i, BlockStatus, std::shared_ptr<const BlockRecord> got) {
    if (got == nullptr) return;
    if (!got->intact()) {
      to.report_corrupt(keys[i]);
    } else if (got->same_parts(*records[i])) {
      there.insert(keys[i]);
    }
  });
  return there;
}

// Record by record as they are stored: nothing is decrypted or encoded anew, and nothing that is damaged is passed on.
// A block leaves its store when it has been read back from the other one.
Status move(const MoveOptions& options) {
  CAIRN_TRY(const auto from, open_named(options, options.copy ? Access::kRead : Access::kChange));
  StoreCommand target = options;
  target.store = options.to;
  CAIRN_TRY(const auto to, open_named(target, Access::kCreate));
  CAIRN_TRY(std::vector<StoredBlock> blocks, chosen(*from, options.prefix, options.deadline()));
  // Parents first, so that what is there is useful at any moment.
  std::ranges::sort(blocks, {}, [](const StoredBlock& block) { return std::tuple(block.meta.depth, block.meta.key); });
  std::uint64_t moved = 0, bytes = 0, damaged = 0, refused = 0, pins_lost = 0;
  const std::int64_t now_s = unix_seconds();
  for (const auto& [recipe, text] : from->recipes()) to->describe_recipe(recipe, text);
  Progress progress(options.copy ? "Copying" : "Moving");
  InterruptScope scope;
  for (std::size_t first = 0, next; first < blocks.size() && !interrupted(); first = next) {
    // One alone tells whether both are the same store.
    next = std::min(blocks.size(), first + (first == 0 ? 1 : kChangedAtOnce));
    std::vector<Digest> keys, done;
    for (std::size_t i = first; i < next; ++i) keys.push_back(blocks[i].meta.key);
    std::vector<std::shared_ptr<const BlockRecord>> records;
    from->get(keys, options.deadline(), [&](std::size_t i, BlockStatus, std::shared_ptr<const BlockRecord> record) {
      if (record == nullptr) return;
      if (record->intact()) {
        records.push_back(std::move(record));
      } else {
        ++damaged;
        from->report_corrupt(keys[i]);
      }
    });
    (void)to->put(records, options.deadline());
    std::set<Digest> there = arrived(*to, records, options.deadline());
    if (there.size() < records.size()) {  // what stood in the way may be gone now
      (void)to->put(records, options.deadline());
      there = arrived(*to, records, options.deadline());
    }
    for (const auto& record : records) {
      if (!there.contains(record->meta().key)) continue;
      bytes += record->size();
      done.push_back(record->meta().key);
    }
    const auto pin_again = [&] {
      for (std::size_t i = first; i < next; ++i) {
        if (blocks[i].pinned_until_s > now_s && there.contains(blocks[i].meta.key)) {
          pins_lost += to->pin(blocks[i].meta.key, blocks[i].pinned_until_s) != BlockStatus::kOk;
        }
      }
    };
    pin_again();
    moved += done.size();
    refused += records.size() - done.size();
    if (!options.copy && !done.empty()) {
      from->erase(done, options.deadline());
      if (to->contains(done, options.deadline()).front() == BlockStatus::kMiss) {
        (void)to->put(records, options.deadline());
        pin_again();
        return fail(ErrorCode::kInvalidArgument, "'" + options.store + "' and '" + options.to + "' are the same store");
      }
    }
    progress.update(static_cast<double>(next) / static_cast<double>(blocks.size()));
  }
  progress.finish();
  CAIRN_TRY_VOID(to->flush(options.deadline()));
  CAIRN_TRY_VOID(from->flush(options.deadline()));
  const char* const verb = options.copy ? "copied" : "moved";
  if (options.json) {
    std::cout << Json{{"from", from->name()}, {"to", to->name()},   {verb, moved},           {"bytes", bytes},
                      {"damaged", damaged},   {"refused", refused}, {"pins_lost", pins_lost}}
                     .dump(2)
              << '\n';
  } else {
    std::cout << moved << " of " << blocks.size() << " blocks " << verb << " to " << to->name() << ", "
              << format_bytes(static_cast<double>(bytes)) << '\n';
    if (damaged > 0) std::cout << damaged << " were damaged and left out\n";
    if (pins_lost > 0) std::cout << pins_lost << " are not pinned there\n";
    if (refused > 0) std::cout << refused << " stay: no room, no answer, or another form of the block is there\n";
  }
  if (interrupted()) return fail(ErrorCode::kCancelled, "interrupted");
  if (moved < blocks.size()) return fail(ErrorCode::kIo, "not every block was " + std::string(verb));
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
  CAIRN_TRY(const std::vector<StoredBlock> blocks, all_blocks(*tier, options.deadline()));
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

}  // namespace

void add_store_pin_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("pin", "Keep blocks from being evicted for some time");
  auto options = std::make_shared<PinOptions>();
  add_store_argument(*command, *options);
  command->add_option("key", options->prefix, "First digits of the keys, see ls and explain")->required();
  command->add_option("--for", options->seconds, "Seconds")->check(CLI::Range(1, 315360000))->capture_default_str();
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

}  // namespace cairn::cli
