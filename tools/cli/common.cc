#include "tools/cli/common.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "interop/selector.h"
#include "interop/time_text.h"
#include "ops/recovered_copy.h"
#include "ops/writing_store.h"

namespace chronolith::cli {

namespace {

// What a store says of its options, as options of the tools.
std::string InTermsOfFlags(std::string_view message) {
  static constexpr std::pair<std::string_view, std::string_view> kTerms[] = {
      {"Options::memory_limit_bytes", "--memory-limit"},
      {"Options::engine", "--engine"},
      {"a database is there and Options::error_if_exists is set",
       "a database is there already; give a directory that is not there yet"}};
  std::string text(message);
  for (const auto& [term, flag] : kTerms) {
    for (std::size_t at = text.find(term); at != std::string::npos; at = text.find(term, at + flag.size())) {
      text.replace(at, term.size(), flag);
    }
  }
  return text;
}

// What the store has logged as an error: where a command fails for that, it is not said twice. Thread safety: safe.
class Logged {
 public:
  void Note(std::string_view message) {
    if (message.starts_with(ops::kOnACopy)) message.remove_prefix(ops::kOnACopy.size());
    const std::lock_guard lock(mu_);
    if (messages_.size() < kMost) messages_.emplace_back(message);
  }
  // `text` without what was logged at its beginning.
  std::string_view WithoutLogged(std::string_view text) const {
    const std::lock_guard lock(mu_);
    for (const std::string& message : messages_) {
      if (!text.starts_with(message)) continue;
      text.remove_prefix(message.size());
      text.remove_prefix(std::min(text.find_first_not_of(".;: "), text.size()));
      return text;
    }
    return text;
  }

 private:
  static constexpr std::size_t kMost = 64;  // shards are at most 31
  mutable std::mutex mu_;
  std::vector<std::string> messages_;
};

Logged* TheLogged() {
  static auto* const logged = new Logged;  // never destroyed: threads of the store outlive main where it exits
  return logged;
}

}  // namespace

void NoteLoggedError(std::string_view message) { TheLogged()->Note(message); }

void PrintError(std::string_view text) {
  const std::string message = InTermsOfFlags(TheLogged()->WithoutLogged(text));
  if (message.empty()) return;
  std::fprintf(stderr, "chronolith: error: %.*s\n", static_cast<int>(message.size()), message.data());
}

int Fail(const Status& status) {
  PrintError(status.message().empty() ? status.ToString() : status.message());
  return kExitFailure;
}

int Finish(Output* out, int code) {
  const Status written = out->Finish();
  return written.ok() ? code : Fail(written);
}

int FailOrInterrupted(const Status& status, std::string_view how) {
  if (ops::IsOfFullDisk(status) && !how.empty()) {
    PrintError(status.message() + "; " + std::string(how));
    return kExitFailure;
  }
  if (status.code() != StatusCode::kCancelled) return Fail(status);
  PrintError("interrupted; " + std::string(how));
  return kExitFailure;
}

int FailOrUsage(const Status& status, std::string_view interrupted_how) {
  FailOrInterrupted(status, interrupted_how);
  return status.code() == StatusCode::kInvalidArgument ? kExitUsage : kExitFailure;
}

int FailUsage(const Status& status) {
  PrintError(status.message());
  return kExitUsage;
}

int FailReading(const Status& status, std::string_view interrupted_how) {
  const int code = FailOrUsage(status, interrupted_how);
  if (status.code() == StatusCode::kDataLoss) {
    std::fprintf(stderr,
                 "`chronolith verify` finds all that is damaged, and says what to do; query, series, labels and values read the "
                 "other\nshards with --skip-damaged.\n");
  }
  return code;
}

int Partial() {
  std::fprintf(stderr, "partial: what damaged shards hold was left out\n");
  return kExitProblems;
}

void AddSkipDamaged(CLI::App* command, bool* skip) {
  command->add_flag("--skip-damaged", *skip, "leave out shards that are damaged instead of failing; the exit code is then 3");
}

void AddFormat(CLI::App* command, Format* format, Csv csv) {
  std::map<std::string, Format> formats = {{"table", Format::kTable}, {"json", Format::kJson}};
  if (csv == Csv::kYes) formats.emplace("csv", Format::kCsv);
  command->add_option("--format", *format, csv == Csv::kYes ? "table (default), json or csv" : "table (default) or json")
      ->transform(CLI::CheckedTransformer(formats, CLI::ignore_case).description(""))
      ->option_text("FORMAT");
}

void AddLevel(CLI::App* command, AckLevel* level) {
  static const std::map<std::string, AckLevel> kLevels = {
      {"queued", AckLevel::kQueued}, {"logged", AckLevel::kLogged}, {"synced", AckLevel::kSynced}};
  command
      ->add_option("--level", *level,
                   "what a write waits for: queued, logged (default; survives kill -9), synced (survives power loss)")
      ->transform(CLI::CheckedTransformer(kLevels, CLI::ignore_case).description(""))
      ->option_text("LEVEL");
}

void AddTimeRange(CLI::App* command, TimeFlags* flags) {
  const auto now = [](const std::string& text) { return interop::ParseTime(text, Clock::System()->NowMs()); };
  command->add_option("--start", flags->start, "first point in time, inclusive: RFC 3339, milliseconds since 1970, now, or -1h")
      ->check(Checked(now))
      ->option_text("TIME");
  command->add_option("--end", flags->end, "end of the range, exclusive")->check(Checked(now))->option_text("TIME");
}

Result<TimeRange> ParseTimeRange(const TimeFlags& flags) {
  const Timestamp now = Clock::System()->NowMs();
  TimeRange range;
  const std::pair<const std::string*, Timestamp*> kEnds[] = {{&flags.start, &range.start}, {&flags.end, &range.end}};
  for (const auto& [text, to] : kEnds) {
    if (text->empty()) continue;
    const auto t = interop::ParseTime(*text, now);
    if (!t.ok()) return t.status();
    *to = *t;
  }
  if (range.start > range.end) return InvalidArgument("--start lies behind --end");
  return range;
}

void AddSelection(CLI::App* command, SelectionFlags* flags) {
  command->add_option("--match", flags->selectors, "only series that match this selector, or another one given so; default: all")
      ->allow_extra_args(false)
      ->option_text("SELECTOR");
  AddTimeRange(command, &flags->time);
}

Result<Selection> ParseSelection(const SelectionFlags& flags) {
  auto selectors = ParseSelectors(flags.selectors);
  if (!selectors.ok()) return selectors.status();
  const auto range = ParseTimeRange(flags.time);
  if (!range.ok()) return range.status();
  return Selection{std::move(*selectors), *range};
}

Result<std::vector<std::vector<Matcher>>> ParseSelectors(const std::vector<std::string>& selectors) {
  std::vector<std::vector<Matcher>> all;
  for (const std::string& text : selectors) {
    auto matchers = interop::ParseSelector(text);
    if (!matchers.ok()) return matchers.status().WithContext("selector " + text);
    all.push_back(std::move(*matchers));
  }
  return all;
}

}  // namespace chronolith::cli
