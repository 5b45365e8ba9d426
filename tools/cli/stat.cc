// chronolith stat: what the shards hold and have done.
#include <cstdio>
#include <string>

#include "interop/time_text.h"
#include "tools/cli/common.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"

namespace chronolith::cli {

namespace {

struct StatFlags {
  StoreFlags store;
  Format format = Format::kTable;
};

constexpr const char* kLevelNames[] = {"queued", "logged", "synced"};

struct LockWaits {
  std::uint64_t acquisitions = 0;
  DurationHistogram wait;
};
LockWaits SumLocks(const ShardStats& shard) {
  LockWaits sum;
  for (const LockStats& lock : shard.locks) {
    sum.acquisitions += lock.acquisitions;
    sum.wait.Add(lock.wait);
  }
  return sum;
}

DurationHistogram AllWrites(const ShardStats& shard) {
  DurationHistogram all;
  for (const DurationHistogram& h : shard.write_latency) all.Add(h);
  return all;
}

std::vector<std::string> Row(const std::string& name, const ShardStats& s, bool total) {
  const LockWaits locks = SumLocks(s);
  const DurationHistogram writes = AllWrites(s);
  const auto n = [](std::uint64_t v) { return std::to_string(v); };
  const auto lsn = [total, n](std::uint64_t v) { return total ? std::string("-") : n(v); };
  return {name,
          n(s.series_total),
          n(s.series_resident),
          n(s.samples_appended),
          n(s.samples_out_of_order),
          lsn(s.last_lsn),
          lsn(s.logged_lsn),
          lsn(s.synced_lsn),
          lsn(s.applied_lsn),
          lsn(s.trimmed_to),
          HumanBytes(s.wal_bytes),
          HumanBytes(s.wal_bytes_pinned),
          n(s.replayed_records),
          HumanBytes(s.head_bytes),
          HumanBytes(s.chunk_payload_bytes),
          n(locks.wait.count),
          HumanSeconds(locks.wait.Quantile(0.99)),
          HumanSeconds(writes.Quantile(0.5)),
          HumanSeconds(writes.Quantile(0.9)),
          HumanSeconds(writes.Quantile(0.99))};
}

void AddTo(const ShardStats& s, ShardStats* total) {
  total->series_total += s.series_total;
  total->series_resident += s.series_resident;
  total->samples_appended += s.samples_appended;
  total->samples_out_of_order += s.samples_out_of_order;
  total->wal_bytes += s.wal_bytes;
  total->wal_bytes_pinned += s.wal_bytes_pinned;
  total->replayed_records += s.replayed_records;
  total->head_bytes += s.head_bytes;
  total->chunk_payload_bytes += s.chunk_payload_bytes;
  total->locks.insert(total->locks.end(), s.locks.begin(), s.locks.end());
  for (std::size_t i = 0; i < total->write_latency.size(); ++i) total->write_latency[i].Add(s.write_latency[i]);
}

struct EngineSize {
  std::uint64_t buffered = 0, files = 0, bytes = 0;
};
EngineSize SizeOf(const EngineStats& engine) {
  EngineSize size;
  for (const FamilyStats& family : engine.families) {
    size.buffered += family.buffered_bytes;
    size.files += family.file_count;
    size.bytes += family.file_bytes;
  }
  return size;
}

void PrintTable(const StorageStats& stats, Format format, Output* out) {
  Table table({"shard",     "series", "resident", "samples", "late",   "lsn",   "logged",   "synced",    "applied", "trimmed",
               "wal bytes", "pinned", "replayed", "head",    "chunks", "waits", "wait p99", "write p50", "p90",     "p99"});
  ShardStats total;
  for (const ShardStats& shard : stats.shards) {
    table.Add(Row(std::to_string(shard.shard), shard, false));
    AddTo(shard, &total);
  }
  if (format == Format::kCsv) return table.PrintCsv(out);
  table.Add(Row("all", total, true));
  table.Print(out);

  *out << "\n";
  Table engines({"engine", "files", "file bytes", "buffered", "log files", "log bytes", "block cache", "stalls", "errors"});
  const std::pair<const char*, const EngineStats*> kEngines[] = {{"log", &stats.log_engine}, {"data", &stats.data_engine}};
  for (const auto& [name, engine] : kEngines) {
    const EngineSize size = SizeOf(*engine);
    engines.Add({name, std::to_string(size.files), HumanBytes(size.bytes), HumanBytes(size.buffered),
                 std::to_string(engine->log_files), HumanBytes(engine->log_bytes), HumanBytes(engine->block_cache_bytes),
                 std::to_string(engine->write_stalls), std::to_string(engine->background_errors)});
  }
  engines.Print(out);
  *out << "\nmemory " << HumanBytes(stats.memory_used_bytes) << " of " << HumanBytes(stats.memory_limit_bytes) << "; opened in "
       << HumanSeconds(stats.replay_seconds) << " of replay; engine " << stats.engine << "; version " << stats.version
       << (stats.log_failed ? "; THE LOG HAS FAILED" : "") << "\nCounts of samples, waits and latencies are of this process.\n";
  const ScrubStats& scrub = stats.scrub;
  if (scrub.last_full_pass_ms == 0) {
    *out << "Never scrubbed completely.\n";
  } else {
    *out << "Last scrub ended " << interop::FormatTime(scrub.last_full_pass_ms) << ", took "
         << HumanSeconds(scrub.last_pass_seconds) << ", found " << std::to_string(scrub.last_pass_problems) << " problems.\n";
  }
  if (scrub.progress > 0) *out << "A scrub has come to " << std::to_string(static_cast<int>(scrub.progress * 100)) << " %.\n";
  for (const FamilyStats& family : stats.data_engine.families) {
    if (!family.damage.empty()) *out << "DAMAGED: " << family.name << ": " << family.damage << "\n";
  }
}

void JsonHistogram(const DurationHistogram& h, JsonWriter* json) {
  json->BeginObject().Key("count").Unsigned(h.count).Key("sum_seconds").Double(h.sum_seconds);
  json->Key("p50_seconds")
      .Double(h.Quantile(0.5))
      .Key("p90_seconds")
      .Double(h.Quantile(0.9))
      .Key("p99_seconds")
      .Double(h.Quantile(0.99));
  json->EndObject();
}

void JsonShard(const ShardStats& s, JsonWriter* json) {
  const std::pair<const char*, std::uint64_t> kNumbers[] = {{"shard", s.shard},
                                                            {"series", s.series_total},
                                                            {"series_resident", s.series_resident},
                                                            {"series_created", s.series_created},
                                                            {"series_removed", s.series_removed},
                                                            {"series_released", s.series_released},
                                                            {"samples_appended", s.samples_appended},
                                                            {"samples_out_of_order", s.samples_out_of_order},
                                                            {"samples_refused", s.samples_refused},
                                                            {"last_lsn", s.last_lsn},
                                                            {"logged_lsn", s.logged_lsn},
                                                            {"synced_lsn", s.synced_lsn},
                                                            {"applied_lsn", s.applied_lsn},
                                                            {"trimmed_to", s.trimmed_to},
                                                            {"epoch", s.epoch},
                                                            {"wal_records", s.wal_records},
                                                            {"wal_bytes", s.wal_bytes},
                                                            {"wal_bytes_pinned", s.wal_bytes_pinned},
                                                            {"ring_bytes_queued", s.ring_bytes_queued},
                                                            {"ring_full_waits", s.ring_full_waits},
                                                            {"groups", s.groups},
                                                            {"group_records", s.group_records},
                                                            {"replayed_records", s.replayed_records},
                                                            {"replayed_bytes", s.replayed_bytes},
                                                            {"head_bytes", s.head_bytes},
                                                            {"postings_cache_hits", s.postings_cache_hits},
                                                            {"postings_cache_misses", s.postings_cache_misses},
                                                            {"labels_cache_hits", s.labels_cache_hits},
                                                            {"labels_cache_misses", s.labels_cache_misses},
                                                            {"postings_cache_bytes", s.postings_cache_bytes},
                                                            {"chunk_rows_written", s.chunk_rows_written},
                                                            {"chunk_payload_bytes", s.chunk_payload_bytes},
                                                            {"chunk_samples", s.chunk_samples}};
  json->BeginObject();
  for (const auto& [name, value] : kNumbers) json->Key(name).Unsigned(value);
  json->Key("quarantine").String(s.quarantine);
  json->Key("locks").BeginObject();
  for (const LockStats& lock : s.locks) {
    json->Key(lock.name).BeginObject().Key("acquisitions").Unsigned(lock.acquisitions).Key("wait");
    JsonHistogram(lock.wait, json);
    json->EndObject();
  }
  json->EndObject().Key("write_latency").BeginObject();
  for (std::size_t level = 0; level < s.write_latency.size(); ++level) {
    json->Key(kLevelNames[level]);
    JsonHistogram(s.write_latency[level], json);
  }
  json->EndObject().EndObject().Newline();
}

void JsonEngine(const EngineStats& engine, JsonWriter* json) {
  json->BeginObject().Key("log_bytes").Unsigned(engine.log_bytes).Key("log_files").Unsigned(engine.log_files);
  json->Key("block_cache_bytes").Unsigned(engine.block_cache_bytes).Key("write_stalls").Unsigned(engine.write_stalls);
  json->Key("background_errors").Unsigned(engine.background_errors).Key("families").BeginArray();
  for (const FamilyStats& family : engine.families) {
    json->BeginObject().Key("name").String(family.name).Key("buffered_bytes").Unsigned(family.buffered_bytes);
    json->Key("file_bytes").Unsigned(family.file_bytes).Key("file_count").Unsigned(family.file_count);
    json->Key("damage").String(family.damage).EndObject();
  }
  json->EndArray().EndObject();
}

void PrintJson(const StorageStats& stats, Output* out) {
  JsonWriter json(out);
  json.BeginObject().Key("shards").BeginArray();
  ShardStats total;
  for (const ShardStats& shard : stats.shards) {
    JsonShard(shard, &json);
    AddTo(shard, &total);
  }
  json.EndArray().Key("series").Unsigned(total.series_total).Key("wal_bytes_pinned").Unsigned(total.wal_bytes_pinned);
  json.Key("log_engine");
  JsonEngine(stats.log_engine, &json);
  json.Key("data_engine");
  JsonEngine(stats.data_engine, &json);
  json.Key("scrub").BeginObject().Key("last_full_pass_ms").Unsigned(static_cast<std::uint64_t>(stats.scrub.last_full_pass_ms));
  json.Key("last_pass_seconds").Double(stats.scrub.last_pass_seconds).Key("progress").Double(stats.scrub.progress);
  json.Key("last_pass_problems").Unsigned(stats.scrub.last_pass_problems).Key("problems").BeginArray();
  for (const std::string& problem : stats.scrub.last_problems) json.String(problem);
  json.EndArray().EndObject();
  json.Key("memory_used_bytes").Unsigned(stats.memory_used_bytes).Key("memory_limit_bytes").Unsigned(stats.memory_limit_bytes);
  json.Key("replay_seconds").Double(stats.replay_seconds).Key("log_failed").Bool(stats.log_failed);
  json.Key("engine").String(stats.engine).Key("version").String(stats.version).EndObject().Newline();
}

int Stat(const StatFlags& flags) {
  const auto store = OpenForReading(flags.store);
  if (!store.ok()) return Fail(store.status());
  if (store->copy != nullptr) {
    std::fprintf(
        stderr,
        "the log holds more than fits into memory: these are the figures of a copy in which all of it is stored, but of shards "
        "in quarantine\n");
  }
  const StorageStats stats = store->Stats();
  Output out;
  if (flags.format == Format::kJson) {
    PrintJson(stats, &out);
  } else {
    PrintTable(stats, flags.format, &out);
  }
  if (Status s = out.Finish(); !s.ok()) return Fail(s);
  bool problems = stats.scrub.last_pass_problems > 0;
  for (const std::string& problem : stats.scrub.last_problems) PrintError("the last scrub found damage: " + problem);
  for (const ShardStats& shard : stats.shards) {
    if (shard.quarantine.empty()) continue;
    PrintError(shard.quarantine);
    problems = true;
  }
  return problems ? kExitProblems : kExitOk;
}

}  // namespace

void AddStat(CLI::App* app, Run* run) {
  auto flags = std::make_shared<StatFlags>();
  CLI::App* command = app->add_subcommand("stat", "Show what each shard holds: series, log positions, bytes");
  AddStoreFlags(command, &flags->store, true);
  flags->store.memory_limit = kToolMemoryBytes;
  AddMemoryLimit(command, &flags->store.memory_limit);
  AddFormat(command, &flags->format);
  command->footer("Example:\n  chronolith stat --db metrics.db --format json");
  command->callback([flags, run] { *run = [flags] { return Stat(*flags); }; });
}

}  // namespace chronolith::cli
