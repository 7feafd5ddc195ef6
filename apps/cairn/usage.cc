// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/usage.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <optional>
#include <string_view>

namespace cairn::cli {
namespace {

// The command that the user named last, as `cairn eval kld`.
const CLI::App& named_command(const CLI::App& app) {
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().back();
  return *command;
}

std::string full_name(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  return (parent == nullptr ? "" : full_name(*parent) + " ") + command.get_name();
}

std::vector<std::string> command_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(sub->get_name());
  }
  return names;
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// Levenshtein's distance: insertions, deletions and replacements from one to the other.
std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

// "; did you mean 'run'?" where one of the names is near enough to have been meant, else `otherwise`.
std::string suggestion(const std::string& text, const std::vector<std::string>& names, const std::string& otherwise) {
  constexpr std::size_t kMaxLength = 64;
  if (text.size() > kMaxLength || names.empty()) return otherwise;
  const std::string& nearest =
      *std::ranges::min_element(names, {}, [&](const std::string& name) { return edits(text, name); });
  const bool begins = text.size() >= 3 && nearest.starts_with(text);
  if (!begins && edits(text, nearest) > std::max<std::size_t>(1, text.size() / 3)) return otherwise;
  return "; did you mean '" + nearest + "'?";
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// What stands between two marks of a message of CLI11, if it is built so.
std::optional<std::string> between(std::string_view text, std::string_view before, std::string_view after) {
  if (!text.starts_with(before)) return std::nullopt;
  text.remove_prefix(before.size());
  const std::size_t end = after.empty() ? text.size() : text.find(after);
  if (end == std::string_view::npos) return std::nullopt;
  return std::string(text.substr(0, end));
}

std::string unexpected(const CLI::App& command, const std::string& argument) {
  if (argument.starts_with('-')) {
    const std::string name = argument.substr(0, argument.find('='));
    return "there is no option '" + name + "'" + suggestion(name, option_names(command), "");
  }
  const CLI::Option* model = command.get_option_no_throw("--model");
  if (argument.ends_with(".gguf") && model != nullptr && model->count() > 0) {
    return "two models are given, '" + model->results().front() + "' and '" + argument + "'";
  }
  return "'" + argument + "' is one argument too many";
}

std::string missing(const CLI::App& app, const CLI::App& command, const std::string& name) {
  if (name == "A subcommand") {
    const std::vector<std::string> left = command.remaining();
    if (!left.empty() && left.front().starts_with('-')) return unexpected(command, left.front());
    const std::string all = "; the commands are " + joined(command_names(command));
    if (left.empty()) return "no command is given" + all;
    return "there is no command '" + left.front() + "'" + suggestion(left.front(), command_names(command), all);
  }
  if (name == "--model") return "no model is given, as in '" + full_name(command) + " model.gguf'";
  return name + " is missing" + (&app == &command ? "" : " (required by '" + full_name(command) + "')");
}

std::string conversion(const std::string& name, const std::string& value) {
  double number = 0;
  if (CLI::detail::lexical_cast(value, number)) return name + ": '" + value + "' is out of range, or not whole";
  return name + ": '" + value + "' is not a number";
}

template <typename Kind>
bool is(const CLI::Error& error) {
  return dynamic_cast<const Kind*>(&error) != nullptr;
}

std::string what_is_wrong(const CLI::App& app, const CLI::App& command, const CLI::ParseError& error) {
  const std::string text = error.what();
  if (is<CLI::RequiredError>(error)) {
    if (const auto name = between(text, "", " is required")) return missing(app, command, *name);
  } else if (is<CLI::ExtrasError>(error)) {
    for (const CLI::App* at = &command; at != nullptr; at = at->get_parent()) {
      if (const auto left = at->remaining(); !left.empty()) return unexpected(command, left.front());
    }
  }
  return value_message(error);
}

bool takes_value(CLI::App& command, const std::string& argument) {
  if (!argument.starts_with('-') || argument.find('=') != std::string::npos) return false;
  const CLI::Option* option = command.get_option_no_throw(argument);
  return option != nullptr && option->get_items_expected_min() > 0;
}

}  // namespace

std::string value_message(const CLI::Error& error) {
  const std::string text = error.what();
  if (is<CLI::ConversionError>(error)) {
    if (const auto both = between(text, "Could not convert: ", "")) {
      if (const std::size_t at = both->find(" = "); at != std::string::npos) {
        return conversion(both->substr(0, at), both->substr(at + 3));
      }
    }
  } else if (is<CLI::ArgumentMismatch>(error)) {
    const auto name = between(text, "", ":");
    if (name && text.ends_with(" missing")) return *name + " needs a value";
    if (name && text.find("At Most 1 ") != std::string::npos) return *name + " is given more than once";
    if (const auto of = between(text, "Expected exactly 1 arguments to ", ",")) return *of + " is given more than once";
  } else if (is<CLI::ExcludesError>(error)) {
    if (const auto name = between(text, "", " excludes ")) {
      return *name + " and " + text.substr(name->size() + 10) + " exclude each other";
    }
  }
  return text;
}

std::vector<std::string> arguments_of(CLI::App& app, int argc, char** argv) {
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  CLI::App* command = &app;
  std::size_t first = 0;  // after the command's name
  while (first < arguments.size()) {
    CLI::App* next = nullptr;
    for (CLI::App* sub : command->get_subcommands([](const CLI::App*) { return true; })) {
      if (sub->get_name() == arguments[first]) next = sub;
    }
    if (next == nullptr) break;
    command = next;
    ++first;
  }
  const CLI::Option* model = command->get_option_no_throw("--model");
  if (model != nullptr && model->get_positional()) {
    for (std::size_t i = first; i < arguments.size() && arguments[i] != "--"; ++i) {
      const std::string& argument = arguments[i];
      const bool apart = argument == "-m" || argument == "--model";
      if (apart || argument.starts_with("--model=") || (argument.starts_with("-m") && !argument.starts_with("--"))) {
        const std::size_t end = std::min(i + (apart ? 2 : 1), arguments.size());
        std::rotate(arguments.begin() + static_cast<std::ptrdiff_t>(first),
                    arguments.begin() + static_cast<std::ptrdiff_t>(i),
                    arguments.begin() + static_cast<std::ptrdiff_t>(end));
        i = end - 1;
      } else if (takes_value(*command, argument)) {
        ++i;  // it may look like anything
      }
    }
  }
  std::ranges::reverse(arguments);
  return arguments;
}

std::string usage_message(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = named_command(app);
  return what_is_wrong(app, command, error) + "; see '" + full_name(command) + " --help'";
}

}  // namespace cairn::cli
