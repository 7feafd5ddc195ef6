// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/redis/link.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "cairn/base/check.h"

namespace cairn::redis {
namespace {

constexpr std::size_t kInBytes = 16 << 10;
constexpr std::size_t kMaxPieces = 64;  // in one system call

std::optional<std::int64_t> integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

timeval time_left(Deadline deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - std::chrono::steady_clock::now());
  // hiredis takes no time at all for no limit.
  const std::int64_t us = std::clamp<std::int64_t>(left.count(), 1000, std::int64_t{3600} * 1'000'000);
  return {.tv_sec = us / 1'000'000, .tv_usec = us % 1'000'000};
}

Result<int> open_socket(const Address& address, Deadline deadline) {
  redisContext* const context = address.socket.empty()
                                    ? redisConnectWithTimeout(address.host.c_str(), address.port, time_left(deadline))
                                    : redisConnectUnixWithTimeout(address.socket.c_str(), time_left(deadline));
  if (context == nullptr) return fail(ErrorCode::kIo, address.text() + ": no memory for a connection");
  if (context->err != 0) {
    const std::string reason = context->errstr;
    redisFree(context);
    return fail(ErrorCode::kIo, address.text() + ": " + reason);
  }
  const int fd = redisFreeKeepFd(context);
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0) (void)::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  (void)::fcntl(fd, F_SETFD, FD_CLOEXEC);
  const int on = 1;
  if (address.socket.empty()) (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

// Requires: the command expects a plain +OK.
Status ask(Link& link, const Address& address, std::initializer_list<std::string_view> words, std::string_view refused,
           Deadline deadline) {
  link.command(words);
  const auto reply = link.receive(deadline);
  if (!reply) {
    return fail(ErrorCode::kIo,
                address.text() + (link.fault() == LinkFault::kGarbage  ? ": it is no Redis server"
                                  : link.fault() == LinkFault::kClosed ? ": it closed the connection"
                                                                       : ": it does not answer in time"));
  }
  if (!reply->is(Reply::Kind::kError)) return {};
  const std::string word = error_word(reply->text);
  // The server is there and will be ready; what it says while it loads is no refusal.
  if (word == "LOADING") return fail(ErrorCode::kIo, address.text() + ": it is still loading its data");
  return fail(ErrorCode::kInvalidArgument, address.text() + ": " + std::string(refused) + " (" + word + ")");
}

}  // namespace

Link::Link(int fd, std::chrono::milliseconds silence)
    : fd_(fd), silence_(silence), progress_(std::chrono::steady_clock::now()), in_(kInBytes) {}

Link::~Link() {
  ::close(fd_);
}

bool Link::fail(LinkFault fault) {
  fault_ = fault;
  return false;
}

bool Link::idle() const {
  if (fault_ != LinkFault::kNone || owed_ != 0 || !pieces_.empty() || in_begin_ != in_end_) return false;
  pollfd poll_fd{.fd = fd_, .events = POLLIN | POLLRDHUP, .revents = 0};
  return ::poll(&poll_fd, 1, 0) == 0;
}

void Link::add_text(std::string_view text) {
  if (pieces_.empty() || pieces_.back().data != nullptr) pieces_.push_back({nullptr, text_.size(), 0});
  text_ += text;
  pieces_.back().bytes += text.size();
}

void Link::command(std::span<const std::string_view> words) {
  add_text("*" + std::to_string(words.size()) + "\r\n");
  for (const std::string_view word : words) {
    add_text("$" + std::to_string(word.size()) + "\r\n");
    if (word.size() > kCopied) {
      pieces_.push_back({word.data(), 0, word.size()});
    } else {
      add_text(word);
    }
    add_text("\r\n");
  }
  ++owed_;
}

bool Link::wait(short events, Deadline deadline) {
  for (;;) {
    const Deadline now = std::chrono::steady_clock::now();
    const Deadline until = std::min(deadline, progress_ + silence_);
    if (now >= until) return fail(now - progress_ >= kTellingWait ? LinkFault::kSilent : LinkFault::kTimeout);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now);
    pollfd poll_fd{.fd = fd_, .events = events, .revents = 0};
    const int ready = ::poll(&poll_fd, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 60'000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return fail(LinkFault::kClosed);
  }
}

bool Link::flush(Deadline deadline) {
  if (fault_ != LinkFault::kNone) return false;
  if (!pieces_.empty()) progress_ = std::chrono::steady_clock::now();  // silence counts from the question
  std::size_t next = 0;
  while (next < pieces_.size()) {
    iovec vectors[kMaxPieces];
    std::size_t count = 0;
    for (; count < kMaxPieces && next + count < pieces_.size(); ++count) {
      const Piece& piece = pieces_[next + count];
      const char* const data = piece.data != nullptr ? piece.data : text_.data() + piece.offset;
      vectors[count] = {const_cast<char*>(data), piece.bytes};
    }
    msghdr message{};
    message.msg_iov = vectors;
    message.msg_iovlen = count;
    const ssize_t sent = ::sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return fail(LinkFault::kClosed);
      if (!wait(POLLOUT, deadline)) return false;
      continue;
    }
    progress_ = std::chrono::steady_clock::now();
    // A server that takes a byte now and then must not outlast the deadline either.
    if (progress_ >= deadline) return fail(LinkFault::kTimeout);
    for (auto left = static_cast<std::size_t>(sent); left > 0;) {
      Piece& piece = pieces_[next];
      const std::size_t taken = std::min(left, piece.bytes);
      piece.bytes -= taken;
      (piece.data != nullptr ? piece.data += taken, 0 : piece.offset += taken);
      left -= taken;
      if (piece.bytes == 0) ++next;
    }
  }
  pieces_.clear();
  text_.clear();
  return true;
}

// Receives what there is into the buffer, which is empty or grows by what follows.
bool Link::fill(Deadline deadline) {
  if (in_begin_ == in_end_) in_begin_ = in_end_ = 0;
  if (in_end_ == in_.size()) {
    std::memmove(in_.data(), in_.data() + in_begin_, in_end_ - in_begin_);
    in_end_ -= std::exchange(in_begin_, 0);
    if (in_end_ == in_.size()) return fail(LinkFault::kGarbage);  // a line without an end
  }
  for (;;) {
    const ssize_t got = ::recv(fd_, in_.data() + in_end_, in_.size() - in_end_, MSG_DONTWAIT);
    if (got > 0) {
      in_end_ += static_cast<std::size_t>(got);
      progress_ = std::chrono::steady_clock::now();
      if (progress_ >= deadline) return fail(LinkFault::kTimeout);
      return true;
    }
    if (got == 0) return fail(LinkFault::kClosed);
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return fail(LinkFault::kClosed);
    if (!wait(POLLIN, deadline)) return false;
  }
}

bool Link::read_line(std::string& line, Deadline deadline) {
  std::size_t looked = 0;
  for (;;) {
    const std::string_view have(in_.data() + in_begin_, in_end_ - in_begin_);
    const std::size_t end = have.find("\r\n", looked);
    if (end != std::string_view::npos) {
      line = have.substr(0, end);
      in_begin_ += end + 2;
      return true;
    }
    looked = have.empty() ? 0 : have.size() - 1;
    if (!fill(deadline)) return false;
  }
}

bool Link::read_bytes(std::span<std::byte> out, Deadline deadline) {
  const std::size_t buffered = std::min(out.size(), in_end_ - in_begin_);
  if (buffered > 0) std::memcpy(out.data(), in_.data() + in_begin_, buffered);
  in_begin_ += buffered;
  out = out.subspan(buffered);
  while (!out.empty()) {
    // The buffer is empty: what follows the value goes there in the same call.
    in_begin_ = in_end_ = 0;
    const iovec vectors[] = {{out.data(), out.size()}, {in_.data(), in_.size()}};
    const ssize_t got = ::readv(fd_, vectors, 2);
    if (got == 0) return fail(LinkFault::kClosed);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return fail(LinkFault::kClosed);
      if (!wait(POLLIN, deadline)) return false;
      continue;
    }
    progress_ = std::chrono::steady_clock::now();
    if (progress_ >= deadline) return fail(LinkFault::kTimeout);
    const std::size_t placed = std::min(out.size(), static_cast<std::size_t>(got));
    in_end_ = static_cast<std::size_t>(got) - placed;
    out = out.subspan(placed);
  }
  return true;
}

bool Link::drop_bytes(std::size_t bytes, Deadline deadline) {
  for (;;) {
    const std::size_t buffered = std::min(bytes, in_end_ - in_begin_);
    in_begin_ += buffered;
    bytes -= buffered;
    if (bytes == 0) return true;
    if (!fill(deadline)) return false;
  }
}

bool Link::read_string(std::int64_t length, Reply& reply, std::span<std::byte> into, Budget& budget,
                       Deadline deadline) {
  if (length == -1) return true;  // nil
  if (length < 0) return fail(LinkFault::kGarbage);
  reply.kind = Reply::Kind::kString;
  reply.bytes = static_cast<std::size_t>(length);
  if (!into.empty() && reply.bytes <= into.size()) {
    reply.placed = true;
    if (!read_bytes(into.first(reply.bytes), deadline)) return false;
  } else {
    if (reply.bytes > budget.bytes) return fail(LinkFault::kGarbage);
    budget.bytes -= reply.bytes;
    if (into.empty() && reply.bytes <= Limits::kText) {
      reply.text.resize(reply.bytes);
      if (!read_bytes(std::as_writable_bytes(std::span(reply.text)), deadline)) return false;
    } else if (!drop_bytes(reply.bytes, deadline)) {
      return false;
    }
  }
  std::string end;
  return read_line(end, deadline) && (end.empty() || fail(LinkFault::kGarbage));
}

bool Link::read_reply(Reply& reply, std::span<std::byte> into, int depth, Budget& budget, Deadline deadline) {
  std::string line;
  if (!read_line(line, deadline)) return false;
  if (line.empty()) return fail(LinkFault::kGarbage);
  const std::string_view rest = std::string_view(line).substr(1);
  const auto value = integer(rest);
  switch (line[0]) {
    case '+':
    case '-':
      reply.kind = line[0] == '+' ? Reply::Kind::kStatus : Reply::Kind::kError;
      reply.text = rest;
      return true;
    case ':':
      if (!value) return fail(LinkFault::kGarbage);
      reply.kind = Reply::Kind::kInteger;
      reply.integer = *value;
      return true;
    case '$': return value ? read_string(*value, reply, into, budget, deadline) : fail(LinkFault::kGarbage);
    case '*': break;
    default: return fail(LinkFault::kGarbage);
  }
  if (!value || *value < -1 || depth == 0) return fail(LinkFault::kGarbage);
  if (*value == -1) return true;
  if (static_cast<std::uint64_t>(*value) > budget.items) return fail(LinkFault::kGarbage);
  budget.items -= static_cast<std::size_t>(*value);
  reply.kind = Reply::Kind::kArray;
  for (std::int64_t i = 0; i < *value; ++i) {
    if (!read_reply(reply.items.emplace_back(), {}, depth - 1, budget, deadline)) return false;
  }
  return true;
}

std::optional<Reply> Link::receive(Deadline deadline, std::span<std::byte> into) {
  CAIRN_CHECK(owed_ > 0);
  if (!flush(deadline)) return std::nullopt;
  Reply reply;
  Budget budget;
  if (!read_reply(reply, into, Limits::kDepth, budget, deadline)) return std::nullopt;
  --owed_;
  return reply;
}

std::string error_word(std::string_view error) {
  std::string word;
  for (const char c : error.substr(0, error.find(' ')).substr(0, 24)) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) word += c;
  }
  return word.empty() ? "no reason given" : word;
}

Result<std::unique_ptr<Link>> open_link(const Address& address, const Login& login, std::chrono::milliseconds silence,
                                        Deadline deadline) {
  CAIRN_TRY(const int fd, open_socket(address, deadline));
  auto link = std::make_unique<Link>(fd, silence);
  constexpr std::string_view kWrong = "it refuses the user or password";
  if (!login.user.empty()) {
    CAIRN_TRY_VOID(ask(*link, address, {"AUTH", login.user, login.password}, kWrong, deadline));
  } else if (!login.password.empty()) {
    CAIRN_TRY_VOID(ask(*link, address, {"AUTH", login.password}, kWrong, deadline));
  }
  if (login.database != 0) {
    CAIRN_TRY_VOID(ask(*link, address, {"SELECT", std::to_string(login.database)},
                       "it refuses database " + std::to_string(login.database), deadline));
  }
  return link;
}

}  // namespace cairn::redis
