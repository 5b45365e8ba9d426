#include "tools/cli/log_flags.h"

#include <charconv>
#include <cstdio>
#include <utility>

#include "chronolith/env.h"
#include "interop/time_text.h"
#include "tools/cli/common.h"

namespace chronolith::cli {
namespace {

template <typename T>
bool ParseWhole(std::string_view text, T* number) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), *number);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && !text.empty();
}

Status ParsePlaces(const std::vector<std::string>& texts, const char* flag, std::map<ShardId, Lsn>* places) {
  for (const std::string& text : texts) {
    const auto place = ParsePlace(text);
    if (!place.ok()) return place.status();
    if (!places->insert(*place).second)
      return InvalidArgument(std::string(flag) + " names shard " + std::to_string(place->first) + " twice");
  }
  return Status::Ok();
}

}  // namespace

Result<std::pair<ShardId, Lsn>> ParsePlace(const std::string& text) {
  const std::size_t colon = text.find(':');
  std::pair<ShardId, Lsn> place;
  if (colon == std::string::npos || !ParseWhole(std::string_view(text).substr(0, colon), &place.first) ||
      !ParseWhole(std::string_view(text).substr(colon + 1), &place.second)) {
    return InvalidArgument("expected SHARD:LSN, such as 3:1200, got '" + text + "'");
  }
  return place;
}

void AddLogFlags(CLI::App* command, LogFlags* flags) {
  const auto time = [](const std::string& text) { return interop::ParseTime(text, Clock::System()->NowMs()); };
  command->add_option("--shard", flags->shards, "only this shard; may be given several times")->option_text("N");
  command->add_option("--from", flags->from, "of this shard only records from this LSN on; several times for several shards")
      ->check(Checked(ParsePlace))
      ->option_text("SHARD:LSN");
  command->add_option("--to", flags->to, "and up to this LSN, inclusive")->check(Checked(ParsePlace))->option_text("SHARD:LSN");
  command
      ->add_option("--since", flags->since,
                   "only samples from this point in time on: RFC 3339, milliseconds since 1970, now, or -1h")
      ->check(Checked(time))
      ->option_text("TIME");
  command->add_option("--until", flags->until, "and before this one")->check(Checked(time))->option_text("TIME");
  command->add_option("--written-since", flags->written_since, "only what was written from then on, by the writer's clock")
      ->check(Checked(time))
      ->option_text("TIME");
  command->add_option("--written-until", flags->written_until, "and before then")->check(Checked(time))->option_text("TIME");
  command->add_option("--match", flags->selectors, "only series that match this selector, or another one given like this")
      ->option_text("SELECTOR");
}

Result<ops::LogSelection> ParseLogFlags(const LogFlags& flags) {
  ops::LogSelection selection;
  selection.shards.assign(flags.shards.begin(), flags.shards.end());
  if (Status s = ParsePlaces(flags.from, "--from", &selection.from); !s.ok()) return s;
  if (Status s = ParsePlaces(flags.to, "--to", &selection.to); !s.ok()) return s;
  for (const auto& [shard, from] : selection.from) {
    const auto to = selection.to.find(shard);
    if (to != selection.to.end() && to->second < from) {
      const std::string name = std::to_string(shard) + ":";
      return InvalidArgument("--from " + name + std::to_string(from) + " lies behind --to " + name + std::to_string(to->second));
    }
  }
  const std::pair<TimeFlags, TimeRange*> kRanges[] = {{{flags.since, flags.until}, &selection.samples},
                                                      {{flags.written_since, flags.written_until}, &selection.written}};
  for (const auto& [texts, to] : kRanges) {
    auto range = ParseTimeRange(texts);
    if (!range.ok())
      return InvalidArgument(to == &selection.samples ? "--since lies behind --until"
                                                      : "--written-since lies behind --written-until");
    *to = *range;
  }
  auto selectors = ParseSelectors(flags.selectors);
  if (!selectors.ok()) return selectors.status();
  selection.selectors = std::move(*selectors);
  return selection;
}

void TellOfEmptyLog(const ops::OfflineStore& store, const ops::LogSelection& selection) {
  for (const ShardId shard : selection.ShardsOf(store.shards())) {
    if (ops::LogRecordsOf(store, shard) > 0) return;
  }
  std::fprintf(stderr, "the log holds no records%s\n",
               store.data() == nullptr ? "" : ": it is trimmed of what is stored. `chronolith query` and `export` show that");
}

}  // namespace chronolith::cli
