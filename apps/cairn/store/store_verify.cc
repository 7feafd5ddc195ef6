// SPDX-License-Identifier: Apache-2.0
// cairn store verify and gc: reading everything, and tidying up.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/cairn/input.h"
#include "apps/cairn/terminal.h"
#include "apps/cairn/store/store_commands.h"
#include "cairn/store/residency.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kVerifiedAtOnce = 8;

Status verify(const StoreCommand& options) {
  CAIRN_TRY(const auto tier, open_named(options, Access::kChange));
  CAIRN_TRY(const std::vector<StoredBlock> blocks, all_blocks(*tier, options.deadline()));
  const std::uint64_t torn = tier->stats().corrupt;  // noticed when the store was opened
  std::map<BlockStatus, std::uint64_t> counts;
  std::uint64_t bytes = 0;
  std::vector<std::string> damaged;
  Progress progress("Verifying");
  InterruptScope scope;
  for (std::size_t first = 0; first < blocks.size() && !interrupted(); first += kVerifiedAtOnce) {
    std::vector<Digest> keys;
    for (std::size_t i = first; i < std::min(blocks.size(), first + kVerifiedAtOnce); ++i)
      keys.push_back(blocks[i].meta.key);
    tier->get(keys, options.deadline(),
              [&](std::size_t i, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
                if (status == BlockStatus::kOk && !record->sound()) {
                  tier->report_corrupt(keys[i]);
                  status = BlockStatus::kCorrupt;
                }
                if (status == BlockStatus::kOk) bytes += record->size();
                if (status == BlockStatus::kCorrupt) damaged.push_back(keys[i].hex());
                ++counts[status];
              });
    progress.update(static_cast<double>(std::min(blocks.size(), first + kVerifiedAtOnce)) /
                    static_cast<double>(blocks.size()));
  }
  progress.finish();
  const TierStats stats = tier->stats();
  if (options.json) {
    Json json{{"store", tier->name()}, {"bytes", bytes},           {"damaged", damaged},
              {"torn", torn},          {"foreign", stats.foreign}, {"blocks", Json::object()}};
    for (const auto& [status, count] : counts) json["blocks"][std::string(block_status_name(status))] = count;
    std::cout << json.dump(2) << '\n';
  } else {
    std::cout << tier->name() << ": " << counts[BlockStatus::kOk] << " of " << blocks.size() << " blocks sound, "
              << format_bytes(static_cast<double>(bytes)) << " read\n";
    if (torn > 0) std::cout << torn << " torn blocks were erased when the store was opened\n";
    if (stats.foreign > 0) std::cout << foreign_text(stats) << "; erased\n";
    for (const std::string& key : damaged) std::cout << "damaged and erased: " << key << '\n';
    for (const auto& [status, count] : counts) {
      if (status != BlockStatus::kOk && status != BlockStatus::kCorrupt) {
        std::cout << count << " not read: " << block_status_name(status) << '\n';
      }
    }
  }
  if (interrupted()) return fail(ErrorCode::kCancelled, "interrupted");
  if (damaged.size() + torn > 0) {
    return fail(ErrorCode::kCorrupt, std::to_string(damaged.size() + torn) + " blocks were damaged");
  }
  if (counts[BlockStatus::kOk] != blocks.size()) return fail(ErrorCode::kIo, "not every block could be read");
  return {};
}

// Expired blocks go; opening the store has given back segments without a block; a checkpoint makes the next start fast.
Status gc(const StoreCommand& options) {
  CAIRN_TRY(const auto tier, open_named(options, Access::kChange));
  CAIRN_TRY(const std::vector<StoredBlock> blocks, all_blocks(*tier, options.deadline()));
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

}  // namespace

void add_store_verify_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("verify", "Read every block and check every byte; damaged ones are erased");
  auto options = std::make_shared<StoreCommand>();
  add_store_argument(*command, *options);
  command->callback([options, &outcome] { outcome = verify(*options); });
}

void add_store_gc_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("gc", "Erase what has expired");
  auto options = std::make_shared<StoreCommand>();
  add_store_argument(*command, *options);
  command->callback([options, &outcome] { outcome = gc(*options); });
}

}  // namespace cairn::cli
