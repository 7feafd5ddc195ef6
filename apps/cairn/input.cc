// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/input.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "cairn/base/utf8.h"

namespace cairn::cli {
namespace {

constexpr std::size_t kMaxTextBytes = std::size_t{1} << 30;

struct Close {
  void operator()(std::FILE* file) const {
    if (file != stdin) std::fclose(file);
  }
};

std::atomic<bool> flag{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may touch nothing else");

// The handler writes to this pipe, so that a wait sees a signal that came before it or went to another thread.
int wake_pipe[2] = {-1, -1};

void on_signal(int /*number*/) {
  const int saved = errno;
  flag.store(true, std::memory_order_relaxed);
  if (::write(wake_pipe[1], "", 1) < 0) {
    // Full: the wait will wake up anyway.
  }
  errno = saved;
}

}  // namespace

Result<std::string> read_text(const std::string& path) {
  const bool from_stdin = path == "-";
  const std::unique_ptr<std::FILE, Close> file(from_stdin ? stdin : std::fopen(path.c_str(), "rb"));
  if (file == nullptr) {
    return fail(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo,
                "cannot open '" + path + "': " + std::strerror(errno));
  }
  std::string text;
  char buffer[65536];
  while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, file.get())) {
    // Files without an end, such as /dev/zero, take no more memory than that.
    if (text.size() + got > kMaxTextBytes) {
      return fail(ErrorCode::kInvalidArgument, "'" + path + "' has more than 1 GiB, which is no text to read");
    }
    text.append(buffer, got);
  }
  if (std::ferror(file.get()) != 0) {
    return fail(ErrorCode::kIo, "cannot read '" + path + "': " + std::strerror(errno));
  }
  return text;
}

Result<std::string> read_utf8_text(const std::string& path) {
  CAIRN_TRY(std::string text, read_text(path));
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t length = utf8_char_length(rest);
    if (length == 0) {
      return fail(ErrorCode::kCorrupt, "'" + path + "' is no UTF-8 text: byte " +
                                           std::to_string(text.size() - rest.size()) + " begins no character");
    }
    rest.remove_prefix(length);
  }
  return text;
}

InterruptScope::InterruptScope() {
  if (wake_pipe[0] < 0 && ::pipe2(wake_pipe, O_NONBLOCK | O_CLOEXEC) != 0) wake_pipe[0] = wake_pipe[1] = -1;
  clear_interrupt();
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_);
}

InterruptScope::~InterruptScope() {
  sigaction(SIGINT, &previous_, nullptr);
}

const std::atomic<bool>& interrupt_flag() {
  return flag;
}
bool interrupted() {
  return flag.load(std::memory_order_relaxed);
}

void clear_interrupt() {
  flag.store(false, std::memory_order_relaxed);
  char bytes[64];
  while (::read(wake_pipe[0], bytes, sizeof bytes) > 0) {
  }
}

bool wait_for_input(int descriptor) {
  pollfd waits[2] = {{.fd = descriptor, .events = POLLIN, .revents = 0},
                     {.fd = wake_pipe[0], .events = POLLIN, .revents = 0}};
  while (::poll(waits, 2, -1) < 0 && errno == EINTR) {
    if (interrupted()) return false;
  }
  return !interrupted();
}

std::optional<std::string> LineReader::next() {
  while (true) {
    if (const std::size_t end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    if (ended_) {
      if (buffer_.empty()) return std::nullopt;
      return std::exchange(buffer_, {});
    }
    if (!wait_for_input(STDIN_FILENO)) return std::nullopt;
    char bytes[4096];
    const ssize_t got = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (got > 0) {
      buffer_.append(bytes, static_cast<std::size_t>(got));
    } else {
      ended_ = true;
    }
  }
}

}  // namespace cairn::cli
