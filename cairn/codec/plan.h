// SPDX-License-Identifier: Apache-2.0
// Which codec holds the keys and which the values of each layer, and which blocks stay as they are.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/block/shape.h"
#include "cairn/codec/codebooks.h"
#include "cairn/codec/codec.h"
#include "cairn/codec/cold_form.h"

namespace cairn {

struct LayerPlan {
  const Codec* keys = nullptr;
  const Codec* values = nullptr;

  bool operator==(const LayerPlan&) const = default;
};

// kUnsupported where values lie in the keys and the two codecs differ: there is one page, which has one codec.
Status check_pair(const LayerPlan& layer, PageShape shape);

// A value.
struct CodecPlan {
  std::vector<LayerPlan> layers;
  std::uint32_t sink_blocks = 0;    // number of first blocks of a sequence that are never encoded
  std::uint32_t recent_blocks = 0;  // number of full blocks before the open one that are not either
  // Queries of a prompt see all of it as it was computed, and it is encoded afterwards, as the papers do. Otherwise a
  // query sees the blocks before its own as they are stored.
  bool exact_prefill = false;
  std::shared_ptr<const Codebooks> codebooks;  // null unless a codec needs them
  std::shared_ptr<const ColdForm> cold;  // that full blocks pass through, and lie in a store in; null: they do not

  // Nothing is lost beyond the rounding to an element type.
  bool exact() const;
  // Some block is held in another form than the open one.
  bool encodes() const;
  // A later sequence that takes over the blocks of a prefix computes what a cold one would: then they may be shared.
  bool reusable() const { return !encodes() || (recent_blocks == 0 && !exact_prefill); }

  PageFormat format(std::uint32_t layer, PageSlot slot, PageShape shape) const;
  // Over all layers, K and V as far as they have pages: full pages over their values.
  double mean_bits(PageShape shape) const;

  // One text for one meaning, part of the recipe: ids of the codecs by runs of equal layers, then what differs from the
  // defaults, as "k1v1*32" or "k16v17*4 k16v16*28 sinks=1 codebooks=3f...".
  std::string canonical() const;
};

// What a plan is for.
struct PlanTarget {
  std::uint32_t layers = 0;
  PageShape shape;
  const Digest* model = nullptr;  // of the weights; null while it is not known, then nothing is held against it
};

// "K", "K/V" (a codec for keys, one for values) or the name of a plan file ("*.toml"), then any of "+sinks=N",
// "+recent=N", "+prefill=exact", "+codebooks=FILE" and "+cold=FILE". Errors: kUnsupported (unknown codec, or one that
// this shape or the lack of codebooks rules out), kInvalidArgument (malformed, or made for another model), those of the
// files.
//
// A plan file fixes all of that itself, save that parts may be added.
Result<CodecPlan> make_plan(std::string_view spec, const PlanTarget& target);

// kInvalidArgument when a part "+NAME=AMOUNT" is there twice: which of the two is meant?
Status check_parts_once(std::string_view spec);

// Whether a "NAME=AMOUNT" is a part of a plan.
bool is_plan_part(std::string_view part);

// Whether the text before the first "+" names known codecs, or a file.
Status check_codecs(std::string_view codecs);

}  // namespace cairn
