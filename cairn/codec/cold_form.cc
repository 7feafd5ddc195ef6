// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/cold_form.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
namespace {

// A code is symbol - kMiddle; kEscape says that it stands among the escaped ones.
constexpr std::uint32_t kEscape = rans::kSymbols - 1;
constexpr std::int32_t kMiddle = kEscape / 2;
// Codes beyond are held there: it takes a value that is a million steps from its mean.
constexpr float kMaxCode = 1 << 20;

// What stands at the beginning of a part. Words, escaped codes and the exact token follow.
struct PartHead {
  std::uint32_t words = 0;
  std::uint32_t escaped = 0;  // bytes
  std::array<std::uint32_t, rans::kStates> states{};
};
static_assert(sizeof(PartHead) == ColdForm::kPartHeadBytes);

void put_varint(std::vector<std::byte>& out, std::int32_t code) {
  std::uint32_t value = static_cast<std::uint32_t>(code) << 1 ^ static_cast<std::uint32_t>(code >> 31);
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::byte>(value | 0x80));
  out.push_back(static_cast<std::byte>(value));
}

// Nothing when the bytes end first, or say more than a code can be.
bool get_varint(std::span<const std::byte>& in, std::int32_t& code) {
  std::uint32_t value = 0;
  for (std::uint32_t shift = 0; shift < 28; shift += 7) {
    if (in.empty()) return false;
    const auto byte = static_cast<std::uint32_t>(in.front());
    in = in.subspan(1);
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      code = static_cast<std::int32_t>(value >> 1) ^ -static_cast<std::int32_t>(value & 1);
      return true;
    }
  }
  return false;
}

// What a code stands for, in steps: those that are not zero lie nearer to zero than the middle of their step.
float value_of(std::int32_t code, float shift) {
  const auto size = static_cast<float>(code);
  return code == 0 ? 0.0f : size + std::copysign(shift, size);
}

std::int32_t code_of(float steps) {
  const float rounded = std::fabs(steps) + 0.5f;
  const auto size = static_cast<std::int32_t>(rounded < kMaxCode ? rounded : kMaxCode);  // also what is no number
  return steps < 0.0f ? -size : size;
}

}  // namespace

ColdRotation::ColdRotation(const RopeSpec& spec)
    : spec_(spec),
      frequencies_(spec.inverse_frequencies()),
      cos_(kBlockTokens * frequencies_.size()),
      sin_(cos_.size()) {
  for (std::size_t i = 0; i < cos_.size(); ++i) {
    const double angle = static_cast<double>(i / frequencies_.size()) * frequencies_[i % frequencies_.size()];
    cos_[i] = std::cos(angle);
    sin_[i] = std::sin(angle);
  }
}

void ColdRotation::undo(std::span<const std::int32_t> positions, std::uint32_t head_dim, std::span<float> rows) const {
  turn(positions, head_dim, /*back=*/true, rows);
}

void ColdRotation::redo(std::span<const std::int32_t> positions, std::uint32_t head_dim, std::span<float> rows) const {
  turn(positions, head_dim, /*back=*/false, rows);
}

// The angle of a position is that of the block's beginning and that of the rest: tokens of a block share the first.
void ColdRotation::turn(std::span<const std::int32_t> positions, std::uint32_t head_dim, bool back,
                        std::span<float> rows) const {
  const std::size_t pairs = frequencies_.size(), width = rows.size() / positions.size();
  if (pairs == 0) return;
  const double magnitude = back ? 1.0 / spec_.magnitude() : spec_.magnitude();
  const auto rotate = spec_.pairing == RopePairing::kHalves ? kernels().rope_halves : kernels().rope_neighbours;
  std::vector<double> begin_cos(pairs), begin_sin(pairs);
  std::vector<float> cos(pairs), sin(pairs);
  std::int32_t begin = -1;
  for (std::size_t t = 0; t < positions.size(); ++t) {
    const std::int32_t position = std::max(positions[t], 0), rest = position % static_cast<std::int32_t>(kBlockTokens);
    if (position - rest != begin) {
      begin = position - rest;
      for (std::size_t i = 0; i < pairs; ++i) {
        begin_cos[i] = std::cos(begin * frequencies_[i]);
        begin_sin[i] = std::sin(begin * frequencies_[i]);
      }
    }
    const double* rest_cos = cos_.data() + static_cast<std::size_t>(rest) * pairs;
    const double* rest_sin = sin_.data() + static_cast<std::size_t>(rest) * pairs;
    for (std::size_t i = 0; i < pairs; ++i) {
      const double sine = begin_sin[i] * rest_cos[i] + begin_cos[i] * rest_sin[i];
      cos[i] = static_cast<float>((begin_cos[i] * rest_cos[i] - begin_sin[i] * rest_sin[i]) * magnitude);
      sin[i] = static_cast<float>((back ? -sine : sine) * magnitude);
    }
    for (std::size_t c = spec_.first; c < width; c += head_dim) {
      rotate(rows.data() + t * width + c, cos.data(), sin.data(), pairs);
    }
  }
}

Result<std::shared_ptr<const ColdForm>> ColdForm::make(std::shared_ptr<const Codebooks> tables) {
  if (tables->codec_id() != cold::kTableId) {
    return fail(ErrorCode::kInvalidArgument,
                "these are the codebooks of a codec, not the tables of a cold form; make "
                "those with 'cairn tune cold'");
  }
  CAIRN_TRY_VOID(cold::check_shape(tables->shape()));
  for (std::uint32_t layer = 0; layer < tables->layers(); ++layer) {
    for (const PageSlot slot : kPageSlots) {
      CAIRN_TRY_VOID(cold::check_table(tables->shape(), {tables->table(layer, slot), tables->table_bytes()}));
    }
  }
  return std::shared_ptr<const ColdForm>(new ColdForm(std::move(tables)));
}

ColdForm::ColdForm(std::shared_ptr<const Codebooks> tables) : tables_(std::move(tables)) {
  for (std::size_t i = 0; i < kPageSlots.size() * tables_->layers(); ++i) {
    const LayerSlot at = LayerSlot::at(i);
    Slot& slot = slots_.emplace_back();
    slot.view = cold::TableView::of(shape(), tables_->table(static_cast<std::uint32_t>(at.layer), at.slot));
    for (std::uint32_t run = 0; run < slot.view.runs(); ++run) slot.runs.emplace_back(slot.view.run(run));
    slot.saliency.resize(std::size_t{cold::width_of(shape())} * kPanelRows);
    for (std::size_t d = 0; d < cold::width_of(shape()); ++d) slot.saliency[d * kPanelRows] = slot.view.saliency[d];
  }
}

ColdParts ColdForm::encode(std::uint32_t layer, const ColdRotation& rotation, const ColdBlock& block,
                           std::span<float> k, std::span<float> v) const {
  const Slot& keys = slot({layer, PageSlot::kKeys});
  const std::uint32_t n = cold::width_of(shape());
  rotation.undo(block.positions, shape().head_dim, k);
  const std::vector<float> centred = without_mean(keys, k);
  std::vector<float> saliency(kBlockTokens * kPanelRows);
  kernels().turn_rows(centred.data(), n, kBlockTokens, n, kPanelRows, keys.saliency.data(), saliency.data());
  std::array<std::uint8_t, kBlockTokens> scales;
  for (std::size_t t = 0; t < kBlockTokens; ++t) {
    scales[t] = static_cast<std::uint8_t>(cold::scale_symbol(saliency[t * kPanelRows]));
  }
  ColdParts parts;
  parts.keys = encode_rows(keys, centred, scales, block.first, k);
  rotation.redo(block.positions, shape().head_dim, k);
  const Slot& values = slot({layer, PageSlot::kValues});
  parts.values = encode_rows(values, without_mean(values, v), scales, block.first, v);
  return parts;
}

bool ColdForm::decode(LayerSlot at, const ColdRotation& rotation, const ColdBlock& block,
                      std::span<const std::byte> part, std::span<float> rows) const {
  if (!decode_rows(slot(at), block.first, part, rows)) return false;
  if (at.slot == PageSlot::kKeys) rotation.redo(block.positions, shape().head_dim, rows);
  return true;
}

std::vector<float> ColdForm::without_mean(const Slot& slot, std::span<const float> rows) const {
  const std::uint32_t n = cold::width_of(shape());
  std::vector<float> centred(rows.size());
  for (std::size_t first = 0; first < rows.size(); first += n) {
    for (std::uint32_t d = 0; d < n; ++d) centred[first + d] = rows[first + d] - slot.view.mean[d];
  }
  return centred;
}

std::vector<std::byte> ColdForm::encode_rows(const Slot& slot, std::span<const float> centred,
                                             std::span<const std::uint8_t> scales, bool first,
                                             std::span<float> rows) const {
  const std::uint32_t n = cold::width_of(shape()), axes = slot.view.axes;
  std::vector<float> on_axes(std::size_t{kBlockTokens} * axes), by_axis(on_axes.size());
  kernels().turn_rows(centred.data(), n, kBlockTokens, n, axes, slot.view.forward, on_axes.data());
  kernels().transpose(on_axes.data(), kBlockTokens, axes, by_axis.data());

  std::array<float, kBlockTokens> fine;
  std::ranges::transform(scales, fine.begin(), cold::scale_of);
  rans::Writer writer(kBlockTokens * (1 + std::size_t{axes}));
  writer.put(slot.runs[0], scales);
  std::vector<std::byte> escaped;
  std::array<std::int32_t, kBlockTokens> codes;
  std::array<std::uint8_t, kBlockTokens> symbols;
  for (std::uint32_t i = 0; i < axes; ++i) {
    const rans::Table& run = slot.runs[1 + i / cold::kRunAxes];
    const float* of_axis = by_axis.data() + i * kBlockTokens;
    for (std::size_t t = 0; t < kBlockTokens; ++t) codes[t] = code_of(of_axis[t] * fine[t]);
    for (std::size_t t = 0; t < kBlockTokens; ++t) {
      const std::uint32_t symbol =
          std::abs(codes[t]) <= kMiddle ? static_cast<std::uint32_t>(codes[t] + kMiddle) : kEscape;
      symbols[t] = static_cast<std::uint8_t>(run.has(symbol) ? symbol : kEscape);
      if (symbols[t] == kEscape) put_varint(escaped, codes[t]);
    }
    writer.put(run, symbols);
  }
  const rans::Coded coded = writer.finish();
  const PartHead head{.words = static_cast<std::uint32_t>(coded.words.size()),
                      .escaped = static_cast<std::uint32_t>(escaped.size()),
                      .states = coded.states};
  std::vector<std::uint16_t> exact(first ? n : 0);
  kernels().narrow[static_cast<std::size_t>(Element::kF16)](rows.data(), exact.size(), exact.data());
  const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(&head, 1)),
                                               std::as_bytes(std::span(coded.words)), escaped,
                                               std::as_bytes(std::span(exact))};
  std::vector<std::byte> part(sizeof head + 2 * coded.words.size() + escaped.size() + 2 * exact.size());
  std::byte* to = part.data();
  for (const auto piece : pieces) to = std::ranges::copy(piece, to).out;
  CAIRN_CHECK(decode_rows(slot, first, part, rows));
  return part;
}

bool ColdForm::decode_rows(const Slot& slot, bool first, std::span<const std::byte> part, std::span<float> rows) const {
  const std::uint32_t n = cold::width_of(shape()), axes = slot.view.axes;
  PartHead head;
  if (part.size() < sizeof head) return false;
  std::memcpy(&head, part.data(), sizeof head);
  const std::size_t exact_bytes = first ? n * sizeof(std::uint16_t) : 0;
  if (part.size() != sizeof head + std::uint64_t{2} * head.words + head.escaped + exact_bytes) return false;
  std::vector<std::uint16_t> words(head.words);
  std::ranges::copy(part.subspan(sizeof head, 2 * words.size()), std::as_writable_bytes(std::span(words)).begin());
  std::span<const std::byte> escaped = part.subspan(sizeof head + 2 * words.size(), head.escaped);

  rans::Reader reader(head.states, words);
  std::array<std::uint8_t, kBlockTokens> symbols;
  reader.get(slot.runs[0], kBlockTokens, symbols.data());
  std::array<float, kBlockTokens> steps;
  for (std::size_t t = 0; t < kBlockTokens; ++t) steps[t] = 1.0f / cold::scale_of(symbols[t]);
  std::array<float, rans::kSymbols> values;  // of the codes that stand in symbols
  for (std::uint32_t s = 0; s < rans::kSymbols; ++s)
    values[s] = value_of(static_cast<std::int32_t>(s) - kMiddle, slot.view.shift);
  std::vector<float> by_axis(std::size_t{kBlockTokens} * axes), on_axes(by_axis.size());
  for (std::uint32_t i = 0; i < axes; ++i) {
    reader.get(slot.runs[1 + i / cold::kRunAxes], kBlockTokens, symbols.data());
    float* of_axis = by_axis.data() + i * kBlockTokens;
    bool escapes = false;
    for (std::size_t t = 0; t < kBlockTokens; ++t) {
      of_axis[t] = values[symbols[t] % rans::kSymbols] * steps[t];
      escapes |= symbols[t] == kEscape;
    }
    for (std::size_t t = 0; escapes && t < kBlockTokens; ++t) {
      std::int32_t code = 0;
      if (symbols[t] != kEscape) continue;
      if (!get_varint(escaped, code)) return false;
      of_axis[t] = value_of(code, slot.view.shift) * steps[t];
    }
  }
  if (!reader.finished() || !escaped.empty()) return false;
  kernels().transpose(by_axis.data(), axes, kBlockTokens, on_axes.data());
  std::vector<float> turned(rows.size());
  kernels().turn_rows(on_axes.data(), axes, kBlockTokens, axes, n, slot.view.back, turned.data());
  for (std::size_t i = 0; i < rows.size(); i += n) {
    for (std::uint32_t d = 0; d < n; ++d) rows[i + d] = turned[i + d] + slot.view.mean[d];
  }
  if (first) {
    std::vector<std::uint16_t> exact(n);
    std::memcpy(exact.data(), part.data() + part.size() - exact_bytes, exact_bytes);
    kernels().widen_f16(exact.data(), n, rows.data());
  }
  return true;
}

}  // namespace cairn
