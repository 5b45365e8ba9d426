// A store whose log the tests of replay know, and a target that remembers what it was sent.
#ifndef CHRONOLITH_TESTS_OPS_REPLAY_STORE_H_
#define CHRONOLITH_TESTS_OPS_REPLAY_STORE_H_

#include <gmock/gmock.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "chronolith/storage.h"
#include "ops/offline_store.h"
#include "ops/record_sink.h"
#include "tests/support/temp_directory.h"

namespace chronolith::ops {

// What came for one series, in order: "s 1000 1.5", "h 1000", "e 1000", "m help", "d 0 1000".
using Heard = std::map<std::string, std::vector<std::string>>;

class CollectingTarget : public RecordTarget {
 public:
  std::string name() const override { return "collecting"; }
  bool applies_deletes() const override { return deletes; }
  Status Open(std::string_view position) override {
    opened_at = position;
    return Status::Ok();
  }
  Result<std::unique_ptr<RecordSink>> NewSink(ShardId shard) override {
    return std::unique_ptr<RecordSink>(std::make_unique<Sink>(this, shard));
  }
  Status Sync(std::string* position) override {
    *position = std::to_string(++syncs);
    return Status::Ok();
  }
  Status Close() override {
    closed = true;
    return Status::Ok();
  }

  bool deletes = true;
  std::function<Status(const RecordPlace&)> on_samples;  // may be empty
  std::function<void()> on_flush;                        // may be empty
  std::string opened_at = "never";
  bool closed = false;
  int syncs = 0;
  int forgets = 0;
  Heard heard;  // only what was flushed
  std::map<ShardId, std::vector<Lsn>> lsns;
  std::mutex mu;

 private:
  class Sink : public RecordSink {
   public:
    Sink(CollectingTarget* target, ShardId shard) : target_(target), shard_(shard) {}
    Status OnSeries(const RecordPlace&, std::span<const SeriesEntry> series) override {
      for (const SeriesEntry& s : series) labels_[s.ordinal] = s.labels->ToString();
      return Status::Ok();
    }
    void OnForgetSeries() override {
      labels_.clear();
      const std::lock_guard lock(target_->mu);
      ++target_->forgets;
    }
    Status OnSamples(const RecordPlace& place, std::span<const SampleEntry> samples) override {
      if (target_->on_samples) {
        if (Status s = target_->on_samples(place); !s.ok()) return s;
      }
      for (const SampleEntry& s : samples)
        Hear(place, s.ordinal, "s " + std::to_string(s.timestamp) + " " + std::to_string(s.value));
      return Status::Ok();
    }
    Status OnHistograms(const RecordPlace& place, std::span<const HistogramEntry> histograms) override {
      for (const HistogramEntry& h : histograms) Hear(place, h.ordinal, "h " + std::to_string(h.sample->timestamp));
      return Status::Ok();
    }
    Status OnExemplars(const RecordPlace& place, std::span<const ExemplarEntry> exemplars) override {
      for (const ExemplarEntry& e : exemplars) Hear(place, e.ordinal, "e " + std::to_string(e.exemplar->timestamp));
      return Status::Ok();
    }
    Status OnMetadata(const RecordPlace& place, std::span<const MetadataEntry> metadata) override {
      for (const MetadataEntry& m : metadata) Hear(place, m.ordinal, "m " + m.metadata->help);
      return Status::Ok();
    }
    Status OnDelete(const RecordPlace& place, TimeRange range, std::span<const SeriesEntry> series) override {
      for (const SeriesEntry& s : series) {
        const std::lock_guard lock(target_->mu);
        batch_[s.labels->ToString()].push_back("d " + std::to_string(range.start) + " " + std::to_string(range.end));
      }
      lsns_.push_back(place.lsn);
      return Status::Ok();
    }
    Status Flush(Delivered* delivered) override {
      if (target_->on_flush) target_->on_flush();
      const std::lock_guard lock(target_->mu);
      for (auto& [series, items] : batch_) {
        delivered->sent += items.size();
        auto& all = target_->heard[series];
        all.insert(all.end(), items.begin(), items.end());
      }
      auto& all = target_->lsns[shard_];
      all.insert(all.end(), lsns_.begin(), lsns_.end());
      batch_.clear();
      lsns_.clear();
      return Status::Ok();
    }

   private:
    void Hear(const RecordPlace& place, Ordinal ordinal, std::string what) {
      ASSERT_TRUE(labels_.contains(ordinal)) << "series " << ordinal << " was not told";
      EXPECT_EQ(place.shard, shard_);
      batch_[labels_[ordinal]].push_back(std::move(what));
      if (lsns_.empty() || lsns_.back() != place.lsn) lsns_.push_back(place.lsn);
    }
    CollectingTarget* const target_;
    const ShardId shard_;
    std::map<Ordinal, std::string> labels_;
    Heard batch_;
    std::vector<Lsn> lsns_;
  };
};

class ReplayTest : public ::testing::Test {
 protected:
  static constexpr int kSeries = 40;
  static constexpr int kShards = 4;

  static Labels SeriesLabels(int i) { return {{"__name__", "m"}, {"i", std::to_string(i)}, {"mod", std::to_string(i % 4)}}; }

  // The log of a store starts anew with each; `Done` closes it.
  Storage* Writer() {
    if (writer_ == nullptr) {
      Options options;
      options.shards = kShards;
      options.scrub_interval_ms = 0;
      options.background_compaction = false;
      writer_ = Storage::Open(options, path()).value();
    }
    return writer_.get();
  }
  void Done() {
    ASSERT_EQ(writer_->Close(), Status::Ok());
    writer_.reset();
  }
  std::string path() const { return dir_ / "db"; }

  void Write(const TimeSeries& series) {
    ASSERT_EQ(Writer()->Write(series).status, Status::Ok());
    auto& heard = written_[series.labels.ToString()];
    for (const Sample& s : series.samples) heard.push_back("s " + std::to_string(s.timestamp) + " " + std::to_string(s.value));
    for (const HistogramSample& h : series.histograms) heard.push_back("h " + std::to_string(h.timestamp));
    for (const Exemplar& e : series.exemplars) heard.push_back("e " + std::to_string(e.timestamp));
    for (const Metadata& m : series.metadata) heard.push_back("m " + m.help);
  }
  // Sample `t` of each series, in one write of all of them.
  void WriteRound(Timestamp t) {
    std::vector<TimeSeries> all;
    for (int i = 0; i < kSeries; ++i) {
      all.push_back({.labels = SeriesLabels(i), .samples = {{t, static_cast<double>(i)}}});
      written_[all.back().labels.ToString()].push_back("s " + std::to_string(t) + " " + std::to_string(static_cast<double>(i)));
    }
    ASSERT_EQ(Writer()->Write(all).status, Status::Ok());
  }

  std::unique_ptr<OfflineStore> Offline() { return OfflineStore::Open(path(), {.quarantine = true}).value(); }

  testing_support::TempDirectory dir_;
  std::unique_ptr<Storage> writer_;
  Heard written_;  // since the log began
  OpsContext context_;
};

}  // namespace chronolith::ops

#endif  // CHRONOLITH_TESTS_OPS_REPLAY_STORE_H_
