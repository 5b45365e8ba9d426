// Manual pages in roff, man(7).
#include <cctype>
#include <sstream>

#include "tools/cli/command_tree.h"

namespace chronolith::cli {

namespace {

std::string Escaped(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\') {
      escaped += "\\e";
    } else if (c == '-') {
      escaped += "\\-";
    } else if (c == '~') {
      escaped += "\\(ti";
    } else if (c == '^') {
      escaped += "\\(ha";
    } else if (c == '`') {
      escaped += "\\(ga";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

// One that begins with a control character would be a request.
std::string Line(const std::string& text) {
  const bool control = text.starts_with('.') || text.starts_with('\'');
  return (control ? "\\&" : "") + Escaped(text) + "\n";
}

// The parts of a footer: prose, the line about exit codes, and examples, which are indented.
struct Footer {
  std::string prose, exit_codes, examples;
};

Footer Parse(const std::string& text) {
  Footer footer;
  std::string* to = &footer.prose;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Example")) {
      to = &footer.examples;
      continue;
    }
    if (line.starts_with("Exit codes: ")) {
      to = &footer.exit_codes;
      line.erase(0, 12);
    } else if (line.empty() || (to == &footer.examples && !line.starts_with("  "))) {
      to = &footer.prose;
    }
    if (to == &footer.prose && line.empty()) {
      if (!footer.prose.empty()) footer.prose += ".PP\n";
    } else {
      *to += Line(to == &footer.examples ? line.substr(2) : line);
    }
  }
  while (footer.prose.ends_with(".PP\n")) footer.prose.resize(footer.prose.size() - 4);
  return footer;
}

std::string Upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

std::string Sentence(const std::string& text) {
  if (text.empty()) return text;
  std::string sentence = text;
  sentence[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(sentence[0])));
  return sentence.ends_with('.') ? sentence : sentence + ".";
}

std::string Bold(const std::string& word) { return "\\fB" + Escaped(word) + "\\fR"; }
std::string Italic(const std::string& word) { return "\\fI" + Escaped(word) + "\\fR"; }

std::string Names(const char* what, const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? std::string(" ") + what + " " : ", ") + name;
  return text.empty() ? "" : text + ".";
}

void Options(const CommandInfo& command, const std::vector<OptionInfo>& options, std::string* page) {
  std::string group;
  for (const OptionInfo& option : options) {
    if (option.group != group) *page += ".SS " + Escaped(option.group) + "\n";
    group = option.group;
    *page += ".TP\n";
    for (std::size_t i = 0; i < option.names.size(); ++i) {
      const bool positional = !option.names[i].starts_with('-');
      *page += (i == 0 ? "" : ", ") + std::string(positional ? "\\fI" : "\\fB") + Escaped(option.names[i]) + "\\fR";
    }
    const bool flag = option.value.empty() || !option.names.front().starts_with('-');
    *page += flag ? "\n" : " \\fI" + Escaped(option.value) + "\\fR\n";
    const bool required = option.required && option.names.front().starts_with('-');
    const std::string also = AlsoPositional(option, command) ? ", here or as the argument " + option.value : "";
    *page += Line(Sentence(option.description) + (required ? " Required" + also + "." : "") + Names("Needs", option.needs) +
                  Names("Not together with", option.excludes));
    if (!option.choices.empty()) {
      std::string choices = "One of";
      for (std::size_t i = 0; i < option.choices.size(); ++i) choices += (i == 0 ? " " : ", ") + option.choices[i];
      *page += Line(choices + ".");
    }
  }
}

}  // namespace

std::string ManPage(const CommandInfo& root, const CommandInfo& command) {
  const Footer footer = Parse(command.footer);
  const std::string section = std::to_string(command.section);
  std::string page = ".\\\" Made by the program itself.\n.TH " + Upper(Escaped(command.Name("-"))) + " " + section + " \"\" \"" +
                     Escaped(command.program + " " CHRONOLITH_VERSION) + "\" \"Chronolith\"\n.SH NAME\n" +
                     Escaped(command.Name("-")) + " \\- " + Escaped(command.description) + "\n.SH SYNOPSIS\n" +
                     Synopsis(command, Bold, Italic) + "\n";
  page += ".SH DESCRIPTION\n" + Line(Sentence(command.description));
  if (!footer.prose.empty()) page += ".PP\n" + footer.prose;
  if (!command.commands.empty()) {
    page += ".SH COMMANDS\n";
    for (const CommandInfo& below : command.commands) {
      page += ".TP\n\\fB" + Escaped(below.path.back()) + "\\fR\n" + Line(Sentence(below.description)) + "See \\fB" +
              Escaped(below.Name("-")) + "\\fR(1).\n";
    }
  }
  if (!command.positionals.empty()) page += ".SH ARGUMENTS\n";
  Options(command, command.positionals, &page);
  page += ".SH OPTIONS\n";
  Options(command, command.options, &page);
  page += ".SH \"EXIT STATUS\"\n" + (footer.exit_codes.empty() ? Parse(root.footer).exit_codes : footer.exit_codes);
  if (!footer.examples.empty()) page += ".SH EXAMPLES\n.nf\n" + footer.examples + ".fi\n";
  page += ".SH \"SEE ALSO\"\n";
  std::string also;
  for (const CommandInfo* other : AllCommands(root)) {
    const bool near = other->path.size() <= 1 || (!command.path.empty() && other->path.front() == command.path.front());
    if (other == &command || !near) continue;
    also += (also.empty() ? "" : ",\n") + std::string("\\%\\fB") + Escaped(other->Name("-")) + "\\fR(" +
            std::to_string(other->section) + ")";
  }
  for (const std::string& page_of_other : command.see_also) {
    const std::size_t at = page_of_other.find('(');
    also += (also.empty() ? "" : ",\n") + std::string("\\%\\fB") + Escaped(page_of_other.substr(0, at)) + "\\fR" +
            page_of_other.substr(at);
  }
  return page + also + "\n";
}

}  // namespace chronolith::cli
