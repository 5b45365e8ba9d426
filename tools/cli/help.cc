#include "tools/cli/help.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <string_view>
#include <vector>

namespace chronolith::cli {

namespace {

constexpr std::size_t kColumn = 28;  // where descriptions begin

std::size_t TerminalWidth() {
  winsize size{};
  if (isatty(STDOUT_FILENO) != 1 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 100;
  return std::clamp<std::size_t>(size.ws_col, 60, 120);
}

// Words of `words`, in lines that begin with `indent` blanks, but for the first, of which `used` columns are taken.
std::string Wrapped(const std::string& words, std::size_t indent, std::size_t used, std::size_t width) {
  std::string text;
  std::istringstream in(words);
  bool first = true;
  for (std::string word; in >> word; first = false) {
    if (!first && used + 1 + word.size() > width) {
      text += "\n" + std::string(indent, ' ');
      used = indent;
    } else if (!first) {
      text += " ";
      ++used;
    }
    text += word;
    used += word.size();
  }
  return text + "\n";
}

// An entry of a list: `name`, and in the second column what it is.
std::string Entry(const std::string& name, const std::string& description, std::size_t width) {
  std::string text = "  " + name;
  if (text.size() + 2 > kColumn) {
    text += "\n" + std::string(kColumn, ' ');
  } else {
    text.resize(kColumn, ' ');
  }
  return text + Wrapped(description, kColumn, kColumn, width);
}

std::string Joined(const std::vector<std::string>& words, const char* separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

std::string Described(const OptionInfo& option) {
  std::string text = option.description;
  if (option.required && option.names.front().starts_with('-')) text += " (required)";
  if (!option.needs.empty()) text += " (needs " + Joined(option.needs, " and ") + ")";
  if (!option.excludes.empty()) text += " (not together with " + Joined(option.excludes, " or ") + ")";
  return text;
}

std::string OptionList(const std::vector<OptionInfo>& options, const char* heading, std::size_t width) {
  std::string text;
  const std::string* group = nullptr;
  for (const OptionInfo& option : options) {
    if (group == nullptr || option.group != *group) text += "\n" + (option.group.empty() ? heading : option.group) + ":\n";
    group = &option.group;
    const bool positional = !option.names.front().starts_with('-');
    std::string name = Joined(option.names, ", ");
    if (positional && option.repeated) name += "...";
    if (!positional && !option.value.empty()) name += " " + option.value;
    text += Entry(name, Described(option), width);
  }
  return text;
}

// Prose is filled anew; lines that are indented are examples and stay.
std::string FooterText(const std::string& footer, std::size_t width) {
  std::string text;
  std::string prose;
  const auto end = [&] {
    if (!prose.empty()) text += Wrapped(prose, 0, 0, width);
    prose.clear();
  };
  std::istringstream lines(footer);
  for (std::string line; std::getline(lines, line);) {
    const bool example = line.starts_with("  ");
    const bool heading = line.starts_with("Example");
    if (example || heading || line.empty() || line.starts_with("Exit codes: ")) end();
    if (heading && !text.empty() && !text.ends_with("\n\n")) text += "\n";
    if (example || heading || line.empty()) {
      text += line + "\n";
    } else {
      prose += line + " ";
    }
  }
  end();
  return text;
}

const OptionInfo* Find(const CommandInfo& command, std::string_view name) {
  for (const auto* options : {&command.options, &command.positionals}) {
    for (const OptionInfo& option : *options) {
      if (std::find(option.names.begin(), option.names.end(), name) != option.names.end()) return &option;
    }
  }
  return nullptr;
}

// "DIR, or --db DIR".
std::string Spelled(const CommandInfo& command, const OptionInfo& option) {
  std::string text = option.names.back();
  if (text.starts_with('-') && !option.value.empty()) text += " " + option.value;
  const bool positional = option.names.front().starts_with('-') && AlsoPositional(option, command);
  return positional ? option.value + " (or " + text + ")" : text;
}

std::string Required(const CommandInfo& command, const std::string& name) {
  if (name == "A subcommand") {
    std::vector<std::string> names;
    for (const CommandInfo& below : command.commands) names.push_back(below.path.back());
    return "a subcommand is required: " + Joined(names, ", ");
  }
  const OptionInfo* const option = Find(command, name);
  return option == nullptr ? name + " is required" : Spelled(command, *option) + " is required: " + option->description;
}

std::string Between(const std::string& text, const std::string& before, const std::string& after) {
  const std::size_t at = text.find(before);
  if (at == std::string::npos) return "";
  const std::size_t begin = at + before.size();
  return text.substr(begin, text.find(after, begin) - begin);
}

// `what` the value of an option is not.
std::string Expected(const CommandInfo& command, const std::string& name, const std::string& value) {
  const OptionInfo* const option = Find(command, name);
  const std::string given = name + ": '" + value + "' ";
  if (option == nullptr) return given + "is not what is expected";
  if (!option->choices.empty()) return given + "is none of " + Joined(option->choices, ", ");
  if (option->value.empty()) return name + " takes no value, and '" + value + "' was given";
  return given + "is no " + option->value + ": " + option->description;
}

class ProseFormatter : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const override {
    return HelpText(DescribeCommand(app), TerminalWidth());
  }
};

std::string Failure(const CLI::App* root, const CLI::Error& error) {
  const CLI::App* command = root;
  for (auto below = command->get_subcommands(); !below.empty(); below = command->get_subcommands()) command = below.back();
  const CommandInfo info = DescribeCommand(command);
  return "chronolith: error: " + UsageError(info, error.what()) + "\nSee `" + info.Name(" ") + " --help`.\n";
}

}  // namespace

std::string HelpText(const CommandInfo& command, std::size_t width) {
  std::string text = Wrapped(command.description + ".", 0, 0, width);
  const auto as_is = [](const std::string& word) { return word; };
  text += "\n" + Wrapped("Usage: " + Synopsis(command, as_is, as_is), 7, 0, width);
  text += OptionList(command.positionals, "Arguments", width);
  text += OptionList(command.options, "Options", width);
  if (!command.commands.empty()) text += "\nSubcommands:\n";
  for (const CommandInfo& below : command.commands) text += Entry(below.path.back(), below.description, width);
  if (!command.footer.empty()) text += "\n" + FooterText(command.footer, width);
  return text;
}

std::string UsageError(const CommandInfo& command, const std::string& message) {
  constexpr std::string_view kRequired = " is required";
  if (message.ends_with(kRequired)) return Required(command, message.substr(0, message.size() - kRequired.size()));
  const std::string name = message.substr(0, message.find(':'));
  if (message.starts_with("Could not convert: "))
    return Expected(command, Between(message, "convert: ", " = "), Between(message, " = ", "\n"));
  if (message.starts_with(name + ": Check ")) return Expected(command, name, Between(message, ": Check ", " value in {"));
  if (message.find(" unit not recognized.") != std::string::npos)
    return Expected(command, name, Between(message, ": ", " unit not recognized."));
  const OptionInfo* const option = Find(command, name);
  if (option != nullptr && message.ends_with(" missing"))
    return name + " needs a value: " + option->value + ", " + option->description;
  if (const std::size_t at = message.find(" excludes "); at != std::string::npos)
    return message.substr(0, at) + " and " + message.substr(at + 10) + " exclude each other";
  if (message.find("At Most 1 required but received") != std::string::npos) return name + " is given more than once";
  if (const std::string value = Between(message, ": Value ", " not in range 0.0");
      !value.empty() && message.find(" to 17976931") != std::string::npos)
    return name + ": " + value + " is less than 0";
  return message;
}

void SpeakProse(CLI::App* app) {
  app->formatter(std::make_shared<ProseFormatter>());
  app->failure_message(Failure);
}

}  // namespace chronolith::cli
