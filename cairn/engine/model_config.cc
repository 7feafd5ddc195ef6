// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/model_config.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "cairn/engine/model_tensors.h"
#include "cairn/engine/rope_metadata.h"

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

  Result<std::uint32_t> count_or(std::string_view key, std::uint32_t max, std::uint32_t fallback) const {
    if (file_.find(prefix_ + std::string(key)) == nullptr) return fallback;
    return count(key, max);
  }

  // One number for all layers, or an array with one for each.
  Result<std::vector<std::uint32_t>> counts(std::string_view key, std::uint32_t max, std::uint32_t layers) const {
    const std::string full = prefix_ + std::string(key);
    if (const GgufValue* value = file_.find(full); value == nullptr || value->type != GgufType::kArray) {
      CAIRN_TRY(const std::uint32_t one, count(key, max));
      return std::vector<std::uint32_t>(layers, one);
    }
    CAIRN_TRY(const std::vector<std::int32_t> values, file_.get<std::vector<std::int32_t>>(full));
    const auto fits = [max](std::int32_t value) { return value > 0 && static_cast<std::uint32_t>(value) <= max; };
    if (values.size() != layers || !std::ranges::all_of(values, fits)) {
      return fail(ErrorCode::kCorrupt, "metadata " + in_quotes(full) + " must have " + std::to_string(layers) +
                                           " numbers from 1 to " + std::to_string(max));
    }
    return std::vector<std::uint32_t>(values.begin(), values.end());
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
  CAIRN_TRY(const auto ffn, reader.counts("feed_forward_length", kMaxFfn, config.layers));
  config.ffn = std::ranges::max(ffn);
  CAIRN_TRY(config.context, reader.count("context_length", kMaxContext));
  CAIRN_TRY(config.rms_eps, reader.epsilon("attention.layer_norm_rms_epsilon"));
  CAIRN_TRY_VOID(read_heads(reader, config));
  CAIRN_TRY_VOID(read_vocab(file, config));
  CAIRN_TRY(config.rope, read_rope_spec(file, arch.name, arch.pairing, config.head_dim, config.context));
  for (LayerSpec& cache : like_layers(config.layers, {config.kv_heads, config.head_dim}, config.rope)) {
    config.each_layer.push_back({.cache = std::move(cache), .ffn = ffn[config.each_layer.size()]});
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

}  // namespace cairn
