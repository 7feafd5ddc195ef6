// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/record/compress_record.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace cairn {

std::expected<std::shared_ptr<const BlockRecord>, Refusal> compress_record(const BlockRecord& record, int level,
                                                                           const StoreKey* key) {
  if (record.encrypted() && key == nullptr) return std::unexpected("it is encrypted");
  if (!record.encrypted()) key = nullptr;
  const std::vector<PartMeta>& parts = record.meta().parts;
  std::vector<std::vector<std::byte>> plain(parts.size()), kept(parts.size());
  std::vector<PartForm> forms(parts.size(), PartForm::kPlain);
  std::vector<std::span<const std::byte>> contents;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    plain[i].resize(parts[i].bytes);
    if (!record.copy_part(i, plain[i], key)) {
      return std::unexpected(record.encrypted() ? "it is damaged or encrypted with another key" : "it is damaged");
    }
    auto compressed = compress_part(plain[i], level);
    if (compressed) {
      forms[i] = compressed->form;
      kept[i] = std::move(compressed->bytes);
    }
    contents.push_back(compressed ? kept[i] : plain[i]);
  }
  auto smaller = BlockRecord::build(record.meta(), contents, key, forms);
  if (smaller->size() >= record.size()) return nullptr;
  std::vector<std::byte> back;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    back.resize(parts[i].bytes);
    if (!smaller->copy_part(i, back, key) || back != plain[i]) {
      return std::unexpected("what was compressed does not give it back");
    }
  }
  return smaller;
}

}  // namespace cairn
