// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/model_config.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace cairn {
namespace {

// What a Llama-like architecture adds to Llama.
struct ArchInfo {
  std::string_view name;  // as in general.architecture, and in front of its metadata keys
  RopePairing pairing = RopePairing::kHalves;
  bool qkv_bias = false;  // biases on q, k and v; an architecture without them may still have a file with them
  bool qk_norm = false;   // RMS norms on every head of q and k
};

constexpr ArchInfo kArchs[] = {
    {.name = "llama", .pairing = RopePairing::kNeighbours},  // Llama 2 and 3, Mistral, TinyLlama, SmolLM
    {.name = "qwen2", .qkv_bias = true},
    {.name = "qwen3", .qk_norm = true},
};

// Far above any model of these families. They keep products of two of them within 64 bits, and hostile numbers from
// asking for memory before the tensors are compared with them.
constexpr std::uint32_t kMaxLayers = 1024;
constexpr std::uint32_t kMaxWidth = 1 << 18;
constexpr std::uint32_t kMaxFfn = 1 << 20;
constexpr std::uint32_t kMaxHeads = 4096;
constexpr std::uint32_t kMaxHeadDim = 512;
constexpr std::uint32_t kMaxVocab = 1 << 22;
constexpr std::uint32_t kMaxContext = 1 << 27;

Result<ArchInfo> read_arch(const GgufFile& file) {
  CAIRN_TRY(const std::string_view name, file.get<std::string_view>("general.architecture"));
  std::string supported;
  for (const ArchInfo& info : kArchs) {
    if (info.name == name) return info;
    supported += (supported.empty() ? "" : ", ") + std::string(info.name);
  }
  return fail(ErrorCode::kUnsupported,
              "architecture " + in_quotes(name) + " is not supported; this build runs " + supported);
}

// Reads metadata of one architecture; keys are given without its prefix.
class Reader {
 public:
  Reader(const GgufFile& file, std::string_view arch) : file_(file), prefix_(std::string(arch) + ".") {}

  Result<std::uint32_t> count(std::string_view key, std::uint32_t max) const {
    const std::string full = prefix_ + std::string(key);
    CAIRN_TRY(const std::uint32_t value, file_.get<std::uint32_t>(full));
    if (value == 0 || value > max) {
      return fail(ErrorCode::kCorrupt, "metadata " + in_quotes(full) + " must be 1 to " + std::to_string(max) +
                                           ", but is " + std::to_string(value));
    }
    return value;
  }

  Result<std::uint32_t> count_or(std::string_view key, std::uint32_t most, std::uint32_t fallback) const {
    if (file_.find(prefix_ + std::string(key)) == nullptr) return fallback;
    return count(key, most);
  }

  Result<float> epsilon(std::string_view key) const {
    const std::string full = prefix_ + std::string(key);
    CAIRN_TRY(const float value, file_.get<float>(full));
    if (!(value > 0.0f && value < 1.0f)) {
      return fail(ErrorCode::kCorrupt, "metadata " + in_quotes(full) + " must lie between 0 and 1");
    }
    return value;
  }

 private:
  const GgufFile& file_;
  std::string prefix_;
};

Status refuse_other_kinds(const GgufFile& file, const std::string& arch) {
  CAIRN_TRY(const std::uint32_t experts, file.get_or<std::uint32_t>(arch + ".expert_count", 0u));
  if (experts > 0) {
    return fail(ErrorCode::kUnsupported, "this is a mixture of " + std::to_string(experts) +
                                             " experts, which is not supported; use a dense model");
  }
  CAIRN_TRY(const std::uint32_t parts, file.get_or<std::uint32_t>("split.count", 0u));
  if (parts > 1) {
    return fail(ErrorCode::kUnsupported,
                "this is one of " + std::to_string(parts) + " parts of a model; merge them into one file first");
  }
  return {};
}

Status read_heads(const Reader& reader, ModelConfig& config) {
  CAIRN_TRY(config.heads, reader.count("attention.head_count", kMaxHeads));
  CAIRN_TRY(config.kv_heads, reader.count_or("attention.head_count_kv", kMaxHeads, config.heads));
  if (config.heads % config.kv_heads != 0) {
    return fail(ErrorCode::kCorrupt, std::to_string(config.heads) + " heads cannot share " +
                                         std::to_string(config.kv_heads) + " KV heads evenly");
  }
  const std::uint32_t even_split = config.width / config.heads;
  CAIRN_TRY(config.head_dim, reader.count_or("attention.key_length", kMaxHeadDim, even_split));
  CAIRN_TRY(const std::uint32_t value_dim, reader.count_or("attention.value_length", kMaxHeadDim, even_split));
  if (value_dim != config.head_dim) {
    return fail(ErrorCode::kUnsupported, "keys of " + std::to_string(config.head_dim) + " and values of " +
                                             std::to_string(value_dim) +
                                             " channels; heads with differing lengths are not supported");
  }
  if (config.head_dim == 0 || config.head_dim % 8 != 0 || config.head_dim > kMaxHeadDim) {
    return fail(ErrorCode::kUnsupported, "heads of " + std::to_string(config.head_dim) +
                                             " channels are not supported; a multiple of 8 up to " +
                                             std::to_string(kMaxHeadDim) + " is");
  }
  config.attention_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
  return {};
}

// The embedding table decides; the tokenizer, where the file has one, must not name ids beyond it.
Status read_vocab(const GgufFile& file, ModelConfig& config) {
  const GgufTensor* embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr) return fail(ErrorCode::kNotFound, "the model lacks tensor 'token_embd.weight'");
  if (embedding->rows() == 0 || embedding->rows() > kMaxVocab) {
    return fail(ErrorCode::kCorrupt,
                "a vocabulary of " + std::to_string(embedding->rows()) + " tokens is out of range");
  }
  config.vocab = static_cast<std::uint32_t>(embedding->rows());
  const GgufValue* tokens = file.find("tokenizer.ggml.tokens");
  if (tokens != nullptr && tokens->count != config.vocab) {
    return fail(ErrorCode::kCorrupt, "the tokenizer has " + std::to_string(tokens->count) +
                                         " tokens, but the embedding table " + std::to_string(config.vocab) + " rows");
  }
  return {};
}

TensorNeed matrix(std::string name, std::uint64_t cols, std::uint64_t rows) {
  return {.name = std::move(name), .cols = cols, .rows = rows, .vector = false};
}

TensorNeed vector(std::string name, std::uint64_t size) {
  return {.name = std::move(name), .cols = size, .rows = 1, .vector = true};
}

bool is_plain(WeightFormat format) {
  return format == WeightFormat::kF32 || format == WeightFormat::kF16 || format == WeightFormat::kBF16;
}

Status check_need(const GgufFile& file, const TensorNeed& need) {
  const GgufTensor* tensor = file.find_tensor(need.name);
  if (tensor == nullptr) {
    return fail(ErrorCode::kNotFound, "the model lacks tensor '" + need.name + "'; convert it again");
  }
  CAIRN_TRY(const WeightFormat format, tensor->format());
  if (tensor->num_dims > 2 || tensor->cols() != need.cols || tensor->rows() != need.rows) {
    const std::string rows = need.vector ? "" : ", " + std::to_string(need.rows);
    return fail(ErrorCode::kCorrupt, "tensor '" + need.name + "' has shape " + tensor->shape() +
                                         ", but the metadata asks for [" + std::to_string(need.cols) + rows + "]");
  }
  if (need.vector && !is_plain(format)) {
    return fail(ErrorCode::kUnsupported, "tensor '" + need.name + "' has type " + gguf_tensor_type_name(tensor->type) +
                                             "; norms and biases must be F32, F16 or BF16");
  }
  return {};
}

bool positive(double value) {
  return std::isfinite(value) && value > 0.0;
}

// `<arch>.rope.<name>`, which must be finite and above zero.
Result<double> read_positive(const GgufFile& file, const std::string& key, double fallback) {
  CAIRN_TRY(const double value, file.get_or<double>(key, fallback));
  if (!positive(value)) return fail(ErrorCode::kCorrupt, "metadata " + in_quotes(key) + " must be above zero");
  return value;
}

Status read_scaling(const GgufFile& file, const std::string& prefix, std::uint32_t context, RopeSpec& spec) {
  CAIRN_TRY(const double legacy_factor, file.get_or<double>(prefix + "scale_linear", 0.0));
  CAIRN_TRY(spec.factor, file.get_or<double>(prefix + "scaling.factor", legacy_factor));
  // Files of the time before scaling.type have a factor alone, and mean linear by it; 0 means that none was set.
  CAIRN_TRY(const std::string type,
            file.get_or<std::string>(prefix + "scaling.type", spec.factor == 0.0 ? "none" : "linear"));
  if (type == "none") {
    spec.scaling = RopeScaling::kNone;
  } else if (type == "linear") {
    spec.scaling = RopeScaling::kLinear;
  } else if (type == "yarn") {
    spec.scaling = RopeScaling::kYarn;
  } else {
    return fail(ErrorCode::kUnsupported,
                "RoPE scaling " + in_quotes(type) + " is not supported; this build knows none, linear and yarn");
  }
  if (spec.scaling == RopeScaling::kNone || spec.factor == 0.0) spec.factor = 1.0;
  if (!positive(spec.factor)) return fail(ErrorCode::kCorrupt, "the RoPE scaling factor must be above zero");
  CAIRN_TRY(spec.attn_factor, read_positive(file, prefix + "scaling.attn_factor", 1.0));
  CAIRN_TRY(spec.original_context, file.get_or<std::uint32_t>(prefix + "scaling.original_context_length", context));
  if (spec.original_context == 0) return fail(ErrorCode::kCorrupt, "the RoPE original context length must not be 0");
  if (spec.scaling != RopeScaling::kYarn) return {};

  CAIRN_TRY(const double yarn_attn_factor, read_positive(file, prefix + "scaling.yarn_attn_factor", 1.0));
  spec.attn_factor *= yarn_attn_factor;
  CAIRN_TRY(spec.beta_fast, read_positive(file, prefix + "scaling.yarn_beta_fast", 32.0));
  CAIRN_TRY(spec.beta_slow, read_positive(file, prefix + "scaling.yarn_beta_slow", 1.0));
  CAIRN_TRY(spec.ext_factor, file.get_or<double>(prefix + "scaling.yarn_ext_factor", 1.0));
  if (!(spec.ext_factor >= 0.0 && spec.ext_factor <= 1.0)) {
    return fail(ErrorCode::kCorrupt, "the YaRN extrapolation factor must lie between 0 and 1");
  }
  CAIRN_TRY(const double log_multiplier, file.get_or<double>(prefix + "scaling.yarn_log_multiplier", 0.0));
  if (log_multiplier != 0.0) return fail(ErrorCode::kUnsupported, "YaRN with a log multiplier is not supported");
  return {};
}

Status read_freq_factors(const GgufFile& file, RopeSpec& spec) {
  const GgufTensor* tensor = file.find_tensor("rope_freqs.weight");
  if (tensor == nullptr) return {};
  if (tensor->num_dims != 1 || tensor->cols() != spec.dims / 2) {
    return fail(ErrorCode::kCorrupt, "tensor 'rope_freqs.weight' has shape " + tensor->shape() + ", expected [" +
                                         std::to_string(spec.dims / 2) + "]");
  }
  CAIRN_TRY(spec.freq_factors, tensor->to_f32());
  if (!std::ranges::all_of(spec.freq_factors, positive)) {
    return fail(ErrorCode::kCorrupt, "tensor 'rope_freqs.weight' has values that are not above zero");
  }
  return {};
}

}  // namespace

Result<ModelConfig> ModelConfig::from_gguf(const GgufFile& file) {
  CAIRN_TRY(const ArchInfo arch, read_arch(file));
  CAIRN_TRY_VOID(refuse_other_kinds(file, std::string(arch.name)));
  const Reader reader(file, arch.name);
  ModelConfig config;
  config.arch = arch.name;
  CAIRN_TRY(config.name, file.get_or<std::string>("general.name", ""));
  CAIRN_TRY(config.layers, reader.count("block_count", kMaxLayers));
  CAIRN_TRY(config.width, reader.count("embedding_length", kMaxWidth));
  CAIRN_TRY(config.ffn, reader.count("feed_forward_length", kMaxFfn));
  CAIRN_TRY(config.context, reader.count("context_length", kMaxContext));
  CAIRN_TRY(config.rms_eps, reader.epsilon("attention.layer_norm_rms_epsilon"));
  CAIRN_TRY_VOID(read_heads(reader, config));
  CAIRN_TRY_VOID(read_vocab(file, config));
  CAIRN_TRY(config.rope, read_rope_spec(file, arch.name, arch.pairing, config.head_dim, config.context));
  for (LayerSpec& cache : like_layers(config.layers, {config.kv_heads, config.head_dim}, config.rope)) {
    config.each_layer.push_back({.cache = std::move(cache), .ffn = config.ffn});
  }

  config.tied_output = file.find_tensor("output.weight") == nullptr;
  config.qkv_bias = arch.qkv_bias || file.find_tensor(layer_tensor(0, "attn_q.bias")) != nullptr;
  config.qk_norm = arch.qk_norm;
  CAIRN_TRY_VOID(check_model_tensors(file, config));
  return config;
}

std::vector<LayerSpec> model_layers(const ModelConfig& config) {
  std::vector<LayerSpec> layers;
  for (const ModelLayer& layer : config.each_layer) layers.push_back(layer.cache);
  return layers;
}

std::string layer_tensor(std::uint32_t layer, std::string_view what) {
  return "blk." + std::to_string(layer) + "." + std::string(what);
}

std::vector<TensorNeed> layer_needs(const ModelConfig& config, std::uint32_t layer) {
  const ModelLayer& own = config.each_layer[layer];
  const PageShape& shape = own.cache.shape;
  const std::uint64_t q_width = std::uint64_t{config.heads} * shape.head_dim;
  const std::uint64_t kv_width = std::uint64_t{shape.kv_heads} * shape.head_dim;
  const auto name = [layer](std::string_view what) { return layer_tensor(layer, what); };
  std::vector<TensorNeed> needs = {
      vector(name("attn_norm.weight"), config.width),
      matrix(name("attn_q.weight"), config.width, q_width),
      matrix(name("attn_k.weight"), config.width, kv_width),
      matrix(name("attn_v.weight"), config.width, kv_width),
      matrix(name("attn_output.weight"), q_width, config.width),
      vector(name("ffn_norm.weight"), config.width),
      matrix(name("ffn_gate.weight"), config.width, own.ffn),
      matrix(name("ffn_up.weight"), config.width, own.ffn),
      matrix(name("ffn_down.weight"), own.ffn, config.width),
  };
  if (config.qkv_bias) {
    needs.push_back(vector(name("attn_q.bias"), q_width));
    needs.push_back(vector(name("attn_k.bias"), kv_width));
    needs.push_back(vector(name("attn_v.bias"), kv_width));
  }
  if (config.qk_norm) {
    needs.push_back(vector(name("attn_q_norm.weight"), shape.head_dim));
    needs.push_back(vector(name("attn_k_norm.weight"), shape.head_dim));
  }
  return needs;
}

std::vector<TensorNeed> outer_needs(const ModelConfig& config) {
  std::vector<TensorNeed> needs = {
      matrix("token_embd.weight", config.width, config.vocab),
      vector("output_norm.weight", config.width),
  };
  if (!config.tied_output) needs.push_back(matrix("output.weight", config.width, config.vocab));
  return needs;
}

Status check_model_tensors(const GgufFile& file, const ModelConfig& config) {
  std::vector<std::string> known = {"rope_freqs.weight"};
  const auto check_all = [&](std::vector<TensorNeed> needs) -> Status {
    for (TensorNeed& need : needs) {
      CAIRN_TRY_VOID(check_need(file, need));
      known.push_back(std::move(need.name));
    }
    return {};
  };
  CAIRN_TRY_VOID(check_all(outer_needs(config)));
  for (std::uint32_t layer = 0; layer < config.layers; ++layer) CAIRN_TRY_VOID(check_all(layer_needs(config, layer)));

  std::ranges::sort(known);
  for (const GgufTensor& tensor : file.tensors()) {
    if (std::ranges::binary_search(known, tensor.name)) continue;
    return fail(ErrorCode::kUnsupported, "tensor " + in_quotes(tensor.name) + " is not part of a " + config.arch +
                                             " model that this build can run");
  }
  return {};
}

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
  CAIRN_TRY_VOID(read_scaling(file, prefix, context, spec));
  CAIRN_TRY_VOID(read_freq_factors(file, spec));
  return spec;
}

}  // namespace cairn
