// SPDX-License-Identifier: Apache-2.0
// Redis servers for tests: real ones in folders of their own, and false ones that answer what a test says.
#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "cairn/store/redis/link.h"
#include "cairn/testing/test_folder.h"

namespace cairn::testing {

// A free loopback port; another process might take it before it is used.
inline std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  std::uint16_t port = 0;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    port = ntohs(address.sin_port);
  }
  ::close(fd);
  return port;
}

// Ends with its object, and with the process. Keeps nothing on disk.
class RedisServer {
 public:
  static bool installed() { return std::system("command -v redis-server >/dev/null 2>&1") == 0; }

  // On a unix socket, or on a loopback port when one is given. `arguments` are as on the command line.
  explicit RedisServer(std::vector<std::string> arguments = {}, std::uint16_t port = 0)
      : arguments_(std::move(arguments)), port_(port) {
    start();
  }
  ~RedisServer() { stop(); }
  RedisServer(const RedisServer&) = delete;

  void start() {
    std::vector<std::string> words = {"redis-server", "--port",    std::to_string(port_),
                                      "--bind",       "127.0.0.1", "--unixsocket",
                                      socket(),       "--save",    "",
                                      "--appendonly", "no",        "--dir",
                                      folder_.path(), "--logfile", folder_.path() + "/log"};
    words.insert(words.end(), arguments_.begin(), arguments_.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::execvp(argv[0], argv.data());
      ::_exit(127);
    }
    for (int i = 0; i < 500 && !up(); ++i) ::usleep(10'000);
  }
  // As a crash would.
  void stop() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  void freeze() { ::kill(pid_, SIGSTOP); }
  void thaw() { ::kill(pid_, SIGCONT); }

  std::string socket() const { return folder_.path() + "/s"; }
  std::string folder() const { return folder_.path(); }
  std::string url(std::string_view parameters = "") const {
    return (port_ == 0 ? "unix://" + socket() : "redis://127.0.0.1:" + std::to_string(port_)) + std::string(parameters);
  }
  std::uint16_t port() const { return port_; }

  // A command by a connection of its own; an error when there is no answer.
  redis::Reply call(std::initializer_list<std::string_view> words) const {
    using std::chrono::seconds;
    auto link = redis::open_link({.host = {}, .port = 0, .socket = socket()}, {}, seconds(5), deadline_in(seconds(5)));
    redis::Reply reply;
    reply.kind = redis::Reply::Kind::kError;
    if (!link) return reply;
    (*link)->command(words);
    if (auto answer = (*link)->receive(deadline_in(seconds(5)))) reply = *std::move(answer);
    return reply;
  }
  std::vector<std::string> keys(std::string_view pattern) const {
    std::vector<std::string> names;
    for (const redis::Reply& name : call({"KEYS", pattern}).items) names.push_back(name.text);
    return names;
  }

 private:
  bool up() const {
    const redis::Reply reply = call({"PING"});
    return reply.is(redis::Reply::Kind::kStatus) || reply.text.starts_with("NOAUTH");
  }

  TestFolder folder_;
  std::vector<std::string> arguments_;
  std::uint16_t port_;
  pid_t pid_ = -1;
};

// Accepts connections on a unix socket and hands each to `serve` in a thread; what is open is shut at the end.
class FakeRedis {
 public:
  explicit FakeRedis(std::function<void(int fd)> serve) : serve_(std::move(serve)) {
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket().c_str(), sizeof address.sun_path - 1);
    (void)!::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    (void)!::listen(listener_, 16);
    acceptor_ = std::thread([this] {
      for (;;) {
        const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) return;
        ++connections;
        fds_.push_back(fd);
        threads_.emplace_back([this, fd] {
          serve_(fd);
          ::shutdown(fd, SHUT_RDWR);
        });
      }
    });
  }
  ~FakeRedis() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (const int fd : fds_) ::shutdown(fd, SHUT_RDWR);
    for (std::thread& thread : threads_) thread.join();
    for (const int fd : fds_) ::close(fd);
    ::close(listener_);
  }
  std::string socket() const { return folder_.path() + "/s"; }
  std::string url() const { return "unix://" + socket(); }

  std::atomic<int> connections = 0;

 private:
  TestFolder folder_;
  std::function<void(int)> serve_;
  int listener_;
  std::vector<int> fds_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

// Serves the answer to every read of commands; the first command of a connection gets `first`.
inline std::function<void(int)> always_answer(std::string first, std::string then) {
  return [first = std::move(first), then = std::move(then)](int fd) {
    char buffer[65536];
    for (bool began = false; ::recv(fd, buffer, sizeof buffer, 0) > 0; began = true) {
      const std::string& answer = began || first.empty() ? then : first;
      if (::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) return;
    }
  };
}

}  // namespace cairn::testing
