// SPDX-License-Identifier: Apache-2.0
// cairn store stat and ls.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/cairn/store/store_commands.h"
#include "apps/cairn/terminal.h"
#include "cairn/block/shape.h"

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
  CAIRN_TRY(const std::vector<StoredBlock> blocks, all_blocks(*tier, options.deadline()));
  struct Group {
    std::uint64_t blocks = 0, bytes = 0, deepest = 0;
  };
  std::map<std::pair<Digest, std::uint64_t>, Group> groups;
  std::uint64_t bytes = 0, pinned = 0, compressed = 0, compressed_bytes = 0;
  for (const StoredBlock& block : blocks) {
    Group& group = groups[{block.meta.recipe, block.meta.tenant}];
    ++group.blocks;
    group.bytes += block.bytes;
    group.deepest = std::max<std::uint64_t>(group.deepest, block.meta.depth + 1);
    bytes += block.bytes;
    pinned += block.pinned_until_s != 0;
    compressed += block.meta.compressed;
    compressed_bytes += block.meta.compressed ? block.bytes : 0;
  }
  const std::map<Digest, std::string> recipes = tier->recipes();
  const TierStats stats = tier->stats();
  if (options.json) {
    Json json{{"store", tier->name()}, {"blocks", blocks.size()},  {"bytes", bytes},
              {"pinned", pinned},      {"compressed", compressed}, {"compressed_bytes", compressed_bytes},
              {"note", stats.note},    {"foreign", stats.foreign}, {"recipes", Json::array()}};
    for (const auto& [id, group] : groups) {
      const auto text = recipes.find(id.first);
      json["recipes"].push_back({{"recipe", id.first.hex()},
                                 {"tenant", id.second},
                                 {"blocks", group.blocks},
                                 {"bytes", group.bytes},
                                 {"longest_tokens", group.deepest * kBlockTokens},
                                 {"text", text == recipes.end() ? "" : text->second}});
    }
    std::cout << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    return {};
  }
  std::cout << tier->name() << ": " << blocks.size() << " blocks, " << format_bytes(static_cast<double>(bytes)) << ", "
            << pinned << " pinned, " << compressed << " compressed ("
            << format_bytes(static_cast<double>(compressed_bytes)) << ")"
            << (stats.note.empty() ? "" : " [" + stats.note + "]") << '\n';
  if (stats.foreign > 0) std::cout << foreign_text(stats) << '\n';
  std::vector<std::vector<std::string>> rows = {{"recipe", "tenant", "blocks", "bytes", "longest, tokens"}};
  for (const auto& [id, group] : groups) {
    char tenant[20] = "-";
    if (id.second != 0) std::snprintf(tenant, sizeof tenant, "%016llx", static_cast<unsigned long long>(id.second));
    rows.push_back({recipe_name(recipes, id.first), tenant, std::to_string(group.blocks),
                    format_bytes(static_cast<double>(group.bytes)), std::to_string(group.deepest * kBlockTokens)});
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
  CAIRN_TRY(std::vector<StoredBlock> blocks, all_blocks(*tier, options.deadline()));
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

}  // namespace cairn::cli
