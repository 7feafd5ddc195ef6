// SPDX-License-Identifier: Apache-2.0
// cairn inspect: what is in a model file.
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>

#include "apps/cairn/commands.h"
#include "apps/cairn/inspect_report.h"
#include "apps/cairn/text.h"
#include "cairn/engine/gguf.h"

namespace cairn {
namespace {

using Json = nlohmann::ordered_json;

struct InspectOptions {
  std::string model;
  InspectParts parts;
  bool json = false;
};

void line(const std::string& label, const std::string& value) {
  std::string padded = label;
  padded.resize(std::max<std::size_t>(16, padded.size() + 1), ' ');
  std::cout << padded << value << '\n';
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
  line("file", scalar(report["file"]) + " (" + format_bytes(report["bytes"]) + ", GGUF v" +
                   scalar(report["gguf_version"]) + ")");
  if (report["name"] != "") line("name", scalar(report["name"]));
  line("architecture", scalar(report["architecture"]));
  line("parameters", format_number(report["parameters"].get<double>() / 1e6, 2) + " M");
  if (report["runnable"]) {
    line("model", one_line(report["model"]));
    line("rope", one_line(report["model"]["rope"]));
    for (const auto& [codec, bytes] : report["kv_bytes_per_token"].items()) {
      line("KV per token", format_number(bytes.get<double>(), 0) + " bytes as " + codec);
    }
  } else {
    line("not runnable", scalar(report["problem"]));
  }
  line("tokenizer", one_line(report["tokenizer"]));
  for (const Json& type : report["tensor_types"]) {
    line("tensors", scalar(type["tensors"]) + " of " + scalar(type["type"]) + ", " + format_bytes(type["bytes"]) +
                        (type["supported"] ? "" : " (this build does not compute with it)"));
  }
  if (report.contains("weights_digest")) line("weights digest", scalar(report["weights_digest"]));
  if (report.contains("tensors")) {
    std::cout << '\n';
    for (const Json& tensor : report["tensors"]) {
      line(scalar(tensor["type"]), scalar(tensor["name"]) + " " + tensor["shape"].dump());
    }
  }
  if (report.contains("metadata")) {
    std::cout << '\n';
    for (const auto& [key, value] : report["metadata"].items()) line(key, scalar(value["value"]));
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
  command->add_option("model,-m,--model", options->model, "Model file (GGUF)")->required();
  command->add_flag("--tensors", options->parts.tensors, "List every tensor");
  command->add_flag("--metadata", options->parts.metadata, "List every metadata entry");
  command->add_flag("--digest", options->parts.digest, "Compute the weights' digest (reads the whole file)");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &outcome] { outcome = run_inspect(*options); });
}

}  // namespace cairn
