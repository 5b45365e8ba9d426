// Completion scripts for the shells. Each knows, for a path of commands ("bench write"), what may follow.
#include <algorithm>

#include "tools/cli/command_tree.h"

namespace chronolith::cli {

namespace {

std::string Path(const CommandInfo& command) {
  std::string path;
  for (const std::string& word : command.path) path.append(path.empty() ? "" : " ").append(word);
  return path;
}

std::string Join(const std::vector<std::string>& words, const char* separator = " ") {
  std::string text;
  for (const std::string& word : words) text.append(text.empty() ? "" : separator).append(word);
  return text;
}

// In single quotes, for sh, zsh; fish has the same but for the backslash.
std::string Quoted(const std::string& text, bool fish = false) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += fish ? "\\'" : "'\\''";
    } else if (c == '\\' && fish) {
      quoted += "\\\\";
    } else {
      quoted += c == '\n' ? ' ' : c;
    }
  }
  return quoted + "'";
}

std::string Named(std::string text, const CommandInfo& root) {
  constexpr std::string_view kPlace = "PROGRAM";
  for (std::size_t at = 0; (at = text.find(kPlace, at)) != std::string::npos; at += root.program.size()) {
    text.replace(at, kPlace.size(), root.program);
  }
  return text;
}

std::string Names(const std::vector<CommandInfo>& commands) {
  std::vector<std::string> names;
  for (const CommandInfo& command : commands) names.push_back(command.path.back());
  return Join(names);
}

// What bash is told of a value: what its function `_PROGRAM_value` understands.
std::string BashValue(const OptionInfo& option) {
  switch (option.kind) {
    case ValueKind::kWord:
      return "words " + Join(option.choices);
    case ValueKind::kDirectory:
      return "directory";
    case ValueKind::kFile:
      return "file";
    case ValueKind::kNone:
    case ValueKind::kText:
      break;
  }
  return "text";
}

// Fixed text; what stands for PROGRAM is put in by Named.
constexpr const char* kBashHead = R"(# Completion of PROGRAM for bash. Made by the program itself.

# What may follow a path of commands: its commands, its options, and the kinds of what else it takes.
)";

constexpr const char* kBashTail = R"(
_PROGRAM_value() {
  local cur=$1 kind=$2
  shift 2
  case $kind in
    words) mapfile -t COMPREPLY < <(compgen -W "$*" -- "$cur") ;;
    directory) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
  esac
}

_PROGRAM() {
  local commands options value place=0 path="" word i
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
  local -a places
  COMPREPLY=()
  # --option=value comes as three words.
  if [[ $cur == "=" ]]; then
    cur=""
  elif [[ $prev == "=" ]] && (( COMP_CWORD > 1 )); then
    prev=${COMP_WORDS[COMP_CWORD-2]}
  fi
  _PROGRAM_knows "$path"
  for (( i = 1; i < COMP_CWORD; ++i )); do
    word=${COMP_WORDS[i]}
    if [[ $word == -* ]]; then
      _PROGRAM_option "$path" "$word"
      if [[ -n $value ]]; then
        if [[ ${COMP_WORDS[i+1]} == "=" ]]; then (( ++i )); fi
        (( ++i ))
      fi
    elif (( place == 0 )) && [[ " $commands " == *" $word "* ]]; then
      path=${path:+$path }$word
      _PROGRAM_knows "$path"
    else
      (( ++place ))
    fi
  done
  if [[ $prev == -* ]]; then
    _PROGRAM_option "$path" "$prev"
    if [[ -n $value ]]; then
      # shellcheck disable=SC2086
      _PROGRAM_value "$cur" $value
      return
    fi
  fi
  if [[ $cur == -* ]]; then
    _PROGRAM_value "$cur" words "$options"
    return
  fi
  local given=$place
  (( place < ${#places[@]} )) || place=$(( ${#places[@]} - 1 ))
  if (( place >= 0 )); then
    # shellcheck disable=SC2086
    _PROGRAM_value "$cur" ${places[place]}
  fi
  if (( given == 0 )); then
    local -a found=("${COMPREPLY[@]}")
    mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
    COMPREPLY+=("${found[@]}")
  fi
}

complete -F _PROGRAM PROGRAM
)";

// ---- zsh ----

// In a specification of _arguments: brackets end a description, colons a part.
std::string ZshText(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string ZshAction(const OptionInfo& option) {
  switch (option.kind) {
    case ValueKind::kWord:
      return "(" + Join(option.choices) + ")";
    case ValueKind::kDirectory:
      return "_files -/";
    case ValueKind::kFile:
      return "_files";
    case ValueKind::kNone:
    case ValueKind::kText:
      break;
  }
  return " ";
}

void ZshFunction(const CommandInfo& command, std::string* script) {
  std::string function = "_" + command.program;
  for (const std::string& word : command.path) function += "_" + word;
  *script += "\n" + function + "() {\n  local curcontext=$curcontext state line\n  typeset -A opt_args\n  _arguments -C -s";
  for (const OptionInfo& option : command.options) {
    for (const std::string& name : option.names) {
      std::string spec = option.repeated ? "*" : option.names.size() > 1 ? "(" + Join(option.names) + ")" : "";
      spec += name + "[" + ZshText(option.description) + "]";
      if (!option.value.empty()) spec += ":" + ZshText(option.value) + ":" + ZshAction(option);
      *script += " \\\n    " + Quoted(spec);
    }
  }
  if (!command.commands.empty()) {
    *script += " \\\n    '1: :->command' \\\n    '*:: :->rest'";
  } else {
    for (std::size_t i = 0; i < command.positionals.size(); ++i) {
      const OptionInfo& option = command.positionals[i];
      const std::string place = option.repeated ? "*" : std::to_string(i + 1);
      *script += " \\\n    " + Quoted(place + ":" + ZshText(option.value) + ":" + ZshAction(option));
    }
  }
  *script += "\n";
  if (!command.commands.empty()) {
    *script += "  case $state in\n    command)\n      local -a commands=(";
    for (const CommandInfo& below : command.commands) *script += "\n        " + Quoted(below.path.back() + ":" + below.description);
    *script += "\n      )\n      _describe -t commands command commands\n";
    if (!command.positionals.empty()) *script += "      " + ZshAction(command.positionals.front()) + "\n";
    *script += "      ;;\n    rest)\n      case $line[1] in\n";
    for (const CommandInfo& below : command.commands) {
      *script += "        " + below.path.back() + ") " + function + "_" + below.path.back() + " ;;\n";
    }
    *script += "      esac\n      ;;\n  esac\n";
  }
  *script += "}\n";
}

// ---- fish ----

constexpr const char* kFishHead = R"(# Completion of PROGRAM for fish. Made by the program itself.

set -g __PROGRAM_paths)";

constexpr const char* kFishTail = R"(

function __PROGRAM_at --description 'Whether the words so far are those of a command'
    set -l path
    for word in (commandline -opc)[2..]
        if contains -- (string join ' ' -- $path $word) $__PROGRAM_paths
            set -a path $word
        end
    end
    test (string join ' ' -- $path | string collect --allow-empty) = "$argv[1]"
end

complete -c PROGRAM -f
)";

}  // namespace

std::string BashCompletion(const CommandInfo& root) {
  std::string knows = "_PROGRAM_knows() {\n  places=()\n  case $1 in\n";
  std::string values =
      "\n# What kind of value an option of a path takes; \"\": none.\n_PROGRAM_option() {\n  value=\"\"\n  case \"$1 $2\" in\n";
  for (const CommandInfo* command : AllCommands(root)) {
    std::vector<std::string> options;
    for (const OptionInfo& option : command->options) {
      options.insert(options.end(), option.names.begin(), option.names.end());
      if (option.value.empty()) continue;
      std::vector<std::string> patterns;
      for (const std::string& name : option.names) patterns.push_back("\"" + Path(*command) + " " + name + "\"");
      values += "    " + Join(patterns, " | ") + ") value=" + Quoted(BashValue(option)) + " ;;\n";
    }
    knows += "    \"" + Path(*command) + "\")\n      commands=" + Quoted(Names(command->commands)) +
             "\n      options=" + Quoted(Join(options)) + "\n";
    for (const OptionInfo& option : command->positionals) knows += "      places+=(" + Quoted(BashValue(option)) + ")\n";
    knows += "      ;;\n";
  }
  return Named(kBashHead + knows + "  esac\n}\n" + values + "  esac\n}\n" + kBashTail, root);
}

std::string ZshCompletion(const CommandInfo& root) {
  std::string script = Named("#compdef PROGRAM\n# Completion of PROGRAM for zsh. Made by the program itself.\n", root);
  for (const CommandInfo* command : AllCommands(root)) ZshFunction(*command, &script);
  return script + "\n_" + root.program + " \"$@\"\n";
}

std::string FishCompletion(const CommandInfo& root) {
  std::string paths;
  std::string lines;
  for (const CommandInfo* command : AllCommands(root)) {
    const std::string at =
        "complete -c " + root.program + " -n " + Quoted("__" + root.program + "_at " + Quoted(Path(*command), true), true);
    if (!command->path.empty()) paths += " " + Quoted(Path(*command), true);
    for (const CommandInfo& below : command->commands) {
      lines += at + " -a " + Quoted(below.path.back(), true) + " -d " + Quoted(below.description, true) + "\n";
    }
    for (const OptionInfo& option : command->options) {
      lines += at;
      for (const std::string& name : option.names)
        lines += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (option.kind == ValueKind::kFile) lines += " -rF";
      if (option.kind == ValueKind::kDirectory) lines += " -x -a '(__fish_complete_directories)'";
      if (option.kind == ValueKind::kWord) lines += " -x -a " + Quoted(Join(option.choices), true);
      if (option.kind == ValueKind::kText) lines += " -x";
      lines += " -d " + Quoted(option.description, true) + "\n";
    }
    const auto takes = [&](ValueKind kind) {
      return std::any_of(command->positionals.begin(), command->positionals.end(),
                         [&](const OptionInfo& o) { return o.kind == kind; });
    };
    if (takes(ValueKind::kFile)) lines += at + " -F\n";
    if (takes(ValueKind::kDirectory)) lines += at + " -a '(__fish_complete_directories)'\n";
    for (const OptionInfo& option : command->positionals) {
      if (option.kind == ValueKind::kWord) lines += at + " -a " + Quoted(Join(option.choices), true) + "\n";
    }
  }
  return Named(kFishHead, root) + paths + Named(kFishTail, root) + lines;
}

}  // namespace chronolith::cli
