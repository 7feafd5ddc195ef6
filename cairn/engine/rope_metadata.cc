// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/rope_metadata.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace cairn {
namespace {

bool positive(double value) {
  return std::isfinite(value) && value > 0.0;
}

// `<arch>.rope.<name>`, which must be finite and above zero.
Result<double> read_positive(const GgufFile& file, const std::string& key, double fallback) {
  CAIRN_TRY(const double value, file.get_or<double>(key, fallback));
  if (!positive(value)) return fail(ErrorCode::kCorrupt, "metadata " + in_quotes(key) + " must be above zero");
  return value;
}

// Factors of two kinds come together, and not beside those of one kind.
Status check_factors(const GgufFile& file, bool needed) {
  const auto has = [&](const char* name) { return file.find_tensor(name) != nullptr; };
  const bool for_long = has("rope_factors_long.weight"), for_short = has("rope_factors_short.weight");
  if (for_long != for_short || (needed && !for_long)) {
    return fail(ErrorCode::kCorrupt, std::string("the model lacks tensor 'rope_factors_") +
                                         (for_long ? "short" : "long") + ".weight'; convert it again");
  }
  if (for_long && has("rope_freqs.weight")) {
    return fail(ErrorCode::kCorrupt, "the model has 'rope_freqs.weight' and long-rope factors, of which one can hold");
  }
  return {};
}

// Keys of YaRN beside another scaling would be without effect: they may only say what holds without them.
Status refuse_yarn_keys(const GgufFile& file, const std::string& prefix, const std::string& type) {
  constexpr std::pair<const char*, double> kWithoutEffect[] = {{"yarn_attn_factor", 1.0},
                                                               {"yarn_beta_fast", 32.0},
                                                               {"yarn_beta_slow", 1.0},
                                                               {"yarn_ext_factor", 0.0},
                                                               {"yarn_log_multiplier", 0.0}};
  for (const auto& [name, neutral] : kWithoutEffect) {
    const std::string key = prefix + "scaling." + name;
    CAIRN_TRY(const double value, file.get_or<double>(key, neutral));
    if (value == neutral || value == 0.0) continue;
    return fail(ErrorCode::kUnsupported, "metadata " + in_quotes(key) + " belongs to YaRN, but the RoPE scaling is " +
                                             type + ", and ignoring it might give wrong answers");
  }
  return {};
}

Status read_scaling(const GgufFile& file, std::string_view arch, std::uint32_t context, RopeSpec& spec) {
  const std::string prefix = std::string(arch) + ".rope.";
  CAIRN_TRY(const double legacy_factor, file.get_or<double>(prefix + "scale_linear", 0.0));
  CAIRN_TRY(spec.factor, file.get_or<double>(prefix + "scaling.factor", legacy_factor));
  // Files of the time before scaling.type have a factor alone, and mean linear by it; 0 means that none was set.
  CAIRN_TRY(const std::string type,
            file.get_or<std::string>(prefix + "scaling.type", spec.factor == 0.0 ? "none" : "linear"));
  if (type == "none" || type == "longrope") {
    spec.scaling = RopeScaling::kNone;
  } else if (type == "linear") {
    spec.scaling = RopeScaling::kLinear;
  } else if (type == "yarn") {
    spec.scaling = RopeScaling::kYarn;
  } else {
    return fail(ErrorCode::kUnsupported, "RoPE scaling " + in_quotes(type) +
                                             " is not supported; this build knows none, linear, yarn and longrope");
  }
  CAIRN_TRY_VOID(check_factors(file, type == "longrope"));
  if (spec.scaling == RopeScaling::kNone || spec.factor == 0.0) spec.factor = 1.0;
  if (!positive(spec.factor)) return fail(ErrorCode::kCorrupt, "the RoPE scaling factor must be above zero");
  CAIRN_TRY(spec.attn_factor, read_positive(file, prefix + "scaling.attn_factor", 1.0));
  CAIRN_TRY(spec.original_context, file.get_or<std::uint32_t>(prefix + "scaling.original_context_length", context));
  if (spec.original_context == 0) return fail(ErrorCode::kCorrupt, "the RoPE original context length must not be 0");
  if (spec.scaling != RopeScaling::kYarn) return refuse_yarn_keys(file, prefix, type);

  CAIRN_TRY(const double yarn_attn_factor, read_positive(file, prefix + "scaling.yarn_attn_factor", 1.0));
  spec.attn_factor *= yarn_attn_factor;
  CAIRN_TRY(spec.beta_fast, read_positive(file, prefix + "scaling.yarn_beta_fast", 32.0));
  CAIRN_TRY(spec.beta_slow, read_positive(file, prefix + "scaling.yarn_beta_slow", 1.0));
  CAIRN_TRY(spec.ext_factor, file.get_or<double>(prefix + "scaling.yarn_ext_factor", 1.0));
  if (!(spec.ext_factor >= 0.0 && spec.ext_factor <= 1.0)) {
    return fail(ErrorCode::kCorrupt, "the YaRN extrapolation factor must lie between 0 and 1");
  }
  // The magnitude is divided by what it would be with this multiplier of the logarithm.
  CAIRN_TRY(const double log_multiplier, file.get_or<double>(prefix + "scaling.yarn_log_multiplier", 0.0));
  if (!(log_multiplier >= 0.0 && log_multiplier <= 100.0)) {
    return fail(ErrorCode::kCorrupt, "the YaRN log multiplier must lie between 0 and 100");
  }
  if (log_multiplier != 0.0 && arch != "mistral3" && arch != "deepseek2") {
    return fail(ErrorCode::kUnsupported, "YaRN with a log multiplier is not supported in " + std::string(arch));
  }
  if (spec.ext_factor != 0.0 && spec.factor > 1.0)
    spec.attn_factor /= 1.0 + 0.1 * log_multiplier * std::log(spec.factor);
  return {};
}

// Of one kind for all contexts, or of two kinds: for contexts beyond the original one, and up to it.
const GgufTensor* find_factors(const GgufFile& file, std::uint32_t context, const RopeSpec& spec) {
  const GgufTensor* tensor = file.find_tensor("rope_freqs.weight");
  if (tensor != nullptr) return tensor;
  return file.find_tensor(context > spec.original_context ? "rope_factors_long.weight" : "rope_factors_short.weight");
}

Status read_freq_factors(const GgufFile& file, std::uint32_t context, RopeSpec& spec) {
  const GgufTensor* tensor = find_factors(file, context, spec);
  if (tensor == nullptr) return {};
  const std::string name = "tensor " + in_quotes(tensor->name);
  if (tensor->num_dims != 1 || tensor->cols() != spec.dims / 2) {
    return fail(ErrorCode::kCorrupt,
                name + " has shape " + tensor->shape() + ", expected [" + std::to_string(spec.dims / 2) + "]");
  }
  CAIRN_TRY(spec.freq_factors, tensor->to_f32());
  if (!std::ranges::all_of(spec.freq_factors, positive)) {
    return fail(ErrorCode::kCorrupt, name + " has values that are not above zero");
  }
  return {};
}

}  // namespace

Result<RopeSpec> read_rope_spec(const GgufFile& file, std::string_view arch, RopePairing pairing,
                                std::uint32_t head_dim, std::uint32_t context) {
  const std::string prefix = std::string(arch) + ".rope.";
  RopeSpec spec;
  spec.pairing = pairing;
  CAIRN_TRY(spec.dims, file.get_or<std::uint32_t>(prefix + "dimension_count", head_dim));
  if (spec.dims == 0 || spec.dims % 2 != 0 || spec.dims > head_dim) {
    return fail(ErrorCode::kCorrupt, "rotary dimensions must be even and at most the head's " +
                                         std::to_string(head_dim) + ", but are " + std::to_string(spec.dims));
  }
  CAIRN_TRY(spec.base, file.get_or<double>(prefix + "freq_base", spec.base));
  if (!std::isfinite(spec.base) || spec.base <= 1.0) {
    return fail(ErrorCode::kCorrupt, "the RoPE base must be above 1");
  }
  CAIRN_TRY_VOID(read_scaling(file, arch, context, spec));
  CAIRN_TRY_VOID(read_freq_factors(file, context, spec));
  return spec;
}

}  // namespace cairn
