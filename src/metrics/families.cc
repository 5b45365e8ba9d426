#include "metrics/families.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "metrics/family_parts.h"

namespace chronolith {
namespace {

using family_parts::AddHistogram;
using family_parts::AddValue;
using family_parts::Family;
using family_parts::MetricFamily;
using family_parts::MetricLabels;
using family_parts::MetricType;

MetricLabels ShardLabel(const ShardStats& shard) { return {{"shard", std::to_string(shard.shard)}}; }

MetricLabels WithShard(const ShardStats& shard, std::string name, std::string value) {
  return {{"shard", std::to_string(shard.shard)}, {std::move(name), std::move(value)}};
}

struct ShardValue {
  const char* name;
  const char* help;
  MetricType type;
  std::uint64_t ShardStats::*field;
};

constexpr auto kCounter = MetricType::Counter;
constexpr auto kGauge = MetricType::Gauge;

// clang-format off
constexpr ShardValue kShardValues[] = {
    {"chronolith_wal_last_lsn", "Newest record handed to the ring.", kGauge, &ShardStats::last_lsn},
    {"chronolith_wal_logged_lsn", "All records up to here survive the end of the process.", kGauge, &ShardStats::logged_lsn},
    {"chronolith_wal_synced_lsn", "All records up to here survive power loss.", kGauge, &ShardStats::synced_lsn},
    {"chronolith_wal_applied_lsn", "All records up to here are durable in the data instance.", kGauge, &ShardStats::applied_lsn},
    {"chronolith_wal_trimmed_lsn", "All records up to here are gone from the log.", kGauge, &ShardStats::trimmed_to},
    {"chronolith_wal_epoch", "Epoch of the shard: raised by each open.", kGauge, &ShardStats::epoch},
    {"chronolith_wal_records_total", "Records written to the log.", kCounter, &ShardStats::wal_records},
    {"chronolith_wal_written_bytes_total", "Encoded bytes written to the log.", kCounter, &ShardStats::wal_bytes},
    {"chronolith_wal_pinned_bytes", "Bytes in the log that are not trimmed yet.", kGauge, &ShardStats::wal_bytes_pinned},
    {"chronolith_wal_archived_bytes_total", "Log bytes that the archiver took.", kCounter, &ShardStats::wal_archived_bytes},
    {"chronolith_wal_archive_backlog_bytes", "Log bytes that are held only because the archiver has not taken them.", kGauge,
     &ShardStats::wal_archive_backlog_bytes},
    {"chronolith_wal_archive_gap_bytes_total", "Log bytes that were trimmed without having been archived.", kCounter,
     &ShardStats::wal_archive_gap_bytes},
    {"chronolith_wal_ring_queued_bytes", "Bytes in the ring between writers and committers.", kGauge, &ShardStats::ring_bytes_queued},
    {"chronolith_wal_ring_full_waits_total", "Writes that met a full ring.", kCounter, &ShardStats::ring_full_waits},
    {"chronolith_wal_groups_total", "Group commits that carried this shard.", kCounter, &ShardStats::groups},
    {"chronolith_wal_group_records_total", "Records in group commits: divided by the groups, the mean group size.", kCounter,
     &ShardStats::group_records},
    {"chronolith_wal_replayed_records", "Records replayed by the last open so far.", kGauge, &ShardStats::replayed_records},
    {"chronolith_wal_replayed_bytes", "Bytes replayed by the last open so far.", kGauge, &ShardStats::replayed_bytes},
    {"chronolith_wal_replay_expected_records", "Records that the last open has to replay in all.", kGauge,
     &ShardStats::replay_records_expected},
    {"chronolith_head_appended_samples_total", "Samples appended.", kCounter, &ShardStats::samples_appended},
    {"chronolith_head_out_of_order_samples_total", "Samples that were not newer than their series.", kCounter,
     &ShardStats::samples_out_of_order},
    {"chronolith_head_refused_samples_total", "Samples refused.", kCounter, &ShardStats::samples_refused},
    {"chronolith_head_resident_series", "Series with state in memory.", kGauge, &ShardStats::series_resident},
    {"chronolith_head_released_series_total", "Stored series that left memory because it was scarce.", kCounter,
     &ShardStats::series_released},
    {"chronolith_head_memory_bytes", "Memory of the head.", kGauge, &ShardStats::head_bytes},
    {"chronolith_index_series", "Series in the index.", kGauge, &ShardStats::series_total},
    {"chronolith_index_created_series_total", "Series created.", kCounter, &ShardStats::series_created},
    {"chronolith_index_removed_series_total", "Series removed because all their data had expired.", kCounter,
     &ShardStats::series_removed},
    {"chronolith_index_postings_cache_bytes", "Memory of the postings cache.", kGauge, &ShardStats::postings_cache_bytes},
    {"chronolith_block_written_rows_total", "Chunk rows written.", kCounter, &ShardStats::chunk_rows_written},
    {"chronolith_block_written_payload_bytes_total", "Payload bytes of the chunk rows written.", kCounter,
     &ShardStats::chunk_payload_bytes},
    {"chronolith_block_written_samples_total", "Samples in the chunk rows written.", kCounter, &ShardStats::chunk_samples},
};
// clang-format on

void AddShardValues(const StorageStats& stats, std::vector<MetricFamily>* out) {
  for (const ShardValue& value : kShardValues) {
    MetricFamily family = Family(value.name, value.help, value.type);
    family.metric.reserve(stats.shards.size());
    for (const ShardStats& shard : stats.shards) {
      AddValue(&family, ShardLabel(shard), static_cast<double>(shard.*value.field));
    }
    out->push_back(std::move(family));
  }
}

void AddReadiness(const StorageStats& stats, std::vector<MetricFamily>* out) {
  MetricFamily serving =
      Family("chronolith_storage_shard_serving", "0 while the log of the shard is still being replayed.", kGauge);
  MetricFamily left = Family("chronolith_wal_replay_left_seconds", "Until the shard is replayed, at the rate so far.", kGauge);
  for (const ShardStats& shard : stats.shards) {
    AddValue(&serving, ShardLabel(shard), shard.serving ? 1 : 0);
    AddValue(&left, ShardLabel(shard), shard.replay_seconds_left);
  }
  out->push_back(std::move(serving));
  out->push_back(std::move(left));
}

void AddQuarantine(const StorageStats& stats, std::vector<MetricFamily>* out) {
  MetricFamily family = Family("chronolith_storage_shard_quarantined",
                               "1 while a shard is left alone because its files are damaged; see the log of the store.", kGauge);
  for (const ShardStats& shard : stats.shards) AddValue(&family, ShardLabel(shard), shard.quarantine.empty() ? 0 : 1);
  out->push_back(std::move(family));
}

void AddLosses(const StorageStats& stats, std::vector<MetricFamily>* out) {
  MetricFamily lost =
      Family("chronolith_wal_lost_records", "Records of the log that the last open gave up (accept_data_loss).", kGauge);
  MetricFamily uncertain =
      Family("chronolith_wal_loss_uncertain", "1 where more may be lost than the log tells: its end is missing.", kGauge);
  MetricFamily dropped = Family("chronolith_wal_dropped_items",
                                "Samples, exemplars and metadata dropped because the record of their series is lost.", kGauge);
  for (const ShardStats& shard : stats.shards) {
    const auto of = [&](const ShardLoss& loss) { return loss.shard == shard.shard; };
    const auto it = std::find_if(stats.losses.begin(), stats.losses.end(), of);
    const ShardLoss loss = it != stats.losses.end() ? *it : ShardLoss{};
    double records = 0;
    for (const ShardLoss::Range& range : loss.lost) records += static_cast<double>(range.last - range.first + 1);
    AddValue(&lost, ShardLabel(shard), records);
    AddValue(&uncertain, ShardLabel(shard), loss.uncertain_from != 0 ? 1 : 0);
    AddValue(&dropped, ShardLabel(shard), static_cast<double>(loss.dropped_samples + loss.dropped_items));
  }
  out->push_back(std::move(lost));
  out->push_back(std::move(uncertain));
  out->push_back(std::move(dropped));
}

void AddShardLatencies(const StorageStats& stats, std::vector<MetricFamily>* out) {
  static constexpr std::array<const char*, 3> kLevels = {"queued", "logged", "synced"};
  MetricFamily cache = Family("chronolith_index_postings_cache_requests_total", "Look-ups in the postings cache.", kCounter);
  MetricFamily labels =
      Family("chronolith_index_labels_cache_requests_total", "Look-ups of series labels in the postings cache.", kCounter);
  MetricFamily write =
      Family("chronolith_wal_write_latency_seconds", "Time of a write until it reached its level.", MetricType::Histogram);
  MetricFamily index = Family("chronolith_index_latency_seconds", "Time of an index operation.", MetricType::Histogram);
  for (const ShardStats& shard : stats.shards) {
    AddValue(&cache, WithShard(shard, "result", "hit"), static_cast<double>(shard.postings_cache_hits));
    AddValue(&cache, WithShard(shard, "result", "miss"), static_cast<double>(shard.postings_cache_misses));
    AddValue(&labels, WithShard(shard, "result", "hit"), static_cast<double>(shard.labels_cache_hits));
    AddValue(&labels, WithShard(shard, "result", "miss"), static_cast<double>(shard.labels_cache_misses));
    for (std::size_t level = 0; level < kLevels.size(); ++level) {
      AddHistogram(&write, WithShard(shard, "level", kLevels[level]), shard.write_latency[level]);
    }
    AddHistogram(&index, WithShard(shard, "operation", "read"), shard.index_read_latency);
    AddHistogram(&index, WithShard(shard, "operation", "write"), shard.index_write_latency);
  }
  out->push_back(std::move(cache));
  out->push_back(std::move(labels));
  out->push_back(std::move(write));
  out->push_back(std::move(index));
}

// "index_read" belongs to the layer index and is its lock "read"; a name without a layer before it belongs to the write path.
std::pair<std::string_view, std::string_view> LayerAndLock(std::string_view name) {
  static constexpr std::string_view kLayers[] = {"wal", "head", "index", "block", "query", "storage"};
  for (std::string_view layer : kLayers) {
    if (name.size() > layer.size() + 1 && name.starts_with(layer) && name[layer.size()] == '_') {
      return {layer, name.substr(layer.size() + 1)};
    }
  }
  return {"wal", name};
}

void AddLocks(const StorageStats& stats, std::vector<MetricFamily>* out) {
  struct Families {
    MetricFamily acquisitions, wait;
  };
  std::map<std::string_view, Families> by_layer;
  for (const ShardStats& shard : stats.shards) {
    for (const LockStats& lock : shard.locks) {
      const auto [layer, name] = LayerAndLock(lock.name);
      const auto [at, is_new] = by_layer.try_emplace(layer);
      Families& families = at->second;
      if (is_new) {
        const std::string prefix = "chronolith_" + std::string(layer) + "_lock_";
        families.acquisitions = Family(prefix + "acquisitions_total", "Acquisitions of a lock.", kCounter);
        families.wait =
            Family(prefix + "wait_seconds", "Waiting time of the acquisitions that had to wait.", MetricType::Histogram);
      }
      AddValue(&families.acquisitions, WithShard(shard, "lock", std::string(name)), static_cast<double>(lock.acquisitions));
      AddHistogram(&families.wait, WithShard(shard, "lock", std::string(name)), lock.wait);
    }
  }
  for (auto& [layer, families] : by_layer) {
    out->push_back(std::move(families.acquisitions));
    out->push_back(std::move(families.wait));
  }
}

void AddStorage(const StorageStats& stats, std::vector<MetricFamily>* out) {
  const auto value = [out](const char* name, const char* help, MetricType type, double v) {
    MetricFamily family = Family(name, help, type);
    AddValue(&family, {}, v);
    out->push_back(std::move(family));
  };
  const auto histogram = [out](const char* name, const char* help, const DurationHistogram& h) {
    MetricFamily family = Family(name, help, MetricType::Histogram);
    AddHistogram(&family, {}, h);
    out->push_back(std::move(family));
  };
  histogram("chronolith_wal_group_write_seconds", "Time of one group commit in the log engine.", stats.group_write_latency);
  histogram("chronolith_wal_sync_seconds", "Time of one sync of the log.", stats.sync_latency);
  histogram("chronolith_storage_checkpoint_seconds", "Time of one checkpoint.", stats.checkpoint_duration);
  histogram("chronolith_query_select_seconds", "Time of one Select, without reading its samples.", stats.select_latency);
  value("chronolith_storage_checkpoints_total", "Checkpoints finished.", kCounter, static_cast<double>(stats.checkpoints));
  value("chronolith_storage_compacted_windows_total", "Windows of single shards that were compacted in the background.", kCounter,
        static_cast<double>(stats.compacted_windows));
  value("chronolith_storage_last_checkpoint_timestamp_seconds", "Time of the last checkpoint since the open; 0 before the first.",
        kGauge, static_cast<double>(stats.last_checkpoint_ms) / 1000);
  value("chronolith_wal_unsynced_bytes", "Logged bytes that a power loss would take.", kGauge,
        static_cast<double>(stats.unsynced_bytes));
  value("chronolith_wal_unsynced_age_seconds", "Age of the oldest logged byte that a power loss would take.", kGauge,
        static_cast<double>(stats.unsynced_age_ms) / 1000);
  value("chronolith_wal_stalled_groups_total", "Group commits that had to wait for room in the engine.", kCounter,
        static_cast<double>(stats.stalled_groups));
  value("chronolith_wal_failed", "1 while the log has failed and writes are refused.", kGauge, stats.log_failed ? 1 : 0);
  value("chronolith_storage_memory_used_bytes", "Memory counted against the budget.", kGauge,
        static_cast<double>(stats.memory_used_bytes));
  value("chronolith_storage_memory_limit_bytes", "The memory budget.", kGauge, static_cast<double>(stats.memory_limit_bytes));
  value("chronolith_storage_replay_seconds", "Time that the last open spent replaying the log.", kGauge, stats.replay_seconds);
  value("chronolith_storage_replay_checkpoints", "Shards stored by the last open because replay had outgrown its memory.", kGauge,
        static_cast<double>(stats.replay_checkpoints));
  MetricFamily build = Family("chronolith_build_info", "Version and engine, as labels; the value is 1.", kGauge);
  AddValue(&build, {{"version", stats.version}, {"engine", stats.engine}}, 1);
  out->push_back(std::move(build));
}

void AddScrub(const StorageStats& stats, std::vector<MetricFamily>* out) {
  const auto value = [out](const char* name, const char* help, MetricType type, double v) {
    MetricFamily family = Family(name, help, type);
    AddValue(&family, {}, v);
    out->push_back(std::move(family));
  };
  const ScrubStats& scrub = stats.scrub;
  value("chronolith_scrub_bytes_total", "Bytes of files and rows that scrubs have checked.", kCounter,
        static_cast<double>(scrub.bytes));
  value("chronolith_scrub_rows_total", "Rows that scrubs have checked.", kCounter, static_cast<double>(scrub.rows));
  value("chronolith_scrub_running", "1 while a pass of a scrub goes on.", kGauge, scrub.running ? 1 : 0);
  value("chronolith_scrub_progress_ratio", "How far the pass has come that goes on or was stopped; 0: there is none.", kGauge,
        scrub.progress);
  value("chronolith_scrub_last_full_pass_timestamp_seconds", "Time of the end of the last complete pass; 0 before the first.",
        kGauge, static_cast<double>(scrub.last_full_pass_ms) / 1000);
  value("chronolith_scrub_last_pass_duration_seconds", "How long the last complete pass took.", kGauge, scrub.last_pass_seconds);
  value("chronolith_scrub_last_pass_problems", "Damaged files and rows that the last complete pass found.", kGauge,
        static_cast<double>(scrub.last_pass_problems));
  MetricFamily errors = Family("chronolith_scrub_errors_total",
                               "Damaged files and rows that scrubs found, each once; \"all\": of what all shards share.", kCounter);
  for (const ShardStats& shard : stats.shards) AddValue(&errors, ShardLabel(shard), static_cast<double>(shard.scrub_errors));
  AddValue(&errors, {{"shard", "all"}}, static_cast<double>(scrub.shared_errors));
  out->push_back(std::move(errors));
}

struct EngineValue {
  const char* name;
  const char* help;
  MetricType type;
  double (*get)(const EngineStats&);
};

// clang-format off
constexpr EngineValue kEngineValues[] = {
    {"chronolith_engine_log_bytes", "Bytes of the engine's own log files, pinned ones included.", kGauge,
     [](const EngineStats& e) { return static_cast<double>(e.log_bytes); }},
    {"chronolith_engine_log_files", "Number of the engine's own log files.", kGauge,
     [](const EngineStats& e) { return static_cast<double>(e.log_files); }},
    {"chronolith_engine_block_cache_bytes", "Memory of the block cache.", kGauge,
     [](const EngineStats& e) { return static_cast<double>(e.block_cache_bytes); }},
    {"chronolith_engine_table_reader_bytes", "Memory of index and filter blocks outside the cache.", kGauge,
     [](const EngineStats& e) { return static_cast<double>(e.table_reader_bytes); }},
    {"chronolith_engine_write_stalls_total", "Times the engine slowed or stopped writers.", kCounter,
     [](const EngineStats& e) { return static_cast<double>(e.write_stalls); }},
    {"chronolith_engine_background_errors_total", "Errors of the engine's background work.", kCounter,
     [](const EngineStats& e) { return static_cast<double>(e.background_errors); }},
    {"chronolith_engine_writes_stopped", "1 while the engine stops writers.", kGauge,
     [](const EngineStats& e) { return e.writes_stopped ? 1.0 : 0.0; }},
};

struct FamilyValue {
  const char* name;
  const char* help;
  std::uint64_t FamilyStats::* field;
};

constexpr FamilyValue kFamilyValues[] = {
    {"chronolith_engine_family_buffered_bytes", "Bytes of a family that are not flushed yet.", &FamilyStats::buffered_bytes},
    {"chronolith_engine_family_file_bytes", "Bytes of a family's files.", &FamilyStats::file_bytes},
    {"chronolith_engine_family_files", "Number of a family's files.", &FamilyStats::file_count},
    {"chronolith_engine_family_oldest_log", "Number of the oldest log file that a family pins; 0: none.",
     &FamilyStats::oldest_log_number},
};
// clang-format on

void AddEngines(const StorageStats& stats, std::vector<MetricFamily>* out) {
  const std::pair<const char*, const EngineStats*> engines[] = {{"log", &stats.log_engine}, {"data", &stats.data_engine}};
  for (const EngineValue& value : kEngineValues) {
    MetricFamily family = Family(value.name, value.help, value.type);
    for (const auto& [instance, engine] : engines) AddValue(&family, {{"instance", instance}}, value.get(*engine));
    out->push_back(std::move(family));
  }
  MetricFamily damaged = Family("chronolith_engine_family_damaged",
                                "1 where files of a family are damaged, found at open or by a compaction since.", kGauge);
  for (const auto& [instance, engine] : engines) {
    for (const FamilyStats& f : engine->families) {
      AddValue(&damaged, {{"instance", instance}, {"family", f.name}}, f.damage.empty() ? 0 : 1);
    }
  }
  out->push_back(std::move(damaged));
  for (const FamilyValue& value : kFamilyValues) {
    MetricFamily family = Family(value.name, value.help, kGauge);
    for (const auto& [instance, engine] : engines) {
      for (const FamilyStats& f : engine->families) {
        AddValue(&family, {{"instance", instance}, {"family", f.name}}, static_cast<double>(f.*value.field));
      }
    }
    out->push_back(std::move(family));
  }
}

}  // namespace

std::vector<MetricFamily> FamiliesOf(const StorageStats& stats) {
  std::vector<MetricFamily> families;
  AddShardValues(stats, &families);
  AddReadiness(stats, &families);
  AddQuarantine(stats, &families);
  AddLosses(stats, &families);
  AddShardLatencies(stats, &families);
  AddLocks(stats, &families);
  AddStorage(stats, &families);
  AddScrub(stats, &families);
  AddEngines(stats, &families);
  return families;
}

}  // namespace chronolith
