// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/sheets.h"

#include <cstring>
#include <utility>

namespace cairn::cache {

bool Sheets::copies_last(std::size_t blocks) const {
  return blocks > blocks_ && blocks_ % sheet_blocks_ != 0 && sheets_.back().use_count() > 1;
}

std::size_t Sheets::growth(std::size_t blocks) const {
  const std::size_t wanted = (blocks + sheet_blocks_ - 1) / sheet_blocks_;
  const std::size_t added = wanted > sheets_.size() ? wanted - sheets_.size() : 0;
  return (added + (copies_last(blocks) ? 1 : 0)) * sheet_bytes_;
}

std::shared_ptr<Sheet> Sheets::new_sheet(Reservation& room) const {
  auto sheet = std::make_shared<Sheet>();
  sheet->room = room.split(sheet_bytes_);
  sheet->memory.ensure(sheet_bytes_);
  return sheet;
}

void Sheets::grow(std::size_t blocks, Reservation& room) {
  if (blocks <= blocks_) return;
  if (copies_last(blocks)) {
    const auto own = new_sheet(room);
    std::memcpy(own->memory.data(), sheets_.back()->memory.data(), sheet_bytes_);
    sheets_.back() = own;
  }
  while (sheets_.size() * sheet_blocks_ < blocks) {
    sheets_.push_back(new_sheet(room));
    std::memset(sheets_.back()->memory.data(), 0, sheet_bytes_);
  }
  blocks_ = blocks;
}

void Sheets::adopt(std::size_t number, std::shared_ptr<Sheet> sheet) {
  sheets_.resize(number + 1);
  sheets_[number] = std::move(sheet);
  blocks_ = (number + 1) * sheet_blocks_;
}

void Sheets::shrink(std::size_t blocks) {
  if (blocks >= blocks_) return;
  blocks_ = blocks;
  sheets_.resize((blocks + sheet_blocks_ - 1) / sheet_blocks_);
}

}  // namespace cairn::cache
