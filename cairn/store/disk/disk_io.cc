// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/disk/disk_io.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "cairn/base/thread_pool.h"

namespace cairn {
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

}  // namespace cairn
