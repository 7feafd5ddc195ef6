// SPDX-License-Identifier: Apache-2.0
// The heads of a model with latent attention, as its file describes them.
#pragma once

#include "cairn/base/result.h"
#include "cairn/engine/metadata_reader.h"
#include "cairn/engine/model_config.h"
#include "cairn/gguf/gguf.h"

namespace cairn {

// Reads ranks and lengths into config.latent, and what follows from them: one KV head, whose keys are the latent and
// then the channels that turn, and the scale of scores. Newer files name the lengths of the cached rows and those of
// the heads (`key_length_mla`), older ones only the latter. Errors: kNotFound, kCorrupt (numbers that contradict each
// other), kUnsupported (ranks that attention cannot hold).
Status read_latent_heads(const GgufFile& file, const MetadataReader& reader, ModelConfig& config);

// What RoPE means here: the channels that turn come after the latent, and what YaRN does to the magnitude it does to
// the scores instead. Requires: config.rope was read. Errors: kUnsupported (a scaling that files of these models do not
// have, which could be read in two ways).
Status turn_after_latent(const MetadataReader& reader, ModelConfig& config);

}  // namespace cairn
