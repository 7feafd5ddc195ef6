// SPDX-License-Identifier: Apache-2.0
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>

#include "cairn/serve/http/connection.h"

namespace cairn::http {

struct FreeTls {
  void operator()(SSL* tls) const { SSL_free(tls); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};

namespace {

std::string last_error() {
  char text[256] = "unknown";
  if (const unsigned long code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return text;
}

class TlsConnection final : public Connection {
 public:
  TlsConnection(Descriptor socket, SSL_CTX* context) : Connection(std::move(socket)), tls_(SSL_new(context)) {
    if (tls_ != nullptr) SSL_set_fd(tls_.get(), Connection::socket());
  }

  bool handshake(Deadline deadline) {
    while (tls_ != nullptr) {
      ERR_clear_error();
      const int done = SSL_accept(tls_.get());
      if (done == 1) return true;
      const Step step = step_of(done);
      if (step == Step::kEnd || step == Step::kFailed || !wait_for(step, deadline)) return false;
    }
    return false;
  }

  void finish(Deadline deadline) override {
    if (!failed_) SSL_shutdown(tls_.get());
    Connection::finish(deadline);
  }

 private:
  Moved read_some(char* to, std::size_t size) override {
    ERR_clear_error();
    const int got = SSL_read(tls_.get(), to, static_cast<int>(std::min<std::size_t>(size, 1 << 20)));
    return got > 0 ? Moved{Step::kDone, static_cast<std::size_t>(got)} : Moved{step_of(got), 0};
  }

  Moved write_some(const char* from, std::size_t size) override {
    ERR_clear_error();
    const int sent = SSL_write(tls_.get(), from, static_cast<int>(std::min<std::size_t>(size, 1 << 20)));
    return sent > 0 ? Moved{Step::kDone, static_cast<std::size_t>(sent)} : Moved{step_of(sent), 0};
  }

  bool has_buffered() const override { return SSL_pending(tls_.get()) > 0; }

  Step step_of(int result) {
    switch (SSL_get_error(tls_.get(), result)) {
      case SSL_ERROR_WANT_READ: return Step::kWantRead;
      case SSL_ERROR_WANT_WRITE: return Step::kWantWrite;
      case SSL_ERROR_ZERO_RETURN: return Step::kEnd;
      default: failed_ = true; return Step::kFailed;  // SSL_shutdown must not follow
    }
  }

  std::unique_ptr<SSL, FreeTls> tls_;
  bool failed_ = false;
};

}  // namespace

struct TlsContext::Impl {
  std::unique_ptr<SSL_CTX, FreeTls> context;
};

TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;

Result<std::unique_ptr<TlsContext>> TlsContext::open(const std::string& certificate, const std::string& key) {
  auto impl = std::make_unique<Impl>();
  impl->context.reset(SSL_CTX_new(TLS_server_method()));
  SSL_CTX* context = impl->context.get();
  if (context == nullptr) return fail(ErrorCode::kInternal, "TLS: " + last_error());
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
    return fail(ErrorCode::kInvalidArgument, "TLS certificate '" + certificate + "': " + last_error());
  }
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    return fail(ErrorCode::kInvalidArgument, "TLS key '" + key + "': " + last_error());
  }
  return std::unique_ptr<TlsContext>(new TlsContext(std::move(impl)));
}

std::unique_ptr<Connection> TlsContext::accept(Descriptor socket, Deadline deadline) {
  auto connection = std::make_unique<TlsConnection>(std::move(socket), impl_->context.get());
  if (!connection->handshake(deadline)) return nullptr;
  return connection;
}

}  // namespace cairn::http
