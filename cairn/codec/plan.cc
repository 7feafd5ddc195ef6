// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/plan.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <span>
#include <utility>

#include "cairn/codec/plan_file.h"

namespace cairn {
namespace {

std::string layer_text(const LayerPlan& layer) {
  return "k" + std::to_string(layer.keys->id) + "v" + std::to_string(layer.values->id);
}

std::vector<std::string_view> split(std::string_view text, char by) {
  std::vector<std::string_view> pieces;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(by, begin), text.size());
    pieces.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return pieces;
}

bool is_file(std::string_view codecs) {
  return codecs.ends_with(".toml");
}

// "K" or "K/V".
Result<LayerPlan> named_codecs(std::string_view text) {
  const std::vector<std::string_view> sides = split(text, '/');
  if (sides.size() > 2) {
    return fail(
        ErrorCode::kInvalidArgument,
        "'" + std::string(text) + "': write one codec, one for keys and one for values as K/V, or a .toml file");
  }
  CAIRN_TRY(const Codec* keys, find_codec(sides.front()));
  CAIRN_TRY(const Codec* values, find_codec(sides.back()));
  return LayerPlan{keys, values};
}

Result<std::uint32_t> block_count(std::string_view part, std::string_view number) {
  constexpr std::uint32_t kMax = 1u << 20;
  std::uint32_t count = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), count);
  if (error != std::errc() || end != number.data() + number.size() || count > kMax) {
    return fail(ErrorCode::kInvalidArgument,
                "plan part '" + std::string(part) + "': write a number of blocks from 0 to " + std::to_string(kMax));
  }
  return count;
}

std::string_view part_name(std::string_view part) {
  return part.substr(0, part.find('='));
}

Status set_part(CodecPlan& plan, std::string_view part) {
  const std::size_t equals = std::min(part.find('='), part.size());
  const std::string_view name = part.substr(0, equals), amount = part.substr(std::min(equals + 1, part.size()));
  if (name == "sinks") {
    CAIRN_TRY(plan.sink_blocks, block_count(part, amount));
  } else if (name == "recent") {
    CAIRN_TRY(plan.recent_blocks, block_count(part, amount));
  } else if (name == "prefill" && (amount == "exact" || amount == "encoded")) {
    plan.exact_prefill = amount == "exact";
  } else if (name == "codebooks" && !amount.empty()) {
    CAIRN_TRY(Codebooks books, Codebooks::read(std::string(amount)));
    plan.codebooks = std::make_shared<const Codebooks>(std::move(books));
  } else if (name == "cold" && !amount.empty()) {
    CAIRN_TRY(Codebooks tables, Codebooks::read(std::string(amount)));
    CAIRN_TRY(plan.cold, ColdForm::make(std::make_shared<const Codebooks>(std::move(tables))));
  } else {
    return fail(ErrorCode::kInvalidArgument,
                "unknown plan part '" + std::string(part) +
                    "'; the parts are sinks=N, recent=N, prefill=exact, codebooks=FILE, cold=FILE");
  }
  return {};
}

// What a file says besides the codecs; relative paths start at its folder.
Result<CodecPlan> plan_of_file(const std::string& path, const PlanTarget& target) {
  CAIRN_TRY(const PlanFile file, read_plan_file(path));
  if (target.model != nullptr && file.model && *file.model != *target.model) {
    return fail(ErrorCode::kInvalidArgument, path + ": this plan was made for another model (" +
                                                 file.model->hex().substr(0, 12) + "..., not " +
                                                 target.model->hex().substr(0, 12) + "...)");
  }
  if (file.keys.size() != target.layers) {
    return fail(ErrorCode::kInvalidArgument, path + ": the plan has " + std::to_string(file.keys.size()) +
                                                 " layers, the model " + std::to_string(target.layers));
  }
  CodecPlan plan;
  for (std::size_t l = 0; l < file.keys.size(); ++l) {
    CAIRN_TRY(const Codec* keys, find_codec(file.keys[l]));
    CAIRN_TRY(const Codec* values, find_codec(file.values[l]));
    plan.layers.push_back({keys, values});
  }
  plan.sink_blocks = file.sink_blocks;
  plan.recent_blocks = file.recent_blocks;
  plan.exact_prefill = file.exact_prefill;
  if (file.codebooks) {
    const std::filesystem::path books = std::filesystem::path(path).parent_path() / file.codebooks->path;
    CAIRN_TRY(Codebooks read, Codebooks::read(books.string()));
    if (file.codebooks->digest && *file.codebooks->digest != read.digest()) {
      return fail(ErrorCode::kInvalidArgument, books.string() + ": these are not the codebooks that '" + path +
                                                   "' was made with: their digest differs");
    }
    plan.codebooks = std::make_shared<const Codebooks>(std::move(read));
  }
  return plan;
}

Status check_codebooks(const CodecPlan& plan, const Codec& codec, const PlanTarget& target) {
  const std::string name(codec.name);
  const Codebooks* books = plan.codebooks.get();
  if (books == nullptr) {
    return fail(ErrorCode::kUnsupported, "codec '" + name +
                                             "' needs codebooks trained for the model: make them with '" +
                                             std::string(codec.made_by) + "', then add +codebooks=FILE");
  }
  if (books->codec_id() != codec.id) {
    return fail(ErrorCode::kInvalidArgument, "these codebooks are not for codec '" + name + "'");
  }
  if (books->layers() != target.layers || books->shape() != target.shape ||
      (target.model != nullptr && books->model() != *target.model)) {
    return fail(ErrorCode::kInvalidArgument, "these codebooks were trained for another model: make them anew with '" +
                                                 std::string(codec.made_by) + "'");
  }
  if (books->table_bytes() != codec.codebook_bytes(target.shape)) {
    return fail(ErrorCode::kCorrupt, "the tables of these codebooks have " + std::to_string(books->table_bytes()) +
                                         " bytes, but codec '" + name + "' reads " +
                                         std::to_string(codec.codebook_bytes(target.shape)));
  }
  if (codec.check_codebook == nullptr) return {};
  for (std::uint32_t layer = 0; layer < target.layers; ++layer) {
    for (const PageSlot slot : kPageSlots) {
      CAIRN_TRY_VOID(codec.check_codebook(target.shape, slot, {books->table(layer, slot), books->table_bytes()}));
    }
  }
  return {};
}

Status check_cold(const CodecPlan& plan, const PlanTarget& target) {
  const Codebooks& tables = plan.cold->tables();
  if (tables.layers() != target.layers || tables.shape() != target.shape ||
      (target.model != nullptr && tables.model() != *target.model)) {
    return fail(ErrorCode::kInvalidArgument,
                "this cold form was fitted to another model: make one with 'cairn tune cold'");
  }
  if (plan.recent_blocks > 0 || plan.exact_prefill) {
    return fail(ErrorCode::kInvalidArgument,
                "a cold form is what blocks have in a store, where those of recent=N and prefill=exact never come; "
                "leave one of the two out");
  }
  for (const LayerPlan& layer : plan.layers) {
    for (const Codec* codec : {layer.keys, layer.values}) {
      if (!codec->signals.mass && codec->basis != BasisKind::kTrained) continue;
      return fail(ErrorCode::kUnsupported, "codec '" + std::string(codec->name) +
                                               "' does not work with a cold form; take raw_f16 or one of tok, kivi");
    }
  }
  return {};
}

Status check_plan(const CodecPlan& plan, const PlanTarget& target) {
  if (plan.cold != nullptr) CAIRN_TRY_VOID(check_cold(plan, target));
  bool used = false;
  for (const LayerPlan& layer : plan.layers) {
    CAIRN_TRY_VOID(check_pair(layer, target.shape));
    for (const Codec* codec : {layer.keys, layer.values}) {
      CAIRN_TRY_VOID(check_shape(*codec, target.shape));
      if (!codec->needs_codebook) continue;
      used = true;
      CAIRN_TRY_VOID(check_codebooks(plan, *codec, target));
    }
  }
  if (plan.codebooks != nullptr && !used) {
    return fail(ErrorCode::kInvalidArgument, "codebooks are given, but no codec of the plan uses any");
  }
  return {};
}

}  // namespace

Status check_pair(const LayerPlan& layer, PageShape shape) {
  if (shape.has_value_pages() || layer.keys == layer.values) return {};
  return fail(ErrorCode::kUnsupported, "codecs '" + std::string(layer.keys->name) + "/" +
                                           std::string(layer.values->name) +
                                           "' for keys in which the values lie (latent attention): name one codec");
}

bool CodecPlan::exact() const {
  return cold == nullptr &&
         std::ranges::all_of(layers, [](const LayerPlan& l) { return l.keys->exact && l.values->exact; });
}

bool CodecPlan::encodes() const {
  return cold != nullptr || std::ranges::any_of(layers, [](const LayerPlan& l) {
           return l.keys->encode != nullptr || l.values->encode != nullptr;
         });
}

PageFormat CodecPlan::format(std::uint32_t layer, PageSlot slot, PageShape shape) const {
  const Codec* codec = slot == PageSlot::kKeys ? layers[layer].keys : layers[layer].values;
  return {.codec = codec,
          .shape = shape,
          .slot = slot,
          .codebook = codec->needs_codebook ? codebooks->table(layer, slot) : nullptr};
}

double CodecPlan::mean_bits(PageShape shape) const {
  double bits = 0;
  for (std::uint32_t l = 0; l < layers.size(); ++l) {
    for (const PageSlot slot : shape.slots()) bits += bits_per_value(format(l, slot, shape));
  }
  return bits / static_cast<double>(shape.slots().size() * layers.size());
}

std::string CodecPlan::canonical() const {
  std::string text;
  for (std::size_t begin = 0, end = 0; begin < layers.size(); begin = end) {
    while (end < layers.size() && layers[end] == layers[begin]) ++end;
    text += (text.empty() ? "" : " ") + layer_text(layers[begin]) + "*" + std::to_string(end - begin);
  }
  if (!encodes()) return text;
  if (sink_blocks > 0) text += " sinks=" + std::to_string(sink_blocks);
  if (recent_blocks > 0) text += " recent=" + std::to_string(recent_blocks);
  if (exact_prefill) text += " prefill=exact";
  if (codebooks != nullptr) text += " codebooks=" + codebooks->digest().hex();
  if (cold != nullptr) text += " cold=" + cold->tables().digest().hex();
  return text;
}

bool is_plan_part(std::string_view part) {
  constexpr std::string_view kNames[] = {"sinks", "recent", "prefill", "codebooks", "cold"};
  return std::ranges::find(kNames, part_name(part)) != std::end(kNames);
}

Status check_codecs(std::string_view codecs) {
  if (is_file(codecs)) return {};
  CAIRN_TRY(const LayerPlan layer, named_codecs(codecs));
  static_cast<void>(layer);
  return {};
}

Status check_parts_once(std::string_view spec) {
  const std::vector<std::string_view> pieces = split(spec, '+');
  const std::span<const std::string_view> parts = std::span(pieces).subspan(1);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    for (const std::string_view other : parts.first(i)) {
      if (part_name(parts[i]) == part_name(other)) {
        return fail(ErrorCode::kInvalidArgument, "'" + std::string(part_name(other)) + "' is given twice, as '" +
                                                     std::string(other) + "' and as '" + std::string(parts[i]) + "'");
      }
    }
  }
  return {};
}

Result<CodecPlan> make_plan(std::string_view spec, const PlanTarget& target) {
  const std::vector<std::string_view> parts = split(spec, '+');
  CAIRN_TRY_VOID(check_parts_once(spec));
  CodecPlan plan;
  if (is_file(parts.front())) {
    CAIRN_TRY(plan, plan_of_file(std::string(parts.front()), target));
  } else {
    CAIRN_TRY(const LayerPlan layer, named_codecs(parts.front()));
    plan.layers.assign(target.layers, layer);
  }
  for (const std::string_view part : std::span(parts).subspan(1)) CAIRN_TRY_VOID(set_part(plan, part));
  CAIRN_TRY_VOID(check_plan(plan, target));
  return plan;
}

}  // namespace cairn
