// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/inspect_report.h"

#include <cstdint>
#include <map>
#include <string_view>
#include <utility>

#include "cairn/base/thread_pool.h"
#include "cairn/block/shape.h"
#include "cairn/codec/codec.h"
#include "cairn/engine/model_config.h"
#include "cairn/engine/model_digest.h"
#include "cairn/text/chat_template.h"
#include "cairn/text/tokenizer.h"

namespace cairn {
namespace {

using Json = nlohmann::ordered_json;

std::string text_or(const GgufFile& file, std::string_view key, const char* fallback) {
  return file.get_or<std::string>(key, fallback).value_or(fallback);
}

Json rope_report(const RopeSpec& rope) {
  Json report = {{"dims", rope.dims},
                 {"pairing", rope.pairing == RopePairing::kNeighbours ? "neighbours" : "halves"},
                 {"base", rope.base}};
  switch (rope.scaling) {
    case RopeScaling::kNone: report["scaling"] = "none"; break;
    case RopeScaling::kLinear: report["scaling"] = "linear"; break;
    case RopeScaling::kYarn: report["scaling"] = "yarn"; break;
  }
  if (rope.scaling != RopeScaling::kNone) {
    report["factor"] = rope.factor;
    report["original_context"] = rope.original_context;
  }
  report["frequency_factors"] = !rope.freq_factors.empty();
  return report;
}

Json model_report(const ModelConfig& config) {
  return {{"layers", config.layers},     {"width", config.width},       {"ffn", config.ffn},
          {"heads", config.heads},       {"kv_heads", config.kv_heads}, {"head_dim", config.head_dim},
          {"vocabulary", config.vocab},  {"context", config.context},   {"tied_output", config.tied_output},
          {"qkv_bias", config.qkv_bias}, {"qk_norm", config.qk_norm},   {"rope", rope_report(config.rope)}};
}

Json kv_report(const ModelConfig& config) {
  Json report = Json::object();
  const PageShape shape{.kv_heads = config.kv_heads, .head_dim = config.head_dim};
  for (const Codec& codec : codec_table()) {
    std::size_t block_bytes = 0;
    for (const Side side : {Side::kKey, Side::kValue}) {
      block_bytes += config.layers * codec.page_bytes({.codec = &codec, .shape = shape, .side = side});
    }
    report[std::string(codec.name)] = static_cast<double>(block_bytes) / kBlockTokens;
  }
  return report;
}

Json tensor_types_report(const GgufFile& file) {
  struct Total {
    std::uint64_t tensors = 0, bytes = 0;
  };
  std::map<std::uint32_t, Total> totals;
  for (const GgufTensor& tensor : file.tensors()) {
    Total& total = totals[tensor.type];
    ++total.tensors;
    total.bytes += tensor.data.size();
  }
  Json report = Json::array();
  for (const auto& [type, total] : totals) {
    report.push_back({{"type", gguf_tensor_type_name(type)},
                      {"tensors", total.tensors},
                      {"bytes", total.bytes},
                      {"supported", find_weight_format(type) != nullptr}});
  }
  return report;
}

Json tokenizer_report(const GgufFile& file) {
  Json report = {{"model", text_or(file, "tokenizer.ggml.model", "none")}};
  if (const std::string pre = text_or(file, "tokenizer.ggml.pre", ""); !pre.empty()) report["pre"] = pre;
  Result<TokenizerData> data = read_tokenizer_data(file);
  const auto tokenizer = data ? make_tokenizer(*std::move(data)) : std::unexpected(std::move(data).error());
  if (!tokenizer) {
    report["problem"] = tokenizer.error().message;
    return report;
  }
  report["tokens"] = (*tokenizer)->size();
  if (const auto bos = (*tokenizer)->bos()) report["bos"] = *bos;
  if (const auto eos = (*tokenizer)->eos()) report["eos"] = *eos;
  return report;
}

Json chat_template_report(const GgufFile& file) {
  const std::string text = text_or(file, "tokenizer.chat_template", "");
  if (text.empty()) return "none";
  const Result<ChatFamily> family = detect_chat_family(text);
  return family ? std::string(chat_family_name(*family)) : "unknown";
}

}  // namespace

Json inspect_report(const GgufFile& file, const std::string& path, const InspectParts& parts) {
  Json report = {{"file", path}, {"bytes", file.bytes().size()}, {"gguf_version", file.version()}};
  report["name"] = text_or(file, "general.name", "");
  report["architecture"] = text_or(file, "general.architecture", "");

  const Result<ModelConfig> config = ModelConfig::from_gguf(file);
  report["runnable"] = config.has_value();
  if (config) {
    report["model"] = model_report(*config);
    report["kv_bytes_per_token"] = kv_report(*config);
  } else {
    report["problem"] = config.error().message;
  }

  report["tokenizer"] = tokenizer_report(file);
  report["chat_template"] = chat_template_report(file);

  std::uint64_t parameters = 0;
  for (const GgufTensor& tensor : file.tensors()) parameters += tensor.cols() * tensor.rows();
  report["parameters"] = parameters;
  report["tensor_types"] = tensor_types_report(file);
  if (parts.digest && config) {
    ThreadPool pool(0);
    ModelDigest digest(*config);
    for (const GgufTensor& tensor : file.tensors()) digest.add(tensor, pool);
    report["weights_digest"] = digest.finish().hex();
  }
  if (parts.tensors) {
    Json tensors = Json::array();
    for (const GgufTensor& tensor : file.tensors()) {
      Json dims = Json::array();
      for (std::uint32_t i = 0; i < tensor.num_dims; ++i) dims.push_back(tensor.dims[i]);
      tensors.push_back({{"name", tensor.name},
                         {"type", gguf_tensor_type_name(tensor.type)},
                         {"shape", std::move(dims)},
                         {"bytes", tensor.data.size()}});
    }
    report["tensors"] = std::move(tensors);
  }
  if (parts.metadata) {
    Json metadata = Json::object();
    for (const GgufValue& value : file.metadata()) {
      metadata[std::string(value.key)] = {{"type", value.type_name()}, {"value", value.preview()}};
    }
    report["metadata"] = std::move(metadata);
  }
  return report;
}

}  // namespace cairn
