// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/api.h"

#include <algorithm>
#include <exception>
#include <random>

#include "cairn/base/clock.h"
#include "cairn/serve/api/endpoints.h"

namespace cairn::api {

enum class Needs : std::uint8_t { kNothing, kKey, kKeyUnlessOpen };

struct Route {
  const char* method;
  std::string_view path;  // ending in '/' (but for the first): all below it
  Needs needs;
  http::Reply (*answer)(Context&, Call&);
};

namespace {

constexpr Route kRoutes[] = {
    {"POST", "/v1/chat/completions", Needs::kKey, chat_completions},
    {"POST", "/v1/completions", Needs::kKey, completions},
    {"POST", "/v1/embeddings", Needs::kKey, embeddings},
    {"GET", "/v1/models", Needs::kKey, list_models},
    {"GET", "/v1/models/", Needs::kKey, one_model},
    {"POST", "/tokenize", Needs::kKey, tokenize},
    {"POST", "/detokenize", Needs::kKey, detokenize},
    {"GET", "/health", Needs::kNothing, health},
    {"GET", "/ready", Needs::kNothing, ready},
    {"GET", "/metrics", Needs::kKeyUnlessOpen, metrics_text},
    {"GET", "/api/state", Needs::kKey, server_state},
    {"GET", "/api/blocks", Needs::kKey, held_block_list},
    {"GET", "/api/requests/", Needs::kKey, one_request},
};
constexpr Route kPage = {"GET", "/*", Needs::kNothing, page_file};

bool matches(const Route& route, std::string_view path) {
  return route.path.ends_with('/') ? path.size() > route.path.size() && path.starts_with(route.path)
                                   : path == route.path;
}

ApiResult<const Route*> find_route(const http::Request& request) {
  const std::string_view method = request.method == "HEAD" ? std::string_view("GET") : request.method;
  const char* other = nullptr;
  for (const Route& route : kRoutes) {
    if (!matches(route, request.path)) continue;
    if (method == route.method) return &route;
    other = route.method;
  }
  if (other == nullptr && method == "GET" && !request.path.starts_with("/v1/") && !request.path.starts_with("/api/")) {
    return &kPage;
  }
  if (other != nullptr) {
    return refuse({.status = 405,
                   .message = request.method + " is not for this URL; " + other + " is",
                   .code = "method_not_allowed",
                   .allow = other == std::string_view("GET") ? "GET, HEAD" : other});
  }
  return refuse({.status = 404,
                 .message = "unknown URL: " + request.method + " " + printable_start(request.path, 100),
                 .code = "unknown_url"});
}

std::string bearer(const http::Request& request) {
  const std::string header = request.header("Authorization");
  constexpr std::string_view kScheme = "bearer ";
  const bool is_bearer =
      header.size() > kScheme.size() &&
      std::ranges::equal(std::string_view(header).substr(0, kScheme.size()), kScheme, {}, http::NoCase::lower);
  return is_bearer ? header.substr(kScheme.size()) : "";
}

// A client's own id, where it may stand in a header and a log.
std::string request_id(const http::Request& request) {
  const std::string id = request.header("X-Request-Id");
  const auto plain = [](char c) { return c > ' ' && c < 0x7F && c != '"' && c != '\\'; };
  if (!id.empty() && id.size() <= 128 && std::ranges::all_of(id, plain)) return id;
  return "req-" + random_id(12);
}

bool is_json(const http::Request& request) {
  std::string type = request.header("Content-Type");
  type.resize(std::min(type.find_first_of("; "), type.size()));
  std::ranges::transform(type, type.begin(), http::NoCase::lower);
  return type == "application/json" || type.ends_with("+json");
}

}  // namespace

struct Api::Found {
  const Route* route = nullptr;
  bool all_tenants = false;
};

Api::Api(GenerateBackend& backend, Options options, AccessLog& log)
    : context_(new Context{.backend = backend, .options = std::move(options), .log = log, .started_s = unix_now()}) {}

Api::~Api() = default;

// The order matters: what tells least about the server comes first.
ApiResult<Api::Found> Api::find(const http::Request& request, RequestRecord& record) const {
  const Options& options = context_->options;
  if (!host_allowed(request, options.origins)) {
    return api::refuse({.status = 403,
                        .message = "the Host header does not name this machine; --allow-host adds a name",
                        .code = "host_not_allowed"});
  }
  if (!origin_allowed(request, options.origins)) {
    return api::refuse({.status = 403,
                        .message = "pages of other origins may not call this server; --allow-origin adds one",
                        .code = "origin_not_allowed"});
  }
  CAIRN_TRY(const Route* route, find_route(request));
  record.endpoint = route->path;
  Found found{.route = route, .all_tenants = !options.keys.has_value()};
  if (options.keys && route->needs != Needs::kNothing) {
    const auto tenant = options.keys->tenant_of(bearer(request));
    const bool open = route->needs == Needs::kKeyUnlessOpen && options.metrics_open;
    // With one tenant, figures of the whole server are its own.
    found.all_tenants = options.metrics_open || options.keys->tenants().size() == 1;
    if (!tenant && !open) {
      return api::refuse({.status = 401,
                          .message = "a valid API key is needed: 'Authorization: Bearer KEY'",
                          .code = "invalid_api_key"});
    }
    record.tenant = tenant.value_or("");
  }
  // Browsers may send other types to any site without asking it first.
  if (request.method == "POST" && !is_json(request)) {
    return api::refuse(
        {.status = 415, .message = "Content-Type must be application/json", .code = "unsupported_media_type"});
  }
  return found;
}

std::optional<http::Reply> Api::screen(const http::Request& request) {
  RequestRecord record;
  if (request.method == "OPTIONS") {
    if (request.header("Origin").empty() || !host_allowed(request, context_->options.origins) ||
        !origin_allowed(request, context_->options.origins)) {
      return finished(request, record,
                      error_reply({.status = 405,
                                   .message = "OPTIONS is for pages that --allow-origin names",
                                   .code = "method_not_allowed",
                                   .allow = "GET, HEAD, POST"}));
    }
    return finished(request, record, {.status = 204});
  }
  const auto found = find(request, record);
  if (found) return std::nullopt;
  record.error = found.error().message;
  return finished(request, record, error_reply(found.error()));
}

http::Reply Api::handle(const http::Request& request) {
  Call call{.http = request,
            .began = std::chrono::steady_clock::now(),
            .record = {.request_id = request_id(request), .started_s = unix_now()}};
  const auto found = find(request, call.record);
  if (!found) return finished(request, call.record, error_reply(found.error()));
  call.all_tenants = found->all_tenants;
  call.record.peer = request.peer;
  http::Reply reply;
  try {
    reply = found->route->answer(*context_, call);
  } catch (const std::exception& error) {
    call.record.error = error.what();
    reply = error_reply({.status = 500, .message = "unexpected error; see the server's log", .code = "internal_error"});
  }
  call.record.total_s = seconds_since(call.began);
  return finished(request, call.record, std::move(reply));
}

http::Reply Api::refuse(const http::Request& request, int status, const std::string& why) {
  RequestRecord record;
  record.error = why;
  return finished(
      request, record,
      error_reply({.status = status, .message = why, .code = status == 413 ? "body_too_large" : "bad_request"}));
}

http::Reply Api::finished(const http::Request& request, RequestRecord record, http::Reply reply) {
  if (record.request_id.empty()) record.request_id = request_id(request);
  if (record.endpoint.empty()) record.endpoint = "other";
  if (record.peer.empty()) record.peer = request.peer;
  record.status = reply.status;
  reply.headers.emplace_back("X-Request-Id", record.request_id);
  reply.headers.emplace_back("X-Content-Type-Options", "nosniff");
  add_cors_headers(request, context_->options.origins, reply);
  if (!reply.stream) context_->note(record);
  return reply;
}

void Context::note(const RequestRecord& record) {
  metrics.observe(record);
  if (record.generated) recent.add(record);
  // Probes and the polling of the page come every few seconds and would fill the log.
  static constexpr std::string_view kUnlogged[] = {"/health", "/ready", "/metrics", "/api/state", "/api/blocks"};
  if (record.status < 400 && std::ranges::find(kUnlogged, record.endpoint) != std::end(kUnlogged)) return;
  // Requests go on while the budget has room, so nobody else would hear of it.
  if (const std::string& why = record.usage.policy.why_not_offloaded; !why.empty()) {
    log.event_once("policies could not move blocks out of the KV budget to " + why);
  }
  log.request(record);
}

std::int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string random_id(std::size_t bytes) {
  static thread_local std::random_device device;
  std::string id;
  for (std::size_t i = 0; i < bytes; ++i) {
    const unsigned byte = device() & 0xFF;
    id += "0123456789abcdef"[byte >> 4];
    id += "0123456789abcdef"[byte & 15];
  }
  return id;
}

}  // namespace cairn::api
