// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/doctor.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "cairn/base/number_text.h"
#include "cairn/store/residency.h"
#include "cairn/store/upkeep.h"

namespace cairn {
namespace {

constexpr std::uint64_t kLeastBudget = std::uint64_t{1} << 20;
constexpr std::int64_t kClockIsSetFrom = 1700000000;  // November 2023, in Unix seconds
constexpr std::int64_t kClockSlack = 60;

void look_at_folder(const std::string& store, const StoreConfig& config, std::vector<Finding>& findings) {
  struct statvfs info {};
  std::string existing = store;
  std::error_code error;
  while (!existing.empty() && !std::filesystem::exists(existing, error)) {
    existing = std::filesystem::path(existing).parent_path().string();
  }
  if (statvfs(existing.empty() ? "." : existing.c_str(), &info) == 0) {
    const double free = static_cast<double>(info.f_bavail) * static_cast<double>(info.f_frsize);
    const bool tight = free < static_cast<double>(config.disk_bytes);
    findings.push_back(
        {tight ? Verdict::kWarning : Verdict::kGood,
         format_bytes(free) + " are free" +
             (tight ? ": less than the budget of " + format_bytes(static_cast<double>(config.disk_bytes)) +
                          ", writes will stop before it is used; lower --store-size"
                    : "")});
  }
  if (config.disk_bytes < kLeastBudget) {
    findings.push_back({Verdict::kBad, "a budget of " + std::to_string(config.disk_bytes) +
                                           " bytes holds hardly a block: raise --store-size"});
  }
}

void look_at_blocks(Tier& tier, const StoreConfig& config, Deadline deadline, std::vector<Finding>& findings) {
  const TierStats stats = tier.stats();
  const bool reading = !tier.writes();
  findings.push_back({stats.note.find("threads") != std::string::npos || reading ? Verdict::kWarning : Verdict::kGood,
                      tier.name() + " opens, " + std::to_string(stats.blocks) + " blocks [" + stats.note + "]"});
  if (stats.bytes > config.disk_bytes) {
    findings.push_back({Verdict::kWarning, "it holds " + format_bytes(static_cast<double>(stats.bytes)) +
                                               ", more than the budget: the rest will be evicted when it is used"});
  }
  if (stats.foreign > 0) {
    findings.push_back({Verdict::kWarning, foreign_text(stats) + (reading ? "" : "; they are erased")});
  }
  std::int64_t newest = 0;
  (void)tier.list(
      [&](const StoredBlock& block) {
        newest = std::max(newest, block.meta.created_s);
        return true;
      },
      deadline);
  if (newest > unix_seconds() + kClockSlack) {
    findings.push_back({Verdict::kWarning, "blocks were written " + std::to_string(newest - unix_seconds()) +
                                               " s from now: the clock went back, they expire late"});
  }
}

Finding probed(Tier& tier, Deadline deadline) {
  const upkeep::Probe probe = upkeep::probe(tier, deadline);
  if (probe.good()) {
    return {Verdict::kGood, "1 MiB is written in " + format_number(probe.write_ms, 2) + " ms and read back in " +
                                format_number(probe.read_ms, 2) + " ms, byte for byte"};
  }
  return {Verdict::kBad, "1 MiB: writing gives '" + std::string(block_status_name(probe.put)) + "', reading '" +
                             std::string(block_status_name(probe.got)) + "'"};
}

}  // namespace

std::vector<Finding> examine_store(const std::string& store, const StoreConfig& config, Deadline deadline) {
  std::vector<Finding> findings;
  const bool folder = store.find("://") == std::string::npos && !store.starts_with("ram:");
  if (folder) look_at_folder(store, config, findings);
  if (unix_seconds() < kClockIsSetFrom) {
    findings.push_back({Verdict::kWarning, "the clock is far behind: blocks will not expire"});
  }
  if (!config.key_file.empty()) {
    const auto key = StoreKey::from_file(config.key_file);
    findings.push_back(key ? Finding{Verdict::kGood, "the key file is sound"}
                           : Finding{Verdict::kBad, key.error().message});
  }
  StoreConfig roomy = config;
  roomy.disk_bytes = UINT64_MAX / 4;  // looking must evict nothing
  const Result<std::unique_ptr<Tier>> tier = open_tier(store, roomy);
  if (!tier) {
    findings.push_back({Verdict::kBad, tier.error().message});
    return findings;
  }
  look_at_blocks(**tier, config, deadline, findings);
  if ((*tier)->writes()) findings.push_back(probed(**tier, deadline));
  return findings;
}

std::vector<std::string> tiers_without_room(const Store& store, std::uint64_t tenant_bytes, std::size_t block_bytes) {
  std::vector<std::string> lines;
  for (const StoreStats::PerTier& tier : store.stats().tiers) {
    if (tier.stats.budget == 0) continue;
    const std::uint64_t room = tenant_bytes == 0 ? tier.stats.budget : std::min(tier.stats.budget, tenant_bytes);
    if (room >= block_bytes) continue;
    lines.push_back("store " + tier.name + " keeps nothing: it may hold " + format_bytes(static_cast<double>(room)) +
                    ", a block of this model takes " + format_bytes(static_cast<double>(block_bytes)));
  }
  return lines;
}

}  // namespace cairn
