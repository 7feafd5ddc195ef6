// SPDX-License-Identifier: Apache-2.0
// cairn store doctor: what will work with this store and what will not, before anything depends on it.
#include <sys/statvfs.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/cairn/model_options.h"
#include "apps/cairn/options.h"
#include "apps/cairn/store/store_commands.h"
#include "apps/cairn/terminal.h"
#include "cairn/store/residency.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

enum class Verdict : std::uint8_t { kGood, kWarning, kBad };

struct Finding {
  Verdict verdict = Verdict::kGood;
  std::string text;
};

struct DoctorOptions : StoreCommand {};

std::shared_ptr<const BlockRecord> probe_block() {
  BlockMeta meta;
  meta.key = Hasher("cairn.doctor.v1").u64(static_cast<std::uint64_t>(getpid())).finish();
  meta.parts = {PartMeta{256, 0}, PartMeta{1 << 20, 0}};
  meta.expires_s = unix_seconds() + 60;  // whatever happens, it does not stay
  static const std::vector<std::byte> bytes(1 << 20, std::byte{0x5a});
  const std::span<const std::byte> contents[] = {std::span(bytes).first(256), bytes};
  return BlockRecord::build(std::move(meta), contents);
}

void look_at_folder(const DoctorOptions& options, std::vector<Finding>& findings) {
  struct statvfs info {};
  std::string existing = options.store;
  std::error_code error;
  while (!existing.empty() && !std::filesystem::exists(existing, error)) {
    existing = std::filesystem::path(existing).parent_path().string();
  }
  if (statvfs(existing.empty() ? "." : existing.c_str(), &info) == 0) {
    const double free = static_cast<double>(info.f_bavail) * static_cast<double>(info.f_frsize);
    const bool tight = free < static_cast<double>(options.config.disk_bytes);
    findings.push_back(
        {tight ? Verdict::kWarning : Verdict::kGood,
         format_bytes(free) + " are free" +
             (tight ? ": less than the budget of " + format_bytes(static_cast<double>(options.config.disk_bytes)) +
                          ", writes will stop before it is used; lower --store-size"
                    : "")});
  }
}

Status doctor(const DoctorOptions& options) {
  std::vector<Finding> findings;
  const bool folder = options.store.find("://") == std::string::npos && !options.store.starts_with("ram:");
  if (folder) look_at_folder(options, findings);
  if (options.config.disk_bytes < (std::uint64_t{1} << 20) && folder) {
    findings.push_back({Verdict::kBad, "a budget of " + std::to_string(options.config.disk_bytes) +
                                           " bytes holds hardly a block: raise --store-size"});
  }
  if (unix_seconds() < 1700000000)
    findings.push_back({Verdict::kWarning, "the clock is far behind: blocks will not expire"});
  if (!options.config.key_file.empty()) {
    const auto key = StoreKey::from_file(options.config.key_file);
    findings.push_back(key ? Finding{Verdict::kGood, "the key file is sound"}
                           : Finding{Verdict::kBad, key.error().message});
  }
  StoreConfig config = options.config;
  config.disk_bytes = UINT64_MAX / 4;  // looking must evict nothing
  Result<std::unique_ptr<Tier>> tier = open_tier(options.store, config);
  if (!tier) {
    findings.push_back({Verdict::kBad, tier.error().message});
  } else {
    const TierStats stats = (*tier)->stats();
    const bool reading = !(*tier)->writes();
    findings.push_back({stats.note.find("threads") != std::string::npos || reading ? Verdict::kWarning : Verdict::kGood,
                        (*tier)->name() + " opens, " + std::to_string(stats.blocks) + " blocks [" + stats.note + "]"});
    if (stats.bytes > options.config.disk_bytes) {
      findings.push_back({Verdict::kWarning, "it holds " + format_bytes(static_cast<double>(stats.bytes)) +
                                                 ", more than the budget: the rest will be evicted when it is used"});
    }
    if (stats.foreign > 0) findings.push_back({Verdict::kWarning, foreign_text(stats)});
    std::int64_t newest = 0;
    (void)(*tier)->list(
        [&](const StoredBlock& block) {
          newest = std::max(newest, block.meta.created_s);
          return true;
        },
        options.deadline());
    if (newest > unix_seconds() + 60) {
      findings.push_back({Verdict::kWarning, "blocks were written " + std::to_string(newest - unix_seconds()) +
                                                 " s from now: the clock went back, they expire late"});
    }
    if (!reading) {
      const auto block = probe_block();
      const auto start = std::chrono::steady_clock::now();
      const BlockStatus put = (*tier)->put({&block, 1}, options.deadline())[0];
      const auto written = std::chrono::steady_clock::now();
      BlockStatus got = BlockStatus::kBroken;
      (*tier)->get({&block->meta().key, 1}, options.deadline(),
                   [&](std::size_t, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
                     got = record == nullptr || record->intact() ? status : BlockStatus::kCorrupt;
                   });
      const auto read = std::chrono::steady_clock::now();
      (*tier)->erase({&block->meta().key, 1}, options.deadline());
      const bool good = put == BlockStatus::kOk && got == BlockStatus::kOk;
      const auto ms = [](auto time) {
        return format_number(std::chrono::duration<double, std::milli>(time).count(), 2);
      };
      findings.push_back({good ? Verdict::kGood : Verdict::kBad,
                          good ? "1 MiB is written in " + ms(written - start) + " ms and read back in " +
                                     ms(read - written) + " ms, byte for byte"
                               : "1 MiB: writing gives '" + std::string(block_status_name(put)) + "', reading '" +
                                     std::string(block_status_name(got)) + "'"});
    }
  }
  bool bad = false;
  Json json = Json::array();
  for (const Finding& finding : findings) {
    const char* const word = finding.verdict == Verdict::kGood      ? "ok"
                             : finding.verdict == Verdict::kWarning ? "warning"
                                                                    : "bad";
    bad |= finding.verdict == Verdict::kBad;
    if (options.json) {
      json.push_back({{"verdict", word}, {"finding", finding.text}});
    } else {
      std::cout << word << ": " << finding.text << '\n';
    }
  }
  if (options.json) std::cout << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  if (bad) return fail(ErrorCode::kInvalidArgument, "this store will not work as configured");
  return {};
}

}  // namespace

void add_store_doctor_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("doctor", "Check a configuration: say what will not work, and why");
  auto options = std::make_shared<DoctorOptions>();
  add_store_argument(*command, *options);
  command->add_option("--store-size", options->config.disk_bytes, "The budget that it will get [10GiB]")
      ->transform(byte_size());
  command->add_option("--store-key", options->config.key_file, "The key file that will be used");
  command->callback([options, &outcome] { outcome = doctor(*options); });
}

}  // namespace cairn::cli
