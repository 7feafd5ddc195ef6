// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/replay/trace_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>

#include "apps/cairn/input.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::json;

constexpr std::uint32_t kMooncakeTokens = 512, kShareGptTokens = 16;

// Nothing: not a list of whole numbers from 0 to `most`.
std::optional<std::vector<std::uint64_t>> numbers(const Json& json, std::uint64_t most) {
  if (!json.is_array()) return std::nullopt;
  std::vector<std::uint64_t> values;
  values.reserve(json.size());
  for (const Json& entry : json) {
    if (!entry.is_number_unsigned() || entry.get<std::uint64_t>() > most) return std::nullopt;
    values.push_back(entry.get<std::uint64_t>());
  }
  return values;
}

// Of fields that replaying does not need and files may lack.
double number_or_zero(const Json& line, const char* name) {
  const auto found = line.find(name);
  return found != line.end() && found->is_number() ? std::clamp(found->get<double>(), 0.0, 1e18) : 0;
}

class TraceBuilder {
 public:
  explicit TraceBuilder(TraceFormat format) {
    trace_.format = format == TraceFormat::kMooncake ? "mooncake" : "sharegpt";
    trace_.block_tokens = format == TraceFormat::kMooncake ? kMooncakeTokens : kShareGptTokens;
  }

  // Returns what is wrong with the line, or nothing.
  std::string add(const Json& line) {
    return trace_.block_tokens == kMooncakeTokens ? add_mooncake(line) : add_sharegpt(line);
  }

  Trace take() { return std::move(trace_); }

 private:
  std::string add_mooncake(const Json& line) {
    const auto ids = numbers(line.value("hash_ids", Json()), UINT64_MAX);
    if (!ids) return "'hash_ids' must be a list of whole numbers";
    const Json length = line.value("input_length", Json());
    if (!length.is_number_unsigned()) return "'input_length' must be a whole number";
    const auto tokens = length.get<std::uint64_t>();
    if (tokens / kMooncakeTokens + (tokens % kMooncakeTokens != 0 ? 1 : 0) != ids->size()) {
      return "'input_length' " + std::to_string(tokens) + " does not fit " + std::to_string(ids->size()) +
             " hash_ids of 512 tokens";
    }
    Trace::Request request;
    request.input_tokens = tokens;
    request.arrival_s = number_or_zero(line, "timestamp") / 1e3;
    request.output_tokens = static_cast<std::uint64_t>(number_or_zero(line, "output_length"));
    Digest parent{};
    for (std::size_t i = 0; i < ids->size(); ++i) {
      const Digest key = Hasher("cairn.trace.id").u64((*ids)[i]).finish();
      const std::uint64_t left = tokens - i * kMooncakeTokens;
      request.input.push_back(number(key, parent, i, static_cast<std::uint32_t>(std::min<std::uint64_t>(left, 512))));
      parent = key;
    }
    trace_.requests.push_back(std::move(request));
    return {};
  }

  std::string add_sharegpt(const Json& line) {
    auto tokens = numbers(line.value("input_tok_ids", Json()), UINT32_MAX);
    if (!tokens) return "'input_tok_ids' must be a list of token ids";
    Trace::Request request;
    request.input_tokens = tokens->size();
    request.arrival_s = number_or_zero(line, "arrival_time_ns") / 1e9;
    request.output_tokens = static_cast<std::uint64_t>(number_or_zero(line, "output_toks"));
    if (line.contains("output_tok_ids")) {
      const auto output = numbers(line.at("output_tok_ids"), UINT32_MAX);
      if (!output) return "'output_tok_ids' must be a list of token ids";
      tokens->insert(tokens->end(), output->begin(), output->end());
    }
    Digest parent{};
    for (std::size_t i = 0; (i + 1) * kShareGptTokens <= tokens->size(); ++i) {
      Hasher hasher("cairn.trace.tokens");
      hasher.digest(parent);
      for (std::size_t t = 0; t < kShareGptTokens; ++t) hasher.u64((*tokens)[i * kShareGptTokens + t]);
      const Digest key = hasher.finish();
      const bool input = (i + 1) * kShareGptTokens <= request.input_tokens;
      (input ? request.input : request.output).push_back(number(key, parent, i, kShareGptTokens));
      parent = key;
    }
    trace_.requests.push_back(std::move(request));
    return {};
  }

  std::uint32_t number(const Digest& key, const Digest& parent, std::size_t depth, std::uint32_t tokens) {
    const auto [place, fresh] = numbers_.try_emplace(key, static_cast<std::uint32_t>(trace_.blocks.size()));
    if (fresh) trace_.blocks.push_back({{key, parent, 0, static_cast<std::uint32_t>(depth), 0}, tokens});
    return place->second;
  }

  Trace trace_;
  std::unordered_map<Digest, std::uint32_t, DigestHash> numbers_;
};

TraceFormat format_of(const Json& line) {
  if (line.contains("hash_ids")) return TraceFormat::kMooncake;
  return line.contains("input_tok_ids") ? TraceFormat::kShareGpt : TraceFormat::kAuto;
}

}  // namespace

Result<Trace> read_trace(const std::string& path, TraceFormat format) {
  CAIRN_TRY(const std::string text, read_text(path));
  std::optional<TraceBuilder> builder;
  std::size_t line_number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const auto wrong = [&](const std::string& what) {
      return fail(ErrorCode::kCorrupt, path + ":" + std::to_string(line_number) + ": " + what);
    };
    const Json json = Json::parse(line, nullptr, false);
    if (json.is_discarded()) return wrong("not JSON");
    if (!json.is_object()) return wrong("not a JSON object");
    if (!builder) {
      if (format == TraceFormat::kAuto) format = format_of(json);
      if (format == TraceFormat::kAuto) return wrong("neither 'hash_ids' (mooncake) nor 'input_tok_ids' (sharegpt)");
      builder.emplace(format);
    }
    if (const std::string problem = builder->add(json); !problem.empty()) return wrong(problem);
  }
  if (!builder) return fail(ErrorCode::kCorrupt, path + ": no requests");
  return builder->take();
}

}  // namespace cairn::cli
