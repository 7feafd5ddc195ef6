// SPDX-License-Identifier: Apache-2.0
// cairn inspect: what is in a model file, as one JSON document and as text printed from it.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "apps/cairn/commands.h"
#include "apps/cairn/terminal.h"
#include "cairn/base/thread_pool.h"
#include "cairn/block/shape.h"
#include "cairn/cache/window.h"
#include "cairn/codec/codec.h"
#include "cairn/engine/model_config.h"
#include "cairn/engine/weights.h"
#include "cairn/gguf/gguf.h"
#include "cairn/text/chat_template.h"
#include "cairn/text/tokenizer.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

struct InspectParts {
  bool tensors = false;
  bool metadata = false;
  bool digest = false;  // reads the whole file; left out for a model that cannot be run
};

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
  // What keys and queries are multiplied by, YaRN's own factor among it.
  if (rope.magnitude() != 1.0) report["attention_factor"] = rope.magnitude();
  report["frequency_factors"] = !rope.freq_factors.empty();
  return report;
}

// A window that all of the context fits into is none.
std::uint32_t window_of(const LayerSpec& layer, const ModelConfig& config) {
  return layer.window < config.context ? layer.window : 0;
}

// What only some models have.
void add_specials(const ModelConfig& config, Json& report) {
  std::uint32_t windowed = 0;
  for (const LayerSpec& layer : model_layers(config)) {
    if (window_of(layer, config) == 0) continue;
    ++windowed;
    report["window"] = layer.window;
    if (layer.rope.base != config.rope.base) report["window_rope_base"] = layer.rope.base;
  }
  if (windowed > 0) report["window_layers"] = windowed;
  if (config.sinks) report["attention_sinks"] = true;
  if (config.experts.count > 0) {
    report["experts"] = config.experts.count;
    report["experts_used"] = config.experts.used;
    report["expert_ffn"] = config.experts.ffn;
    if (config.experts.shared_ffn > 0) report["shared_expert_ffn"] = config.experts.shared_ffn;
    if (config.experts.groups > 1) report["expert_groups"] = config.experts.groups;
  }
  if (config.latent.rank > 0) {
    report["latent"] = config.latent.rank;
    if (config.latent.q_rank > 0) report["query_rank"] = config.latent.q_rank;
    report["value_dim"] = config.latent.value;
  }
  const auto add = [&](const char* name, float value, float plain) {
    if (value != plain) report[name] = value;
  };
  add("attention_cap", config.attention_cap, 0);
  add("logit_cap", config.logit_cap, 0);
  add("embedding_scale", config.embedding_scale, 1);
  add("residual_scale", config.residual_scale, 1);
  add("logit_scale", config.logit_scale, 1);
}

Json model_report(const ModelConfig& config) {
  Json report = {{"layers", config.layers},
                 {"width", config.width},
                 {"ffn", config.ffn},
                 {"heads", config.heads},
                 {"kv_heads", config.kv_heads},
                 {"head_dim", config.head_dim},
                 {"vocabulary", config.vocab},
                 {"context", config.context},
                 {"tied_output", config.tied_output},
                 {"qkv_bias", config.qkv_bias},
                 {"qk_norm", config.qk_norm != QkNorm::kNone},
                 {"rope", rope_report(config.rope)}};
  add_specials(config, report);
  return report;
}

// By codec: what one token more adds to a long sequence, or what layers with a window hold of it once they are full.
Json kv_report(const ModelConfig& config, bool windows) {
  Json report = Json::object();
  const std::vector<LayerSpec> layers = model_layers(config);
  for (const Codec& codec : codec_table()) {
    if (codec.check_codebook != nullptr) continue;  // how large its pages are is up to its codebooks
    if (std::ranges::any_of(layers, [&](const LayerSpec& layer) { return !check_shape(codec, layer.shape); })) continue;
    double bytes = 0;
    for (std::uint32_t l = 0; l < layers.size(); ++l) {
      const std::uint32_t window = window_of(layers[l], config);
      if (layers[l].kv_map != l || (window != 0) != windows) continue;
      const std::size_t tokens = windows ? max_window_blocks(window) * kBlockTokens : 1;
      for (const PageSlot slot : layers[l].shape.slots()) {
        const std::size_t page = codec.page_bytes({.codec = &codec, .shape = layers[l].shape, .slot = slot});
        bytes += static_cast<double>(page * tokens) / kBlockTokens;
      }
    }
    report[std::string(codec.name)] = bytes;
  }
  return report;
}

bool has_windows(const ModelConfig& config) {
  return std::ranges::any_of(model_layers(config),
                             [&](const LayerSpec& layer) { return window_of(layer, config) != 0; });
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

// `vocab`: tokens that the model has, 0 where that is not known.
Json tokenizer_report(const GgufFile& file, std::uint32_t vocab) {
  Json report = {{"model", text_or(file, "tokenizer.ggml.model", "none")}};
  if (const std::string pre = text_or(file, "tokenizer.ggml.pre", ""); !pre.empty()) report["pre"] = pre;
  Result<TokenizerData> data = read_tokenizer_data(file);
  const auto tokenizer = data ? make_tokenizer(*std::move(data)) : std::unexpected(std::move(data).error());
  if (!tokenizer) {
    report["problem"] = tokenizer.error().message;
    return report;
  }
  report["tokens"] = (*tokenizer)->size();
  if (vocab > 0 && (*tokenizer)->size() != vocab) {
    report["problem"] = "the tokenizer has " + std::to_string((*tokenizer)->size()) + " tokens but the model has " +
                        std::to_string(vocab);
  }
  if (const auto bos = (*tokenizer)->bos()) report["bos"] = *bos;
  if (const auto eos = (*tokenizer)->eos()) report["eos"] = *eos;
  return report;
}

Json chat_template_report(const GgufFile& file) {
  if (text_or(file, "tokenizer.chat_template", "").empty()) return "none";
  const Result<ChatTemplate> chat = ChatTemplate::of_model(file);
  return chat ? std::string(chat->name()) : chat.error().message;
}

// Never fails on a model that cannot be run: "runnable" and "problem" say what is in the way.
Json inspect_report(const GgufFile& file, const std::string& path, const InspectParts& parts) {
  Json report = {{"file", path}, {"bytes", file.size_bytes()}, {"gguf_version", file.version()}};
  report["name"] = text_or(file, "general.name", "");
  report["architecture"] = text_or(file, "general.architecture", "");

  const Result<ModelConfig> config = ModelConfig::from_gguf(file);
  Json tokenizer = tokenizer_report(file, config ? config->vocab : 0);
  report["runnable"] = config && !tokenizer.contains("problem");
  if (!report["runnable"]) report["problem"] = config ? tokenizer.at("problem") : Json(config.error().message);
  if (config) {
    report["model"] = model_report(*config);
    report["kv_bytes_per_token"] = kv_report(*config, /*windows=*/false);
    if (has_windows(*config)) report["kv_window_bytes"] = kv_report(*config, /*windows=*/true);
  }

  report["tokenizer"] = std::move(tokenizer);
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

struct InspectOptions {
  std::string model;
  InspectParts parts;
  bool json = false;
};

// Names come from the file, and a file must not be able to write escape sequences to a terminal.
void line(const std::string& label, const std::string& value) {
  std::string text = label;
  text.resize(std::max<std::size_t>(16, text.size() + 1), ' ');
  text += value;
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  std::cout << text << '\n';
}

std::string scalar(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// "key value, key value": the small objects of a report on one line.
std::string one_line(const Json& object) {
  std::string text;
  for (const auto& [key, value] : object.items()) {
    if (value.is_structured()) continue;
    if (value.is_boolean() && !value.get<bool>()) continue;
    if (!text.empty()) text += ", ";
    text += key;
    if (!value.is_boolean()) text += " " + scalar(value);
  }
  return text;
}

void print_text(const Json& report) {
  line("file", scalar(report.at("file")) + " (" + format_bytes(report.at("bytes")) + ", GGUF v" +
                   scalar(report.at("gguf_version")) + ")");
  if (report.at("name") != "") line("name", scalar(report.at("name")));
  line("architecture", scalar(report.at("architecture")));
  line("parameters", format_number(report.at("parameters").get<double>() / 1e6, 2) + " M");
  line("runnable", report.at("runnable") ? "yes" : "no: " + scalar(report.at("problem")));
  if (report.contains("model")) {
    line("model", one_line(report.at("model")));
    line("rope", one_line(report.at("model").at("rope")));
    for (const auto& [codec, bytes] : report.at("kv_bytes_per_token").items()) {
      std::string text = format_number(bytes.get<double>(), 0) + " bytes as " + codec;
      if (report.contains("kv_window_bytes")) {
        text += ", and " + format_bytes(report.at("kv_window_bytes").at(codec)) + " for layers with a window";
      }
      line("KV per token", text);
    }
  }
  line("tokenizer", one_line(report.at("tokenizer")));
  line("chat template", scalar(report.at("chat_template")));
  for (const Json& type : report.at("tensor_types")) {
    line("tensors", scalar(type.at("tensors")) + " of " + scalar(type.at("type")) + ", " +
                        format_bytes(type.at("bytes")) +
                        (type.at("supported") ? "" : " (this build does not compute with it)"));
  }
  if (report.contains("weights_digest")) line("weights digest", scalar(report.at("weights_digest")));
  if (report.contains("tensors")) {
    std::cout << '\n';
    for (const Json& tensor : report.at("tensors")) {
      line(scalar(tensor.at("type")), scalar(tensor.at("name")) + " " + tensor.at("shape").dump());
    }
  }
  if (report.contains("metadata")) {
    std::cout << '\n';
    for (const auto& [key, value] : report.at("metadata").items()) line(key, scalar(value.at("value")));
  }
}

Status run_inspect(const InspectOptions& options) {
  CAIRN_TRY(const GgufFile file, GgufFile::open(options.model));
  const Json report = inspect_report(file, options.model, options.parts);
  if (options.json) {
    std::cout << report.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    print_text(report);
  }
  return {};
}

}  // namespace

void add_inspect_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("inspect", "Show what a model file holds and what its KV cache costs");
  auto options = std::make_shared<InspectOptions>();
  add_model_argument(*command, options->model);
  command->add_flag("--tensors", options->parts.tensors, "List every tensor");
  command->add_flag("--metadata", options->parts.metadata, "List every metadata entry");
  command->add_flag("--digest", options->parts.digest, "Compute the weights' digest (reads the whole file)");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &outcome] { outcome = run_inspect(*options); });
}

}  // namespace cairn::cli
