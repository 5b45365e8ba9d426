// The fixture of the tests that damage stored files of one shard, as a bad disk would.
#ifndef CHRONOLITH_TESTS_STORAGE_QUARANTINE_FIXTURE_H_
#define CHRONOLITH_TESTS_STORAGE_QUARANTINE_FIXTURE_H_

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <set>

#include "tests/storage/store_fixture.h"
#include "tests/support/files.h"

namespace chronolith {

namespace fs = std::filesystem;
using testing::HasSubstr;

inline constexpr Timestamp kT = 1'700'000'000'000;
inline constexpr int kSeries = 40;

inline Labels Numbered(int i) { return {{"__name__", "n"}, {"i", std::to_string(i)}}; }

// What one shard holds, and what the others do.
class QuarantineTest : public testing::Test {
 protected:
  // Every series has samples that a checkpoint has stored, then some that are only in the log.
  void Fill(int samples = 3) {
    store_.Open();
    Write(samples);
    store_.Checkpoint();
    Write(2);
    Write(1, AckLevel::kSynced);
    auto appender = store_->NewAppender();
    for (int i = 0; i < kSeries; ++i) shards_[i] = static_cast<std::uint32_t>(appender->Ref(Numbered(i)).value().id >> 32) - 1;
    appender.reset();
    EXPECT_EQ(store_.Read(), contents_);
    store_.Close();
  }
  void Write(int samples, AckLevel level = AckLevel::kLogged) {
    for (int i = 0; i < kSeries; ++i) {
      std::vector<Sample> some;
      for (int s = 0; s < samples; ++s) {
        some.push_back({t_ + s, std::bit_cast<double>((rng_() >> 12) | 0x3ff0000000000000ULL)});
        contents_[Numbered(i).ToString()][t_ + s] = Shown(some.back().value);
      }
      store_.Write(Numbered(i), std::move(some), level);
    }
    t_ += samples;
  }
  // The table files of a family, the largest first: RocksDB writes its name, uncompressed, into each of them. (The engine's rows of
  // epochs have it too.)
  std::vector<std::string> FilesOf(const std::string& family) const {
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(store_.path() + "/data")) {
      if (entry.path().extension() != ".sst") continue;
      const std::string bytes = ReadFile(entry.path());
      if (bytes.find(family) != std::string::npos && bytes.find("epoch/") == std::string::npos) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return fs::file_size(a) > fs::file_size(b); });
    return files;
  }
  std::string FileOf(const std::string& family) const {
    const std::vector<std::string> files = FilesOf(family);
    EXPECT_FALSE(files.empty()) << family;
    return files.empty() ? "" : files.front();
  }
  Contents Without(std::uint32_t shard) const {
    Contents others;
    for (int i = 0; i < kSeries; ++i) {
      const auto it = contents_.find(Numbered(i).ToString());
      if (shards_.at(i) != shard && it != contents_.end()) others.insert(*it);
    }
    return others;
  }
  // What can be read of a damaged store.
  Contents ReadPartly() {
    Contents contents;
    auto set = store_->Select({}, {}, {.skip_damaged = true});
    EXPECT_TRUE(set.ok()) << set.status().ToString();
    while (set.ok() && (*set)->Next()) {
      Points& points = contents[(*set)->labels().ToString()];
      SampleIterator& samples = (*set)->samples();
      while (samples.Next() != ValueType::kNone) points[samples.timestamp()] = Shown(samples.value());
    }
    EXPECT_TRUE((*set)->status().ok()) << (*set)->status().ToString();
    EXPECT_TRUE((*set)->partial());
    return contents;
  }
  // One new sample for each series: exactly those of the shard are refused.
  void WriteAroundShard(std::uint32_t shard) {
    std::vector<TimeSeries> batch;
    for (int i = 0; i < kSeries; ++i) {
      batch.push_back(MakeSeries(Numbered(i), {{t_, static_cast<double>(i)}}));
      if (shards_.at(i) != shard) contents_[Numbered(i).ToString()][t_] = Shown(static_cast<double>(i));
    }
    ++t_;
    const WriteResult result = store_->Write(batch);
    std::set<std::size_t> refused;
    for (const Refusal& r : result.refused) {
      EXPECT_TRUE(refused.insert(r.series).second);
      EXPECT_EQ(r.reason.code(), StatusCode::kDataLoss);
      EXPECT_THAT(r.reason.message(), HasSubstr("shard " + std::to_string(shard)));
    }
    for (int i = 0; i < kSeries; ++i) EXPECT_EQ(refused.contains(static_cast<std::size_t>(i)), shards_.at(i) == shard) << i;
    EXPECT_EQ(result.accepted, kSeries - refused.size());
    EXPECT_EQ(result.status.code(), refused.empty() ? StatusCode::kOk : StatusCode::kDataLoss);
  }
  int OneOf(std::uint32_t shard) const {
    for (const auto& [i, of] : shards_) {
      if (of == shard) return i;
    }
    ADD_FAILURE() << "no series in shard " << shard;
    return 0;
  }
  // Every way to ask that needs the shard says so.
  void ExpectRefusals(std::uint32_t shard, const std::string& file) {
    const auto refused = [&](const Status& s, const char* what) {
      EXPECT_EQ(s.code(), StatusCode::kDataLoss) << what << ": " << s.ToString();
      EXPECT_THAT(s.message(), HasSubstr("shard " + std::to_string(shard) + " is quarantined")) << what;
      EXPECT_THAT(s.message(), HasSubstr(file)) << what;
      EXPECT_THAT(s.message(), HasSubstr("restore from a snapshot")) << what;
    };
    const Labels in = Numbered(OneOf(shard));
    const Labels out = Numbered(OneOf((shard + 1) % 4));
    const std::vector<Matcher> one = {Matcher::Equal("i", "1")};
    refused(store_->Select({}, {}).status(), "Select");
    refused(store_->Series({}).status(), "Series");
    refused(store_->Series(one).status(), "Series of one");
    refused(store_->LabelNames({}).status(), "LabelNames");
    refused(store_->LabelValues("i", {}).status(), "LabelValues");
    refused(store_->LabelValues("i", one).status(), "LabelValues of one");
    refused(store_->SeriesIds({}).status(), "SeriesIds");
    refused(store_->Exemplars(in, {}).status(), "Exemplars");
    refused(store_->SeriesMetadata(in).status(), "SeriesMetadata");
    refused(store_->Delete(one, {}).status, "Delete");
    refused(store_->Snapshot(store_.directory() / "copy"), "Snapshot");
    refused(store_->ReachedLsn(shard, AckLevel::kLogged).status(), "ReachedLsn");
    refused(store_->NewAppender()->Ref(in).status(), "Ref");
    EXPECT_FALSE(fs::exists(store_.directory() / "copy"));
    EXPECT_TRUE(store_->Exemplars(out, {}).ok());
    EXPECT_TRUE(store_->SeriesMetadata(out).ok());
    EXPECT_TRUE(store_->NewAppender()->Ref(out).ok());

    const LookupOptions skip{.skip_damaged = true};
    const std::size_t others = Without(shard).size();
    const auto series = store_->Series({}, skip);
    ASSERT_TRUE(series.ok()) << series.status().ToString();
    EXPECT_EQ(series->values.size(), others);
    EXPECT_TRUE(series->partial);
    const auto values = store_->LabelValues("i", {}, skip);
    ASSERT_TRUE(values.ok()) << values.status().ToString();
    EXPECT_EQ(values->values.size(), others);
    EXPECT_TRUE(values->partial);
    const auto names = store_->LabelNames({}, skip);
    ASSERT_TRUE(names.ok()) << names.status().ToString();
    EXPECT_EQ(names->values, (std::vector<std::string>{"__name__", "i"}));
    EXPECT_TRUE(names->partial);

    const StorageStats stats = store_->Stats();
    for (const ShardStats& s : stats.shards) {
      EXPECT_EQ(s.quarantine.empty(), s.shard != shard);
    }
    EXPECT_THAT(stats.shards.at(shard).quarantine, HasSubstr(file));
    EXPECT_GT(stats.shards.at(shard).wal_bytes_pinned, 0U);
  }

  TestStore store_{"rocksdb"};
  std::map<int, std::uint32_t> shards_;  // of the series
  Contents contents_;
  Timestamp t_ = kT;
  std::mt19937_64 rng_{1};
};

}  // namespace chronolith

#endif  // CHRONOLITH_TESTS_STORAGE_QUARANTINE_FIXTURE_H_
