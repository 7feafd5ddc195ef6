// SPDX-License-Identifier: Apache-2.0
// cairn inspect: what is in a model file.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <string>

#include "apps/cairn/commands.h"
#include "apps/cairn/inspect_report.h"
#include "apps/cairn/text.h"
#include "cairn/gguf/gguf.h"

namespace cairn {
namespace {

using Json = nlohmann::ordered_json;

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
  if (report.at("runnable")) {
    line("model", one_line(report.at("model")));
    line("rope", one_line(report.at("model").at("rope")));
    for (const auto& [codec, bytes] : report.at("kv_bytes_per_token").items()) {
      line("KV per token", format_number(bytes.get<double>(), 0) + " bytes as " + codec);
    }
  } else {
    line("not runnable", scalar(report.at("problem")));
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
  command->add_option("model,-m,--model", options->model, "Model file (GGUF)")->required();
  command->add_flag("--tensors", options->parts.tensors, "List every tensor");
  command->add_flag("--metadata", options->parts.metadata, "List every metadata entry");
  command->add_flag("--digest", options->parts.digest, "Compute the weights' digest (reads the whole file)");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &outcome] { outcome = run_inspect(*options); });
}

}  // namespace cairn
