#include "server/page/page_warnings.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>

namespace chronolith::server {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
// A store refuses writes where a sixteenth of a disk is free, or less on a large one (Options::checkpoint_bytes): the warning comes
// before.
constexpr std::uint64_t kDiskFraction = 10;
constexpr std::uint64_t kDiskEnough = 8ULL << 30;
constexpr std::uint64_t kBacklogBytes = 128 * kMiB;
constexpr std::int64_t kUnsyncedMs = 10'000;
constexpr std::int64_t kCheckpointMs = 30 * 60'000;
constexpr double kMemoryShare = 0.9;
constexpr std::size_t kQuoted = 3;  // reasons and shards that are spelled out

std::string Bytes(std::uint64_t n) {
  static constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(n);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), value < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", value, kUnits[unit]);
  return text;
}

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), value < 10 ? "%.1f" : "%.0f", value);
  return text;
}

std::string Seconds(double seconds) {
  if (seconds < 120) return Number(seconds) + " s";
  return seconds < 7200 ? Number(seconds / 60) + " min" : Number(seconds / 3600) + " h";
}

// Collects; keeps the critical ones apart, so that they come first.
class Warnings {
 public:
  void Critical(std::string text, std::string advice) { critical_.push_back({true, std::move(text), std::move(advice)}); }
  void Warn(std::string text, std::string advice) { others_.push_back({false, std::move(text), std::move(advice)}); }
  std::vector<PageWarning> All() && {
    critical_.insert(critical_.end(), others_.begin(), others_.end());
    return std::move(critical_);
  }

 private:
  std::vector<PageWarning> critical_, others_;
};

// The store's word on the shard (ShardStats::quarantine) names it, says what is damaged, and then what to do.
void AddQuarantine(const ShardStats& shard, Warnings* out) {
  constexpr std::string_view kServe = "the other shards serve: ";
  constexpr std::string_view kThen = "; nothing of it is changed. ";
  std::string_view why = shard.quarantine;
  std::string_view then = "Put the file back from a backup, or restore.";
  if (const std::size_t at = why.find(kServe); at != std::string_view::npos) why.remove_prefix(at + kServe.size());
  if (const std::size_t at = why.find(kThen); at != std::string_view::npos) {
    then = why.substr(at + kThen.size());
    why = why.substr(0, at);
  }
  out->Critical("Shard " + std::to_string(shard.shard) + " is quarantined: " + std::string(why),
                "Its series are neither read nor written; the other shards go on, and its log is kept. " + std::string(then));
}

void AddShards(const StorageStats& stats, Warnings* out) {
  std::size_t quarantined = 0, replaying = 0;
  double left = 0;
  for (const ShardStats& shard : stats.shards) {
    if (!shard.quarantine.empty()) {
      if (++quarantined <= kQuoted) AddQuarantine(shard, out);
    } else if (!shard.serving) {
      ++replaying;
      left = std::max(left, shard.replay_seconds_left);
    }
    if (!shard.scrub_damage.empty()) {
      out->Critical("A scrub found damage in shard " + std::to_string(shard.shard) + ": " + shard.scrub_damage,
                    "chronolith verify lists all of it. Do not trust the disk before you have looked at it.");
    }
  }
  if (quarantined > kQuoted) {
    out->Critical(std::to_string(quarantined - kQuoted) + " more shards are quarantined.", "The table of the shards names them.");
  }
  if (replaying > 0) {
    out->Warn(std::to_string(replaying) + " of " + std::to_string(stats.shards.size()) + " shards are still replaying the log" +
                  (left > 0 ? ", for about " + Seconds(left) + " more." : "."),
              "What needs them waits, or is refused.");
  }
}

void AddDisks(const std::vector<DiskState>& disks, Warnings* out) {
  for (const DiskState& disk : disks) {
    if (disk.free_bytes >= std::min(disk.total_bytes / kDiskFraction, kDiskEnough)) continue;
    out->Warn(
        "The disk of " + disk.directory + " is nearly full: " + Bytes(disk.free_bytes) + " of " + Bytes(disk.total_bytes) +
            " are free.",
        "Before it is full, writes are refused; they go on by themselves once there is room. Other files, compact and retention "
        "give room back.");
  }
}

void AddLog(const StorageStats& stats, std::int64_t now_ms, Warnings* out) {
  std::uint64_t backlog = 0, gap = 0, behind = 0;
  for (const ShardStats& shard : stats.shards) {
    backlog += shard.wal_archive_backlog_bytes;
    gap += shard.wal_archive_gap_bytes;
    if (shard.quarantine.empty() && shard.serving && shard.last_lsn > shard.applied_lsn)
      behind += shard.last_lsn - shard.applied_lsn;
  }
  if (gap > 0) {
    out->Critical("The archive of the log has a gap of " + Bytes(gap) + ": they were trimmed before it took them.",
                  "No restore to a moment behind the gap is possible until a new backup was made.");
  }
  if (backlog > kBacklogBytes) {
    out->Warn("The archive of the log is " + Bytes(backlog) + " behind.",
              "The log is kept for it, up to its limit. Look at the archive's disk.");
  }
  if (stats.unsynced_age_ms > kUnsyncedMs) {
    out->Warn("The log was not synced for " + Seconds(static_cast<double>(stats.unsynced_age_ms) / 1000) + ".",
              "A power loss would take the last " + Bytes(stats.unsynced_bytes) + ". The disk is too slow, or hangs.");
  }
  if (behind > 0 && stats.last_checkpoint_ms > 0 && now_ms - stats.last_checkpoint_ms > kCheckpointMs) {
    out->Warn("The last checkpoint was " + Seconds(static_cast<double>(now_ms - stats.last_checkpoint_ms) / 1000) + " ago.",
              "Until the next one the log grows, and a start takes longer. A full or failing disk holds checkpoints up.");
  }
}

}  // namespace

std::vector<DiskState> DisksOf(const std::vector<std::string>& directories) {
  std::vector<DiskState> disks;
  for (const std::string& directory : directories) {
    struct statvfs disk;
    if (statvfs(directory.c_str(), &disk) != 0 || disk.f_blocks == 0) continue;
    disks.push_back({directory, disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize});
  }
  return disks;
}

std::vector<PageWarning> WarningsOf(const StorageStats& stats, const std::vector<DiskState>& disks, double refused_per_second,
                                    std::int64_t now_ms) {
  Warnings out;
  if (stats.log_failed) {
    out.Critical("The log has failed: all writes are refused.",
                 "The disk refused a write or a sync. What was acknowledged as synced is safe. The server opens the log again as soon as "
                 "the disk takes writes; look at the disk.");
  }
  if (stats.log_engine.writes_stopped || stats.data_engine.writes_stopped) {
    out.Critical("The engine has stopped its writers.", "The disk is full, failing, or much too slow for what is written.");
  }
  AddShards(stats, &out);
  if (stats.scrub.shared_errors > 0) {
    out.Critical("A scrub found damage in files that all shards share.",
                 "chronolith verify lists it. Make a backup of what is sound now.");
  }
  AddDisks(disks, &out);
  AddLog(stats, now_ms, &out);
  for (const ShardLoss& loss : stats.losses) {
    std::uint64_t records = 0;
    for (const ShardLoss::Range& range : loss.lost) records += range.last - range.first + 1;
    out.Warn("Shard " + std::to_string(loss.shard) + " was opened without " + std::to_string(records) + " records of its log" +
                 (loss.uncertain_from != 0 ? ", perhaps more." : "."),
             "Somebody accepted that loss. A backup with its archive may have them.");
  }
  if (stats.memory_limit_bytes > 0 &&
      static_cast<double>(stats.memory_used_bytes) > kMemoryShare * static_cast<double>(stats.memory_limit_bytes)) {
    out.Warn("Memory: " + Bytes(stats.memory_used_bytes) + " of " + Bytes(stats.memory_limit_bytes) + " are in use.",
             "Beyond the limit writes are refused. Fewer series, or a larger budget, help.");
  }
  if (refused_per_second > 0) {
    out.Warn(Number(refused_per_second) + " items a second are refused.",
             "The answers to their senders say why, and name some of them.");
  }
  return std::move(out).All();
}

}  // namespace chronolith::server
