// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/http_client.h"

#include <httplib.h>

#include <algorithm>
#include <atomic>

#include "cairn/load/bounded_client.h"

namespace cairn {
namespace {

constexpr std::chrono::milliseconds kConnectTimeout(10000);

HttpOutcome outcome_of(httplib::Error error) {
  switch (error) {
    case httplib::Error::Success: return HttpOutcome::kAnswered;
    case httplib::Error::Connection:
    case httplib::Error::BindIPAddress:
    case httplib::Error::SSLConnection:
    case httplib::Error::SSLLoadingCerts:
    case httplib::Error::SSLServerVerification: return HttpOutcome::kRefused;
    case httplib::Error::ConnectionTimeout: return HttpOutcome::kTimeout;
    default: return HttpOutcome::kClosed;
  }
}

std::string reason_of(HttpOutcome outcome, httplib::Error error) {
  switch (outcome) {
    case HttpOutcome::kAnswered: return "";
    case HttpOutcome::kRefused:
      return error == httplib::Error::Connection ? "no connection"
                                                 : "no TLS connection (" + httplib::to_string(error) + ")";
    case HttpOutcome::kTimeout: return "timed out";
    case HttpOutcome::kClosed: return "the connection was closed early";
    case HttpOutcome::kTooLong: return longer_than_most();
    case HttpOutcome::kStopped: return "stopped";
  }
  return "";
}

}  // namespace

std::string longer_than_most() {
  return "the answer is longer than " + std::to_string(kMaxBody) + " bytes";
}

HttpAnswer HttpClient::get(const std::string& path, std::chrono::milliseconds timeout) const {
  return exchange("GET", path, {}, timeout, nullptr);
}

HttpAnswer HttpClient::post(const std::string& path, std::string body, std::chrono::milliseconds timeout) const {
  return exchange("POST", path, std::move(body), timeout, nullptr);
}

HttpAnswer HttpClient::stream(const std::string& path, std::string body, std::chrono::milliseconds timeout,
                              const OnBytes& on_bytes) const {
  return exchange("POST", path, std::move(body), timeout, &on_bytes);
}

HttpAnswer HttpClient::exchange(const char* method, const std::string& path, std::string body,
                                std::chrono::milliseconds timeout, const OnBytes* on_bytes) const {
  const Deadline deadline = deadline_in(timeout);
  UnseenBytes unseen;
  const std::unique_ptr<httplib::ClientImpl> client = bounded_client(target_, unseen);
  client->set_connection_timeout(std::min(timeout, kConnectTimeout));
  client->set_read_timeout(timeout + std::chrono::seconds(1));  // the watch comes first
  client->set_write_timeout(timeout + std::chrono::seconds(1));
  client->set_tcp_nodelay(true);
  client->set_keep_alive(false);
  if (!target_.authorities.empty()) client->set_ca_cert_path(target_.authorities);

  httplib::Request request;
  request.method = method;
  request.path = target_.path + path;
  if (!target_.key.empty()) request.headers.emplace("Authorization", "Bearer " + target_.key);
  if (!body.empty()) request.headers.emplace("Content-Type", "application/json");
  request.headers.emplace("Accept-Encoding", "identity");  // a stream must not wait for a compressor
  request.body = std::move(body);

  HttpAnswer answer;
  bool enough = false, too_long = false;
  request.response_handler = [&](const httplib::Response& response) {
    unseen.handed_on();
    answer.status = response.status;
    return true;
  };
  request.content_receiver = [&](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
    unseen.handed_on();
    if (on_bytes != nullptr && answer.status == 200) {
      enough = !(*on_bytes)({data, size});
    } else {
      answer.body.append(data, size);
      too_long = answer.body.size() > kMaxBody;
    }
    return !enough && !too_long;
  };

  httplib::Response response;
  httplib::Error error = httplib::Error::Success;
  std::atomic<bool> cut = false;
  {
    const DeadlineWatch::Guard guard(watch_, deadline, [&client, &cut] {
      cut = true;  // to the library a body that ends with the connection is whole then
      client->stop();
    });
    if (client->send(request, response, error)) error = httplib::Error::Success;
  }
  const bool in_head = answer.status == 0;
  if (in_head) answer.status = response.status > 0 ? response.status : 0;
  answer.outcome = outcome_of(error);
  const bool whole = answer.outcome == HttpOutcome::kAnswered && !cut;
  if (too_long || unseen.too_many()) {
    answer.outcome = HttpOutcome::kTooLong;
  } else if (enough || (!whole && watch_.stopped())) {
    answer.outcome = HttpOutcome::kStopped;
  } else if (!whole && passed(deadline)) {
    answer.outcome = HttpOutcome::kTimeout;
  }
  answer.reason = reason_of(answer.outcome, error);
  if (unseen.too_many()) {
    answer.reason = "more than " + std::to_string(kMaxUnseen) + " bytes of " + (in_head ? "head" : "framing");
  }
  return answer;
}

}  // namespace cairn
