// SPDX-License-Identifier: Apache-2.0
// A disk that fails on demand.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>

#include "cairn/store/disk/disk_io.h"
#include "cairn/store/record/record_bytes.h"

namespace cairn {

// Fails the n-th operation and those after it while armed.
class FaultyIo final : public disk::DiskIo {
 public:
  struct Plan {
    int error = 0;
    std::int64_t after = 0;  // operations that still work
    bool tear = false;       // the failing write leaves its first page behind
    bool no_holes = false;
    bool keep_holes = false;  // says that it has made holes, as when a crash undoes them
  };
  explicit FaultyIo(std::shared_ptr<Plan> plan) : plan_(std::move(plan)) {}
  std::string name() const override { return "faulty"; }
  void run(std::span<disk::IoOp> ops) override {
    for (disk::IoOp& op : ops) {
      if (plan_->error == 0 || plan_->after-- > 0) {
        disk::run_plainly(op);
        continue;
      }
      if (plan_->tear && op.write) {
        disk::IoOp torn = op;
        torn.bytes = op.bytes.first(std::min(op.bytes.size(), kDirectIoPage));
        disk::run_plainly(torn);
      }
      op.error = plan_->error;
    }
  }
  int sync(int fd) override {
    if (plan_->error != 0 && plan_->after-- <= 0) return plan_->error;
    return disk::DiskIo::sync(fd);
  }
  int punch(int fd, std::uint64_t offset, std::uint64_t bytes) override {
    if (plan_->keep_holes) return 0;
    return plan_->no_holes ? EOPNOTSUPP : disk::DiskIo::punch(fd, offset, bytes);
  }

 private:
  std::shared_ptr<Plan> plan_;
};

}  // namespace cairn
