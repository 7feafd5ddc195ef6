// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/disk/disk_io.h"

#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "cairn/base/thread_pool.h"

namespace cairn::disk {
namespace {

class ThreadedIo final : public DiskIo {
 public:
  explicit ThreadedIo(std::string name) : name_(std::move(name)), pool_(kThreads) {}

  std::string name() const override { return name_; }

  void run(std::span<IoOp> ops) override {
    const std::lock_guard lock(mutex_);
    pool_.run(ops.size(), [&](std::size_t i, unsigned) { run_plainly(ops[i]); });
  }

 private:
  static constexpr unsigned kThreads = 4;
  const std::string name_;
  std::mutex mutex_;
  ThreadPool pool_;
};

constexpr unsigned kDepth = 32;
// Pieces in flight together are faster than one long transfer after the other.
constexpr std::size_t kPiece = std::size_t{256} << 10;

struct Piece {
  IoOp* op = nullptr;
  std::size_t begin = 0, end = 0;
};

class UringIo final : public DiskIo {
 public:
  ~UringIo() override {
    if (ready_) io_uring_queue_exit(&ring_);
  }

  int init() {
    const int error = -io_uring_queue_init(kDepth, &ring_, 0);
    ready_ = error == 0;
    return error;
  }

  std::string name() const override { return "io_uring"; }

  void run(std::span<IoOp> ops) override {
    const std::lock_guard lock(mutex_);
    std::vector<Piece> pieces;
    for (IoOp& op : ops) {
      op.error = 0;
      for (std::size_t at = 0; at < op.bytes.size(); at += kPiece) {
        pieces.push_back({&op, at, std::min(op.bytes.size(), at + kPiece)});
      }
    }
    std::deque<Piece*> waiting;
    for (Piece& piece : pieces) waiting.push_back(&piece);
    unsigned in_flight = 0;
    while (!waiting.empty() || in_flight > 0) {
      while (!waiting.empty() && in_flight < kDepth) {
        if (!submit(*waiting.front())) break;
        waiting.pop_front();
        ++in_flight;
      }
      const int submitted = io_uring_submit_and_wait(&ring_, in_flight > 0 ? 1 : 0);
      if (submitted < 0 && submitted != -EINTR && submitted != -EAGAIN && submitted != -EBUSY) {
        // Nothing in flight can be left behind: the kernel would write into memory that is gone. So wait for those.
        for (Piece* piece : waiting) piece->op->error = -submitted;
        waiting.clear();
      }
      io_uring_cqe* done = nullptr;
      while (io_uring_peek_cqe(&ring_, &done) == 0) {
        Piece& piece = *static_cast<Piece*>(io_uring_cqe_get_data(done));
        const int moved = done->res;
        io_uring_cqe_seen(&ring_, done);
        --in_flight;
        if (take(piece, moved)) waiting.push_front(&piece);
      }
    }
  }

 private:
  bool submit(Piece& piece) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    if (entry == nullptr) return false;
    std::byte* const at = piece.op->bytes.data() + piece.begin;
    const auto count = static_cast<unsigned>(piece.end - piece.begin);
    const std::uint64_t offset = piece.op->offset + piece.begin;
    if (piece.op->write) {
      io_uring_prep_write(entry, piece.op->fd, at, count, offset);
    } else {
      io_uring_prep_read(entry, piece.op->fd, at, count, offset);
    }
    io_uring_sqe_set_data(entry, &piece);
    return true;
  }

  // Whether the piece must go on.
  static bool take(Piece& piece, int moved) {
    if (moved == -EINTR || moved == -EAGAIN) return true;
    if (moved <= 0) {
      piece.op->error = moved < 0 ? -moved : piece.op->write ? EIO : ENODATA;
      return false;
    }
    piece.begin += static_cast<std::size_t>(moved);
    return piece.begin < piece.end;
  }

  std::mutex mutex_;
  io_uring ring_{};
  bool ready_ = false;
};

// Null, and why, when the kernel refuses.
std::unique_ptr<DiskIo> make_uring_io(std::string& why_not) {
  auto io = std::make_unique<UringIo>();
  const int error = io->init();
  if (error == 0) return io;
  why_not = std::string("io_uring is refused (") + std::strerror(error) + ")";
  return nullptr;
}

}  // namespace

void run_plainly(IoOp& op) {
  op.error = 0;
  std::size_t done = 0;
  while (done < op.bytes.size()) {
    std::byte* const at = op.bytes.data() + done;
    const std::size_t left = op.bytes.size() - done;
    const auto offset = static_cast<off_t>(op.offset + done);
    const ssize_t moved = op.write ? pwrite(op.fd, at, left, offset) : pread(op.fd, at, left, offset);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) {
      op.error = moved < 0 ? errno : op.write ? EIO : ENODATA;
      return;
    }
    done += static_cast<std::size_t>(moved);
  }
}

int DiskIo::sync(int fd) {
  return fdatasync(fd) == 0 ? 0 : errno;
}

int DiskIo::punch(int fd, std::uint64_t offset, std::uint64_t bytes) {
  const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  return fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(bytes)) == 0 ? 0 : errno;
}

std::unique_ptr<DiskIo> make_disk_io(DiskIoKind kind) {
  std::string why = "asked for";
  if (kind == DiskIoKind::kBest) {
    if (auto uring = make_uring_io(why)) return uring;
  }
  return std::make_unique<ThreadedIo>("threads: " + why);
}

}  // namespace cairn::disk
