#include "tools/cli/command_tree.h"

#include <algorithm>
#include <string_view>

namespace chronolith::cli {

namespace {

// The values that a validator takes, of those that take a set. They do not tell but by refusing one: "... value in {a->0,b->1} ..."
// or
// "... not in {a,b}".
std::vector<std::string> ChoicesOf(CLI::Option* option) {
  std::vector<std::string> choices;
  for (int i = 0; choices.empty(); ++i) {
    std::string refused = "\x01";
    try {
      refused = (*option->get_validator(i))(refused);
    } catch (const CLI::OptionNotFound&) {
      return choices;  // there is no further one
    } catch (const CLI::Error&) {
      continue;  // of a number, say
    }
    std::size_t begin = refused.find("value in {");
    begin = begin == std::string::npos ? refused.find("not in {") : begin;
    if (begin == std::string::npos) continue;
    begin = refused.find('{', begin) + 1;
    const std::size_t end = refused.find('}', begin);
    for (std::size_t at = begin; end != std::string::npos && at < end;) {
      const std::size_t comma = std::min(refused.find(',', at), end);
      const std::string item = refused.substr(at, comma - at);
      choices.push_back(item.substr(0, item.find("->")));
      at = comma + 1;
    }
  }
  return choices;
}

ValueKind KindOf(const OptionInfo& option) {
  if (option.value.empty()) return ValueKind::kNone;
  if (!option.choices.empty()) return ValueKind::kWord;
  const std::string_view description = option.description;
  if (option.value.ends_with("DIR") || description.starts_with("directory") || description.starts_with("a backup")) {
    return ValueKind::kDirectory;
  }
  return option.value.find("FILE") != std::string::npos ? ValueKind::kFile : ValueKind::kText;
}

OptionInfo Describe(CLI::Option* option, const std::string& group, bool positional) {
  OptionInfo info;
  info.group = group;
  if (positional) {
    info.value = option->get_name(true);
    info.names = {info.value};
  } else {
    for (const std::string& name : option->get_snames()) info.names.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) info.names.push_back("--" + name);
    if (option->get_items_expected_max() > 0) info.value = option->get_option_text().empty() ? "VALUE" : option->get_option_text();
  }
  info.description = option->get_description();
  info.choices = ChoicesOf(option);
  info.kind = KindOf(info);
  info.required = option->get_required();
  info.repeated = option->get_items_expected_max() > 1;
  for (const CLI::Option* other : option->get_needs()) info.needs.push_back(other->get_name());
  for (const CLI::Option* other : option->get_excludes()) info.excludes.push_back(other->get_name());
  return info;
}

void DescribeOptions(CLI::App* app, const std::string& group, CommandInfo* info) {
  const std::function<bool(CLI::Option*)> shown = [](CLI::Option* option) { return !option->get_group().empty(); };
  for (CLI::Option* option : app->get_options(shown)) {
    if (!group.empty() && option == app->get_help_ptr()) continue;
    if (option->nonpositional()) info->options.push_back(Describe(option, group, false));
    if (option->get_positional()) info->positionals.push_back(Describe(option, group, true));
  }
  // A group of options is a command without a name.
  for (CLI::App* part : app->get_subcommands([](CLI::App* c) { return c->get_name().empty() && !c->get_group().empty(); })) {
    DescribeOptions(part, part->get_group(), info);
  }
}

CommandInfo Describe(CLI::App* app, const std::string& program, std::vector<std::string> path) {
  CommandInfo info;
  info.program = program;
  info.description = app->get_description();
  info.footer = app->get_footer();
  info.needs_command = app->get_require_subcommand_min() > 0;
  DescribeOptions(app, "", &info);
  for (CLI::App* command : app->get_subcommands([](CLI::App* c) { return !c->get_name().empty() && !c->get_group().empty(); })) {
    std::vector<std::string> below = path;
    below.push_back(command->get_name());
    info.commands.push_back(Describe(command, program, std::move(below)));
  }
  info.path = std::move(path);
  return info;
}

void Collect(const CommandInfo& command, std::vector<const CommandInfo*>* all) {
  all->push_back(&command);
  for (const CommandInfo& below : command.commands) Collect(below, all);
}

}  // namespace

std::string CommandInfo::Name(const char* separator) const {
  std::string name = program;
  for (const std::string& word : path) name.append(separator).append(word);
  return name;
}

CommandInfo DescribeCommands(CLI::App* app) { return Describe(app, app->get_name(), {}); }

CommandInfo DescribeCommand(const CLI::App* command) {
  std::vector<std::string> path;
  const CLI::App* root = command;
  for (; root->get_parent() != nullptr; root = root->get_parent()) path.insert(path.begin(), root->get_name());
  return Describe(const_cast<CLI::App*>(command), root->get_name(), std::move(path));  // asking validators changes nothing
}

bool AlsoPositional(const OptionInfo& option, const CommandInfo& command) {
  return !command.positionals.empty() && option.value == command.positionals.front().value;
}

std::string Synopsis(const CommandInfo& command, const Shown& literal, const Shown& placeholder) {
  std::string text = literal(command.Name(" ")) + " [" + placeholder("OPTIONS") + "]";
  for (const OptionInfo& option : command.options) {
    if (option.required && !AlsoPositional(option, command))
      text += " " + literal(option.names.back()) + " " + placeholder(option.value);
  }
  for (const OptionInfo& option : command.positionals) {
    const std::string name = placeholder(option.value) + (option.repeated ? "..." : "");
    text += option.required ? " " + name : " [" + name + "]";
  }
  if (!command.commands.empty()) text += command.needs_command ? " " + placeholder("COMMAND") : " [" + placeholder("COMMAND") + "]";
  return text;
}

std::vector<const CommandInfo*> AllCommands(const CommandInfo& root) {
  std::vector<const CommandInfo*> all;
  Collect(root, &all);
  return all;
}

}  // namespace chronolith::cli
