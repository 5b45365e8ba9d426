#include "ops/replay.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "ops/file_copy.h"
#include "ops/replay_shard.h"

namespace chronolith::ops {
namespace {

std::size_t ThreadsFor(const RecordTarget& target, const ReplayOptions& options, std::size_t shards) {
  if (target.sinks_move_together()) return shards;
  const std::size_t wanted = options.threads > 0 ? static_cast<std::size_t>(options.threads) : std::thread::hardware_concurrency();
  return std::clamp<std::size_t>(wanted, 1, std::max<std::size_t>(shards, 1));
}

class Replaying {
 public:
  Replaying(const OfflineStore& store, RecordTarget* target, const ReplayOptions& options, const OpsContext& context)
      : store_(store),
        target_(target),
        options_(options),
        context_(context),
        gate_(context, options.items_per_second),
        keeper_(target, options.cursor_path, options.cursor_interval, options.on_saved) {}

  Status Run(ReplayReport* report) {
    const auto start = std::chrono::steady_clock::now();
    std::uint64_t records = 0;
    for (const ShardId shard : options_.selection.ShardsOf(store_.shards())) {
      report->shards.push_back({.shard = shard});
      records += LogRecordsOf(store_, shard);
    }
    context_.Begin("replay", records, "records");
    gate_.FindFloor(store_, *target_);
    if (Status s = options_.dry_run ? keeper_.Look(store_, options_.selection) : keeper_.Open(store_, options_.selection); !s.ok())
      return s;
    const std::size_t threads = ThreadsFor(*target_, options_, report->shards.size());
    if (Status s = Prepare(report, threads); !s.ok()) {
      works_.clear();
      return s;
    }
    Work(threads);
    works_.clear();  // and their sinks
    Status s = keeper_.Save();
    report->interrupted = context_.Cancelled();
    if (s.ok() && !options_.dry_run && !report->interrupted && report->Failures().empty()) s = target_->Close();
    report->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return s;
  }

 private:
  Status Prepare(ReplayReport* report, std::size_t threads) {
    const std::uint64_t label_bytes = FreeBytes() / 2 / std::max<std::size_t>(threads, 1);
    target_->ExpectSinks(report->shards.size());
    for (ShardReplay& shard : report->shards) {
      auto sink = target_->NewSink(shard.shard);
      if (!sink.ok()) return sink.status();
      works_.push_back(std::make_unique<ShardReplayer>(store_, *target_, options_, context_, std::move(*sink), &gate_, &keeper_,
                                                       label_bytes, &shard));
    }
    return Status::Ok();
  }

  // What the target, and the log that is read, leave of the limit.
  std::uint64_t FreeBytes() const {
    const std::uint64_t limit = context_.memory_limit_bytes;
    const std::uint64_t taken = target_->memory_bytes() + store_.LogMemoryBytes();
    return std::max(limit - std::min(limit, taken), limit / 8);
  }

  void Work(std::size_t threads) {
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
      for (std::size_t i = next++; i < works_.size(); i = next++) works_[i]->Run();
    };
    std::vector<std::thread> others;
    for (std::size_t i = 1; i < threads; ++i) others.emplace_back(work);
    work();
    for (std::thread& thread : others) thread.join();
  }

  const OfflineStore& store_;
  RecordTarget* const target_;
  const ReplayOptions& options_;
  const OpsContext& context_;
  ReplayGate gate_;
  CursorKeeper keeper_;
  std::vector<std::unique_ptr<ShardReplayer>> works_;
};

template <typename Totals>
void AddTotals(const Totals& from, Totals* to) {
  for (auto field :
       {&Totals::rows, &Totals::bytes, &Totals::records, &Totals::series, &Totals::samples, &Totals::histograms, &Totals::exemplars,
        &Totals::metadata, &Totals::deletes, &Totals::removed, &Totals::left_out, &Totals::unlabelled, &Totals::removed_series}) {
    to->*field += from.*field;
  }
}

}  // namespace

ScanTotals ReplayReport::Read() const {
  ScanTotals sum;
  for (const ShardReplay& shard : shards) AddTotals(shard.read, &sum);
  return sum;
}

Delivered ReplayReport::Sum() const {
  Delivered sum;
  for (const ShardReplay& shard : shards) {
    sum.sent += shard.delivered.sent;
    sum.skipped += shard.delivered.skipped;
    sum.refused += shard.delivered.refused;
    for (const std::string& why : shard.delivered.reasons) sum.Refuse(0, why);
  }
  return sum;
}

std::vector<std::string> ReplayReport::Problems() const {
  std::vector<std::string> all;
  if (!source_problem.empty()) all.push_back(source_problem);
  for (const ShardReplay& shard : shards) {
    for (const std::string& problem : shard.problems) all.push_back("shard " + std::to_string(shard.shard) + ": " + problem);
  }
  return all;
}

std::vector<std::string> ReplayReport::Failures() const {
  std::vector<std::pair<std::string, std::string>> failed;  // why, and the shards: a target fails for many of them alike
  for (const ShardReplay& shard : shards) {
    if (shard.failure.ok()) continue;
    const auto same = std::find_if(failed.begin(), failed.end(), [&](const auto& f) { return f.first == shard.failure.message(); });
    if (same == failed.end()) {
      failed.emplace_back(shard.failure.message(), std::to_string(shard.shard));
    } else {
      same->second += ", " + std::to_string(shard.shard);
    }
  }
  std::vector<std::string> all;
  for (const auto& [why, in] : failed) all.push_back((in.find(',') == std::string::npos ? "shard " : "shards ") + in + ": " + why);
  return all;
}

Result<ReplayReport> Replay(const OfflineStore& store, RecordTarget* target, const ReplayOptions& options,
                            const OpsContext& context) {
  if (Status s = options.selection.Check(store.shards()); !s.ok()) return s;
  ReplayReport report;
  report.source_problem = WithoutData(store);
  if (Status s = Replaying(store, target, options, context).Run(&report); !s.ok()) return s;
  return report;
}

}  // namespace chronolith::ops
