// SPDX-License-Identifier: Apache-2.0
// The library parses requests and writes replies; sockets, threads, deadlines and the reading of bodies are ours, since
// its own have no bound on the time or the size of a request as a whole.
#include "cairn/serve/http/server.h"

#include <httplib.h>

#include <atomic>
#include <optional>
#include <thread>

#include "cairn/serve/http/connection.h"
#include "cairn/serve/http/message.h"

namespace cairn::http {
namespace {

constexpr std::chrono::milliseconds kGlance{100};

// A connection as the library reads and writes it.
class RequestStream final : public httplib::Stream {
 public:
  RequestStream(Connection& connection, const ServerOptions& options, const std::atomic<bool>& stop)
      : connection_(connection), options_(options), stop_(stop) {}

  void begin_head() {
    head_.clear();
    in_head_ = true;
    too_long_ = false;
    chunks_.reset();
    deadline_ = deadline_in(options_.head_time);
    allowed_ = options_.max_head_bytes;
  }
  void begin_body(bool chunked) {
    in_head_ = false;
    if (chunked) chunks_.emplace();
    deadline_ = deadline_in(options_.body_time);
    allowed_ = options_.max_body_bytes * 2 + options_.max_head_bytes;  // marks between chunks count too
  }
  bool has_buffered() const { return next_ < end_; }
  // What has been read of the head, as it came: the library drops lines that it does not understand.
  const std::string& head() const { return head_; }
  // Which rule the chunks of the body break; empty without one.
  std::string_view chunk_error() const { return chunks_ ? chunks_->why() : std::string_view(); }
  bool head_too_long() const { return in_head_ && too_long_; }
  // It is the first line that does not end; the library says nothing then.
  bool target_too_long() const { return head_too_long() && head_.find('\n') == std::string::npos; }

  bool is_readable() const override { return true; }
  bool is_writable() const override { return !connection_.gone(); }
  ssize_t read(char* to, size_t size) override {
    if (next_ == end_) {
      while (!connection_.wait_readable(std::min(deadline_, deadline_in(kGlance)))) {
        if (stop_ || passed(deadline_)) return -1;
      }
      const std::ptrdiff_t got = connection_.read(buffer_, sizeof buffer_, deadline_);
      if (got <= 0) return got;
      next_ = 0;
      end_ = static_cast<std::size_t>(got);
    }
    const std::size_t taken = std::min(size, end_ - next_);
    too_long_ = taken > allowed_;
    if (too_long_ || (chunks_ && !chunks_->take({buffer_ + next_, taken}))) return -1;
    allowed_ -= taken;
    std::copy_n(buffer_ + next_, taken, to);
    if (in_head_) head_.append(to, taken);
    next_ += taken;
    return static_cast<ssize_t>(taken);
  }
  ssize_t write(const char* from, size_t size) override {
    return connection_.write(from, size, deadline_in(options_.write_time)) ? static_cast<ssize_t>(size) : -1;
  }
  void get_remote_ip_and_port(std::string& /*ip*/, int& /*port*/) const override {}
  void get_local_ip_and_port(std::string& /*ip*/, int& /*port*/) const override {}
  socket_t socket() const override { return INVALID_SOCKET; }

 private:
  Connection& connection_;
  const ServerOptions& options_;
  const std::atomic<bool>& stop_;
  std::string head_;
  std::optional<ChunkRules> chunks_;  // while a chunked body is read
  bool in_head_ = false, too_long_ = false;
  Deadline deadline_{};
  std::size_t allowed_ = 0;
  char buffer_[4096];
  std::size_t next_ = 0, end_ = 0;
};

// What the library's callbacks need to know about the request that their thread is at.
struct Exchange {
  Connection& connection;
  RequestStream& stream;
  std::string peer;
  Request request{};
  bool answered = false;  // by us, with nothing left unread
};
thread_local Exchange* current = nullptr;

class ReplySink final : public Sink {
 public:
  ReplySink(httplib::DataSink& sink, const Connection& connection) : sink_(sink), connection_(connection) {}
  bool write(std::string_view bytes) override {
    // An empty chunk would end the body.
    if (!failed_ && !bytes.empty()) failed_ = !sink_.write(bytes.data(), bytes.size());
    return !failed_;
  }
  bool alive() const override { return !failed_ && !connection_.gone(); }
  bool failed() const { return failed_; }

 private:
  httplib::DataSink& sink_;
  const Connection& connection_;
  bool failed_ = false;
};

void put_reply(Reply reply, const httplib::Request& request, httplib::Response& response) {
  response.status = reply.status;
  for (const auto& [name, value] : reply.headers) response.set_header(name, value);
  if (!reply.stream) {
    if (reply.status == 204) return;
    response.body = std::move(reply.body);  // the library's own function copies it
    response.set_header("Content-Type", reply.content_type);
    return;
  }
  auto provider = [stream = std::move(reply.stream), &connection = current->connection](std::size_t,
                                                                                        httplib::DataSink& to) {
    ReplySink sink(to, connection);
    stream(sink);
    if (!sink.failed()) to.done();
    return !sink.failed();
  };
  if (request.version == "HTTP/1.0") {
    current->answered = false;  // only the end of the connection ends it
    response.set_content_provider(reply.content_type, std::move(provider));
  } else {
    response.set_chunked_content_provider(reply.content_type, std::move(provider));
  }
}

// What follows on the connection may be the rest of an unread body.
void put_last_reply(Reply reply, const httplib::Request& request, httplib::Response& response) {
  current->answered = false;
  put_reply(std::move(reply), request, response);
}

// The library promises ranges and to stay; where a connection is closed the client should know.
void finish_head(const httplib::Request& /*request*/, httplib::Response& response) {
  response.headers.erase("Accept-Ranges");
  if (current->answered) return;
  response.headers.erase("Keep-Alive");
  response.headers.erase("Connection");
  response.set_header("Connection", "close");
}

Request take_request(const httplib::Request& from) {
  Request to;
  to.method = from.method;
  to.path = httplib::detail::decode_url(std::string(path_of_target(from.target)), false);
  to.peer = current->peer;
  for (const auto& [name, value] : from.headers) to.headers.emplace(name, value);
  for (const auto& [name, value] : from.params) to.query.emplace(name, value);
  to.client_gone = [&connection = current->connection] { return connection.gone(); };
  return to;
}

}  // namespace

struct Server::Impl : private httplib::Server {
  Impl(const ServerOptions& server_options, http::Handler& api, Listener where, std::unique_ptr<TlsContext> with_tls)
      : options(server_options), handler(api), listener(std::move(where)), tls(std::move(with_tls)) {
    svr_sock_ = listener.socket();  // the library streams nothing while it believes to be closed
    set_keep_alive_max_count(options.max_keep_alive);
    set_keep_alive_timeout(std::chrono::ceil<std::chrono::seconds>(options.keep_alive).count());
    set_post_routing_handler([](const auto& request, auto& response) { finish_head(request, response); });
    set_pre_routing_handler([this](const auto& request, auto& response) { return answer_head(request, response); });
    Post(".*", [this](const httplib::Request& request, httplib::Response& response,
                      const httplib::ContentReader& reader) { answer_body(request, response, reader); });
    // For what the library refuses by itself, as a broken request line.
    set_error_handler(httplib::Server::HandlerWithResponse([this](const auto& request, auto& response) {
      if (current->answered || !response.body.empty()) return HandlerResponse::Unhandled;
      HeadRefusal why{response.status, "the request is not valid HTTP"};
      if (why.status == 414) why = target_too_long();
      if (current->stream.head_too_long()) {
        why = {431, "the headers have more than " + std::to_string(options.max_head_bytes) + " bytes"};
      }
      put_reply(handler.refuse(take_request(request), why.status, why.why), request, response);
      return HandlerResponse::Handled;
    }));
    pool.emplace(options.threads, options.max_waiting, [this](Arrival arrival) { serve(std::move(arrival)); });
    acceptor = std::jthread([this] { accept_clients(); });
  }

  ~Impl() override {
    stop = true;
    acceptor.join();
    pool.reset();
    svr_sock_ = INVALID_SOCKET;
  }

  void accept_clients() {
    while (!stop) {
      std::string peer;
      Descriptor client = listener.accept(deadline_in(kGlance), peer);
      if (client.get() < 0) continue;
      Arrival arrival{std::move(client), std::move(peer)};
      if (!pool->push(arrival)) turn_away(std::move(arrival.socket));
    }
  }

  // Without waiting for anything: this is the thread that accepts.
  void turn_away(Descriptor socket) const {
    if (tls != nullptr) return;
    static constexpr std::string_view kFull =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
        "Content-Length: 114\r\n\r\n"
        "{\"error\":{\"message\":\"too many connections; try again\",\"type\":\"server_error\",\"param\":null,"
        "\"code\":\"overloaded\"}}   \n";
    Connection(std::move(socket)).write(kFull.data(), kFull.size(), Deadline{});
  }

  void serve(Arrival arrival) {
    std::unique_ptr<Connection> connection;
    if (tls != nullptr) {
      connection = tls->accept(std::move(arrival.socket), deadline_in(options.head_time));
    } else {
      connection = std::make_unique<Connection>(std::move(arrival.socket));
    }
    if (connection == nullptr) return;
    RequestStream stream(*connection, options, stop);
    for (std::size_t left = options.max_keep_alive; left > 0; --left) {
      if (!stream.has_buffered() && !wait_for_request(*connection, left == options.max_keep_alive)) break;
      Exchange exchange{.connection = *connection, .stream = stream, .peer = arrival.peer};
      current = &exchange;
      stream.begin_head();
      bool closed = false;
      const bool written = process_request(stream, left == 1, closed, [](httplib::Request& request) {
        // Parts of small replies, and compression that would hold back a stream, are not worth their risks.
        request.ranges.clear();
        request.headers.erase("Range");
        request.headers.erase("Accept-Encoding");
      });
      current = nullptr;
      if (!written && stream.target_too_long()) answer_long_target(*connection, arrival.peer);
      if (!written || closed || !exchange.answered) break;
    }
    connection->finish(deadline_in(std::chrono::milliseconds(500)));
  }

  void answer_long_target(Connection& connection, const std::string& peer) {
    const HeadRefusal why = target_too_long();
    Request unread;
    unread.peer = peer;
    const Reply reply = handler.refuse(unread, why.status, why.why);
    const std::string bytes =
        "HTTP/1.1 " + std::to_string(reply.status) + " URI Too Long\r\nContent-Type: " + reply.content_type +
        "\r\nConnection: close\r\nContent-Length: " + std::to_string(reply.body.size()) + "\r\n\r\n" + reply.body;
    connection.write(bytes.data(), bytes.size(), deadline_in(options.write_time));
  }

  // An idle connection gives way to those that wait for a thread. The first request has the time of a head.
  bool wait_for_request(const Connection& connection, bool first) const {
    constexpr std::chrono::seconds kToBegin(1);  // what a client that has something to say needs at most
    const Deadline deadline = deadline_in(first ? options.head_time : options.keep_alive);
    const Deadline patience = deadline_in(first ? kToBegin : std::chrono::seconds(0));
    while (!stop && !passed(deadline)) {
      if (connection.wait_readable(std::min(deadline, deadline_in(kGlance)))) return true;
      if (passed(patience) && pool->crowded()) return false;
    }
    return false;
  }

  HandlerResponse answer_head(const httplib::Request& from, httplib::Response& response) {
    current->request = take_request(from);
    const Request& request = current->request;
    std::optional<HeadRefusal> refusal = refuse_target(from.target);
    if (!refusal) refusal = refuse_lines(current->stream.head());
    if (!refusal) refusal = refuse_head(request, options.max_body_bytes);
    if (refusal) {
      put_last_reply(handler.refuse(request, refusal->status, refusal->why), from, response);
      return HandlerResponse::Handled;
    }
    if (std::optional<Reply> reply = handler.screen(request)) {
      put_last_reply(std::move(*reply), from, response);
      return HandlerResponse::Handled;
    }
    if (request.method == "POST") return HandlerResponse::Unhandled;
    current->answered = true;
    put_reply(handler.handle(request), from, response);
    return HandlerResponse::Handled;
  }

  void answer_body(const httplib::Request& from, httplib::Response& response, const httplib::ContentReader& reader) {
    Request& request = current->request;
    current->stream.begin_body(request.headers.contains("Transfer-Encoding"));
    bool too_large = false;
    const bool read = reader([&](const char* bytes, std::size_t size) {
      too_large = request.body.size() + size > options.max_body_bytes;
      if (!too_large) request.body.append(bytes, size);
      return !too_large;
    });
    if (too_large) {
      put_last_reply(
          handler.refuse(request, 413, "the body has more than " + std::to_string(options.max_body_bytes) + " bytes"),
          from, response);
    } else if (const std::string_view wrong = current->stream.chunk_error(); !wrong.empty()) {
      put_last_reply(handler.refuse(request, 400, std::string(wrong)), from, response);
    } else if (!read) {
      put_last_reply(handler.refuse(request, 408, "the body did not arrive, or not in time"), from, response);
    } else {
      current->answered = true;
      put_reply(handler.handle(request), from, response);
    }
  }

  const ServerOptions options;
  http::Handler& handler;
  const Listener listener;
  const std::unique_ptr<TlsContext> tls;
  std::atomic<bool> stop{false};
  std::optional<ConnectionPool> pool;
  std::jthread acceptor;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

int Server::port() const {
  return impl_->listener.port();
}

Result<std::unique_ptr<Server>> Server::start(const ServerOptions& options, Handler& handler) {
  CAIRN_TRY(Listener listener, Listener::open(options.host, options.port));
  return start(options, handler, std::move(listener));
}

Result<std::unique_ptr<Server>> Server::start(const ServerOptions& options, Handler& handler, Listener listener) {
  std::unique_ptr<TlsContext> tls;
  if (options.tls_certificate.empty() != options.tls_key.empty()) {
    return fail(ErrorCode::kInvalidArgument, "TLS needs both --tls-cert and --tls-key");
  }
  if (!options.tls_certificate.empty()) {
    CAIRN_TRY(tls, TlsContext::open(options.tls_certificate, options.tls_key));
  }
  CAIRN_TRY_VOID(listener.listen());
  auto impl = std::make_unique<Impl>(options, handler, std::move(listener), std::move(tls));
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

}  // namespace cairn::http
