#include "tools/cli/common.h"

#include <cstdio>
#include <map>
#include <string>
#include <utility>

#include "interop/selector.h"
#include "interop/time_text.h"

namespace chronolith::cli {

namespace {

// What a store says of its options, as options of the tools.
std::string InTermsOfFlags(std::string_view message) {
  constexpr std::string_view kTerm = "Options::memory_limit_bytes", kFlag = "--memory-limit";
  std::string text(message);
  for (std::size_t at = text.find(kTerm); at != std::string::npos; at = text.find(kTerm, at + kFlag.size())) {
    text.replace(at, kTerm.size(), kFlag);
  }
  return text;
}

}  // namespace

void PrintError(std::string_view text) {
  const std::string message = InTermsOfFlags(text);
  std::fprintf(stderr, "chronolith: error: %.*s\n", static_cast<int>(message.size()), message.data());
}

int Fail(const Status& status) {
  PrintError(status.message().empty() ? status.ToString() : status.message());
  return kExitFailure;
}

int FailOrInterrupted(const Status& status, std::string_view how) {
  if (status.code() != StatusCode::kCancelled) return Fail(status);
  PrintError("interrupted; " + std::string(how));
  return kExitFailure;
}

int FailUsage(const Status& status) {
  PrintError(status.message());
  return kExitUsage;
}

int FailReading(const Status& status, std::string_view interrupted_how) {
  FailOrInterrupted(status, interrupted_how);
  if (status.code() == StatusCode::kDataLoss) {
    std::fprintf(stderr,
                 "`chronolith verify` finds all that is damaged, and says what to do; query, series, labels and values read the "
                 "other\nshards with --skip-damaged.\n");
  }
  return status.code() == StatusCode::kInvalidArgument ? kExitUsage : kExitFailure;
}

int Partial() {
  std::fprintf(stderr, "partial: what damaged shards hold was left out\n");
  return kExitProblems;
}

void AddSkipDamaged(CLI::App* command, bool* skip) {
  command->add_flag("--skip-damaged", *skip, "leave out shards that are damaged instead of failing; the exit code is then 3");
}

void AddFormat(CLI::App* command, Format* format) {
  static const std::map<std::string, Format> kFormats = {{"table", Format::kTable}, {"json", Format::kJson}, {"csv", Format::kCsv}};
  command->add_option("--format", *format, "table (default), json or csv")
      ->transform(CLI::CheckedTransformer(kFormats, CLI::ignore_case).description(""))
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
