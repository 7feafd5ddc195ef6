// SPDX-License-Identifier: Apache-2.0
// The state of the server, for the page and for operators.
#include <charconv>
#include <map>

#include "cairn/base/clock.h"
#include "cairn/base/utf8.h"
#include "cairn/serve/api/endpoints.h"

namespace cairn::api {
namespace {

constexpr std::size_t kMaxBlocks = 20000;
constexpr std::size_t kPreviewChars = 160;
constexpr std::chrono::milliseconds kTierTime{300};  // for all tiers to say which blocks they have

OrderedJson loop_json(const LoopState& state) {
  return {{"running", state.running},
          {"waiting", state.waiting},
          {"max_running", state.max_running},
          {"passes", state.passes},
          {"rows", state.rows},
          {"prefill_rows", state.prefill_rows},
          {"decode_rows", state.decode_rows},
          {"last_batch", state.last_batch},
          {"max_rows", state.max_rows},
          {"preempted", state.preempted},
          {"finished", state.finished},
          {"cancelled", state.cancelled},
          {"failed", state.failed},
          {"refused", state.refused},
          {"codec", state.codec}};
}

// Figures of the whole server (passes, hits) would tell one tenant what the others do.
OrderedJson loop_json_for(const LoopState& state, const std::string& tenant) {
  OrderedJson json = {{"running", 0}, {"waiting", 0}, {"max_running", state.max_running}, {"codec", state.codec}};
  for (const TenantState& one : state.tenants) {
    if (one.name != tenant) continue;
    json["running"] = one.running;
    json["waiting"] = one.waiting;
  }
  return json;
}

OrderedJson tenant_json(const TenantState& tenant) {
  const PrefixIndexStats& index = tenant.cache.index;
  const KeptPrefixStats& kept = tenant.cache.kept;
  return {{"name", tenant.name},
          {"running", tenant.running},
          {"waiting", tenant.waiting},
          {"requests", tenant.requests},
          {"prompt_tokens", tenant.prompt_tokens},
          {"cached_tokens", tenant.cached_tokens},
          {"stored_tokens", tenant.stored_tokens},
          {"generated_tokens", tenant.generated_tokens},
          {"kv_bytes", tenant.cache.bytes_used},
          {"kv_sheet_bytes", tenant.cache.sheet_bytes},
          {"kv_high_water", tenant.cache.high_water},
          {"kv_budget", tenant.kv_budget},
          {"kv_public", tenant.kv_public},
          {"index",
           {{"blocks", index.blocks},
            {"bytes", index.bytes},
            {"hits", index.hits},
            {"misses", index.misses},
            {"inserted", index.inserted},
            {"evictions", index.evictions},
            {"windows_dropped", index.windows_dropped},
            {"shortened", index.shortened}}},
          {"kept",
           {{"prefixes", kept.prefixes},
            {"bytes", kept.bytes},
            {"hits", kept.hits},
            {"tokens", kept.tokens_matched},
            {"published", kept.published},
            {"evictions", kept.evictions}}}};
}

OrderedJson store_json(Store* store) {
  if (store == nullptr) return nullptr;
  const StoreStats stats = store->stats();
  OrderedJson tiers = OrderedJson::array();
  for (const StoreStats::PerTier& tier : stats.tiers) {
    tiers.push_back({{"name", tier.name},
                     {"blocks", tier.stats.blocks},
                     {"bytes", tier.stats.bytes},
                     {"budget", tier.stats.budget},
                     {"hits", tier.stats.hits},
                     {"misses", tier.stats.misses},
                     {"evictions", tier.stats.evictions},
                     {"bytes_read", tier.stats.bytes_read},
                     {"bytes_written", tier.stats.bytes_written},
                     {"read_bytes_per_s", tier.read_bytes_per_s},
                     {"resting", tier.resting},
                     {"note", tier.stats.note}});
  }
  return {{"loads", stats.loads},
          {"blocks_loaded", stats.blocks_loaded},
          {"writes", stats.writes},
          {"writes_dropped", stats.writes_dropped},
          {"writes_failed", stats.writes_failed},
          {"queued_bytes", stats.queued_bytes},
          {"tiers", std::move(tiers)}};
}

// For each block, which tiers have it. A tier that rests or does not say in time is "unknown".
OrderedJson add_tiers(Store& store, std::span<const HeldBlock> held, bool with_places, OrderedJson& blocks) {
  std::vector<Digest> keys;
  for (const HeldBlock& block : held) keys.push_back(block.key);
  for (OrderedJson& block : blocks) block["tiers"] = OrderedJson::array();
  const StoreStats stats = store.stats();
  const Deadline deadline = deadline_in(kTierTime);
  OrderedJson tiers = OrderedJson::array();
  for (std::size_t t = 0; t < store.tiers(); ++t) {
    bool known = !stats.tiers[t].resting && !passed(deadline);
    const std::vector<BlockStatus> statuses =
        known ? store.tier(t).contains(keys, deadline) : std::vector<BlockStatus>{};
    for (std::size_t i = 0; i < statuses.size(); ++i) {
      known = known && statuses[i] != BlockStatus::kTimeout && statuses[i] != BlockStatus::kBroken;
      if (statuses[i] == BlockStatus::kOk) blocks[i]["tiers"].push_back(t);
    }
    const std::string& name = stats.tiers[t].name;
    tiers.push_back({{"name", with_places ? name : name.substr(0, name.find_first_of(" :"))}, {"known", known}});
  }
  return tiers;
}

OrderedJson block_json(const HeldBlock& block, const Tokenizer& tokenizer) {
  return {{"key", block.key.hex()},
          {"parent", block.parent.hex()},
          {"depth", block.depth},
          {"bytes", block.bytes},
          {"users", block.users},
          {"tokens", block.tokens.size()},
          {"text", printable_start(tokenizer.decode(block.tokens, {.show_control = true, .continues_text = true}),
                                   kPreviewChars)}};
}

std::size_t count_in(const http::Request& request, const std::string& name, std::size_t without, std::size_t most) {
  const auto found = request.query.find(name);
  if (found == request.query.end()) return without;
  std::size_t value = without;
  const std::string& text = found->second;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return std::min(value, most);
}

}  // namespace

http::Reply health(Context& /*context*/, Call& /*call*/) {
  return {.body = R"({"status":"ok"})"};
}

http::Reply ready(Context& context, Call& /*call*/) {
  if (!context.backend.draining()) return {.body = R"({"status":"ready"})"};
  return {.status = 503, .body = R"({"status":"draining"})"};
}

http::Reply metrics_text(Context& context, Call& call) {
  const auto tenant = call.all_tenants ? std::nullopt : std::optional(call.record.tenant);
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8",
          .body = context.metrics.text(context.backend, tenant)};
}

http::Reply server_state(Context& context, Call& call) {
  const LoopState state = context.backend.state();
  const ModelConfig& config = context.backend.config();
  const std::string& tenant = call.record.tenant;
  OrderedJson json = {{"model",
                       {{"id", context.options.model.name},
                        {"arch", config.arch},
                        {"layers", config.layers},
                        {"heads", config.heads},
                        {"kv_heads", config.kv_heads},
                        {"head_dim", config.head_dim},
                        {"vocabulary", config.vocab},
                        {"context", context.backend.context()},
                        {"chat_template", context.options.model.chat_template.name()}}},
                      {"uptime_s", seconds_since(context.started)},
                      {"draining", context.backend.draining()},
                      {"keys", context.options.keys.has_value()},
                      {"loop", call.all_tenants ? loop_json(state) : loop_json_for(state, tenant)},
                      {"tenant", nullptr},
                      {"tenants", OrderedJson::array()},
                      {"first_token", nullptr},
                      {"store", call.all_tenants ? store_json(context.backend.store()) : nullptr},
                      {"requests", OrderedJson::array()}};
  for (const TenantState& one : state.tenants) {
    if (one.name == tenant) json["tenant"] = tenant_json(one);
    if (call.all_tenants || one.name == tenant) json["tenants"].push_back(tenant_json(one));
  }
  const std::vector<RequestRecord> recent = context.recent.of_tenant(tenant, context.options.recent);
  const FirstTokenTimes times = first_token_times(recent);
  json["first_token"] = {{"requests", times.requests}, {"p50_s", times.p50_s}, {"p95_s", times.p95_s}};
  for (std::size_t i = 0; i < std::min(recent.size(), count_in(call.http, "requests", 50, 1000)); ++i) {
    json["requests"].push_back(record_json(recent[i]));
  }
  return {.body = json_text(json)};
}

http::Reply held_block_list(Context& context, Call& call) {
  const auto asked = call.http.query.find("tenant");
  if (asked != call.http.query.end() && asked->second != call.record.tenant) {
    return error_reply({.status = 403,
                        .message = "a key shows the blocks of its own tenant alone",
                        .param = "tenant",
                        .code = "other_tenant"});
  }
  OrderedJson blocks = OrderedJson::array();
  const std::size_t most = count_in(call.http, "max", 2000, kMaxBlocks);
  const std::vector<HeldBlock> held = context.backend.held_blocks(call.record.tenant, most);
  for (const HeldBlock& block : held) blocks.push_back(block_json(block, context.backend.tokenizer()));
  OrderedJson json = {{"tenant", call.record.tenant}};
  Store* store = context.backend.store();
  // A tier may be a server far away: only a caller that asks for tiers waits for them.
  if (store != nullptr && count_in(call.http, "tiers", 0, 1) == 1)
    json["tiers"] = add_tiers(*store, held, call.all_tenants, blocks);
  json["blocks"] = std::move(blocks);
  return {.body = json_text(json)};
}

http::Reply one_request(Context& context, Call& call) {
  const std::string id = call.http.path.substr(std::string_view("/api/requests/").size());
  const auto record = context.recent.find(id, call.record.tenant);
  if (record) return {.body = json_text(record_json(*record))};
  return error_reply(
      {.status = 404, .message = "no such request, or it was too long ago", .code = "request_not_found"});
}

http::Reply page_file(Context& /*context*/, Call& call) {
  const std::string_view path = call.http.path == "/" ? std::string_view("/index.html") : call.http.path;
  for (const PageFile& file : page_files()) {
    if (file.path != path) continue;
    http::Reply reply{.content_type = std::string(file.content_type), .body = std::string(file.bytes)};
    reply.headers.emplace_back("Cache-Control", "no-cache");
    reply.headers.emplace_back("Referrer-Policy", "no-referrer");
    reply.headers.emplace_back(
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'");
    return reply;
  }
  return error_reply(
      {.status = 404, .message = "unknown URL: " + printable_start(call.http.path, 100), .code = "unknown_url"});
}

}  // namespace cairn::api
