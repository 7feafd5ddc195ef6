// SPDX-License-Identifier: Apache-2.0
// cairn store stat, ls, verify and doctor: what a store holds, whether it is sound, and what will not work with it.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/cairn/store/store_commands.h"
#include "apps/cairn/terminal.h"
#include "cairn/block/shape.h"
#include "cairn/store/doctor.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

// The first of the recipe's lines that a person recognises it by.
std::string recipe_name(const std::map<Digest, std::string>& recipes, const Digest& recipe) {
  const auto found = recipes.find(recipe);
  const std::string id = recipe.hex().substr(0, 12);
  if (found == recipes.end()) return id;
  const std::size_t at = found->second.find("codec_plan: ");
  if (at == std::string::npos) return id;
  const std::size_t end = found->second.find('\n', at);
  return id + " (" + found->second.substr(at + 12, end - at - 12) + ")";
}

Status stat(const StoreCommand& options) {
  CAIRN_TRY(const auto tier, open_named(options, Access::kRead));
  CAIRN_TRY(const std::vector<StoredBlock> blocks, upkeep::all_blocks(*tier, options.deadline()));
  const upkeep::Summary summary = upkeep::summarize(blocks);
  const std::map<Digest, std::string> recipes = tier->recipes();
  const TierStats stats = tier->stats();
  if (options.json) {
    Json json{
        {"store", tier->name()},    {"blocks", blocks.size()},          {"bytes", summary.bytes},
        {"pinned", summary.pinned}, {"compressed", summary.compressed}, {"compressed_bytes", summary.compressed_bytes},
        {"note", stats.note},       {"foreign", stats.foreign},         {"recipes", Json::array()}};
    for (const auto& [id, group] : summary.groups) {
      const auto text = recipes.find(id.first);
      json["recipes"].push_back({{"recipe", id.first.hex()},
                                 {"tenant", id.second},
                                 {"blocks", group.blocks},
                                 {"bytes", group.bytes},
                                 {"longest_tokens", group.longest * kBlockTokens},
                                 {"text", text == recipes.end() ? "" : text->second}});
    }
    std::cout << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    return {};
  }
  std::cout << tier->name() << ": " << blocks.size() << " blocks, " << format_bytes(static_cast<double>(summary.bytes))
            << ", " << summary.pinned << " pinned, " << summary.compressed << " compressed ("
            << format_bytes(static_cast<double>(summary.compressed_bytes)) << ")"
            << (stats.note.empty() ? "" : " [" + stats.note + "]") << '\n';
  if (stats.foreign > 0) std::cout << foreign_text(stats) << '\n';
  std::vector<std::vector<std::string>> rows = {{"recipe", "tenant", "blocks", "bytes", "longest, tokens"}};
  for (const auto& [id, group] : summary.groups) {
    char tenant[20] = "-";
    if (id.second != 0) std::snprintf(tenant, sizeof tenant, "%016llx", static_cast<unsigned long long>(id.second));
    rows.push_back({recipe_name(recipes, id.first), tenant, std::to_string(group.blocks),
                    format_bytes(static_cast<double>(group.bytes)), std::to_string(group.longest * kBlockTokens)});
  }
  if (rows.size() > 1) std::cout << '\n' << format_table(rows);
  return {};
}

struct LsOptions : StoreCommand {
  std::string prefix;
  std::size_t limit = 50;
};

Status ls(const LsOptions& options) {
  CAIRN_TRY(const auto tier, open_named(options, Access::kRead));
  warn_of_foreign(*tier);
  CAIRN_TRY(std::vector<StoredBlock> blocks, upkeep::all_blocks(*tier, options.deadline()));
  std::erase_if(blocks, [&](const StoredBlock& block) { return !block.meta.key.hex().starts_with(options.prefix); });
  std::ranges::sort(blocks, [](const StoredBlock& a, const StoredBlock& b) {
    return std::tuple(a.meta.created_s, a.meta.depth, a.meta.key) <
           std::tuple(b.meta.created_s, b.meta.depth, b.meta.key);
  });
  const std::size_t shown = std::min(options.limit, blocks.size());
  if (options.json) {
    Json json = Json::array();
    for (const StoredBlock& block : std::span(blocks).first(shown)) {
      json.push_back({{"key", block.meta.key.hex()},
                      {"parent", block.meta.parent.hex()},
                      {"recipe", block.meta.recipe.hex()},
                      {"tenant", block.meta.tenant},
                      {"first_token", std::uint64_t{block.meta.depth} * kBlockTokens},
                      {"bytes", block.bytes},
                      {"compressed", block.meta.compressed},
                      {"created", block.meta.created_s},
                      {"expires", block.meta.expires_s},
                      {"pinned_until", block.pinned_until_s}});
    }
    std::cout << json.dump(2) << '\n';
    return {};
  }
  std::vector<std::vector<std::string>> rows = {
      {"key", "after", "recipe", "first token", "bytes", "form", "created (UTC)", "expires", "pinned until"}};
  for (const StoredBlock& block : std::span(blocks).first(shown)) {
    rows.push_back({block.meta.key.hex().substr(0, 16), block.meta.parent.hex().substr(0, 8),
                    block.meta.recipe.hex().substr(0, 8),
                    std::to_string(std::uint64_t{block.meta.depth} * kBlockTokens),
                    format_bytes(static_cast<double>(block.bytes)), block.meta.compressed ? "zstd" : "plain",
                    time_text(block.meta.created_s), time_text(block.meta.expires_s), time_text(block.pinned_until_s)});
  }
  std::cout << format_table(rows);
  if (shown < blocks.size()) std::cout << "... and " << blocks.size() - shown << " more; see --limit\n";
  return {};
}

Status verify(const StoreCommand& options) {
  CAIRN_TRY(const auto tier, open_named(options, Access::kChange));
  CAIRN_TRY(upkeep::Verified verified, [&] {
    const Working working(options, "Verifying");
    return upkeep::verify(*tier, working.watch());
  }());
  const TierStats stats = tier->stats();
  std::vector<std::string> damaged;
  for (const Digest& key : verified.damaged) damaged.push_back(key.hex());
  if (options.json) {
    Json json{{"store", tier->name()}, {"bytes", verified.bytes},  {"damaged", damaged},
              {"torn", verified.torn}, {"foreign", stats.foreign}, {"blocks", Json::object()}};
    for (const auto& [status, count] : verified.counts) json["blocks"][std::string(block_status_name(status))] = count;
    std::cout << json.dump(2) << '\n';
  } else {
    std::cout << tier->name() << ": " << verified.counts[BlockStatus::kOk] << " of " << verified.blocks
              << " blocks sound, " << format_bytes(static_cast<double>(verified.bytes)) << " read\n";
    if (verified.torn > 0) std::cout << verified.torn << " torn blocks were erased when the store was opened\n";
    if (stats.foreign > 0) std::cout << foreign_text(stats) << "; erased\n";
    for (const std::string& key : damaged) std::cout << "damaged and erased: " << key << '\n';
    for (const auto& [status, count] : verified.counts) {
      if (status != BlockStatus::kOk && status != BlockStatus::kCorrupt) {
        std::cout << count << " not read: " << block_status_name(status) << '\n';
      }
    }
  }
  if (interrupted()) return fail(ErrorCode::kCancelled, "interrupted");
  if (damaged.size() + verified.torn > 0) {
    return fail(ErrorCode::kCorrupt, std::to_string(damaged.size() + verified.torn) + " blocks were damaged");
  }
  if (verified.counts[BlockStatus::kOk] != verified.blocks) {
    return fail(ErrorCode::kIo, "not every block could be read");
  }
  return {};
}

Status doctor(const StoreCommand& options) {
  const std::vector<Finding> findings = examine_store(options.store, options.config, options.deadline());
  Json json = Json::array();
  for (const Finding& finding : findings) {
    if (options.json) {
      json.push_back({{"verdict", verdict_name(finding.verdict)}, {"finding", finding.text}});
    } else {
      std::cout << verdict_name(finding.verdict) << ": " << finding.text << '\n';
    }
  }
  if (options.json) std::cout << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  if (std::ranges::find(findings, Verdict::kBad, &Finding::verdict) != findings.end()) {
    return fail(ErrorCode::kInvalidArgument, "this store will not work as configured");
  }
  return {};
}

}  // namespace

void add_store_stat_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("stat", "How much is stored, of which recipes");
  auto options = std::make_shared<StoreCommand>();
  add_store_argument(*command, *options);
  command->callback([options, &outcome] { outcome = stat(*options); });
}

void add_store_ls_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("ls", "List the blocks, oldest first");
  auto options = std::make_shared<LsOptions>();
  add_store_argument(*command, *options);
  command->add_option("--prefix", options->prefix, "Only keys that begin so");
  command->add_option("--limit", options->limit, "Most lines")->capture_default_str();
  command->callback([options, &outcome] { outcome = ls(*options); });
}

void add_store_verify_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("verify", "Read every block and check every byte; damaged ones are erased");
  auto options = std::make_shared<StoreCommand>();
  add_store_argument(*command, *options);
  command->callback([options, &outcome] { outcome = verify(*options); });
}

void add_store_doctor_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("doctor", "Check a configuration: say what will not work, and why");
  auto options = std::make_shared<StoreCommand>();
  add_store_argument(*command, *options);
  command->add_option("--store-size", options->config.disk_bytes, "The budget that it will get [10GiB]")
      ->transform(byte_size());
  command->add_option("--store-key", options->config.key_file, "The key file that will be used");
  command->callback([options, &outcome] { outcome = doctor(*options); });
}

}  // namespace cairn::cli
