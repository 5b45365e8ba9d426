// Damage to stored files of one shard: that shard refuses, by name, and the others serve; with the file back in place nothing that
// was acknowledged is missing. Files are edited as a bad disk would.
#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <set>

#include "format/chunk_rows.h"
#include "tests/storage/store_fixture.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr Timestamp kT = 1'700'000'000'000;
constexpr int kSeries = 40;

Labels Numbered(int i) { return {{"__name__", "n"}, {"i", std::to_string(i)}}; }

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

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

TEST_F(QuarantineTest, TheDamagedShardRefusesTheOthersServeAndTheFileComesBack) {
  Fill();
  struct Case {
    const char* family;
    std::uint32_t shard;
    const char* what;
    std::function<void(const std::string& path, const std::string& good)> damage;
  };
  const Case cases[] = {
      {"chunk.1", 1, "is missing", [](const auto& path, const auto&) { fs::remove(path); }},
      {"index.2", 2, "bytes instead of",
       [](const auto& path, const auto& good) { WriteFile(path, good.substr(0, good.size() / 2)); }},
      {"chunk.0", 0, "cannot be read",
       [](const auto& path, std::string bad) {
         bad[bad.size() - 3] ^= 1;  // the footer
         WriteFile(path, bad);
       }},
      {"index.3", 3, "Corruption",
       [](const auto& path, std::string bad) {
         bad[10] ^= 1;  // the only block of rows: the shard's state is in it
         WriteFile(path, bad);
       }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.family);
    const std::string path = FileOf(c.family);
    const std::string good = ReadFile(path);
    const std::string named = std::string_view(c.what) == "Corruption" ? c.family : fs::path(path).filename().string();
    c.damage(path, good);
    store_.Open();
    EXPECT_THAT(store_->Stats().shards.at(c.shard).quarantine, HasSubstr(c.what));
    ExpectRefusals(c.shard, named);
    EXPECT_EQ(ReadPartly(), Without(c.shard));
    WriteAroundShard(c.shard);
    EXPECT_EQ(ReadPartly(), Without(c.shard));
    store_.Checkpoint();
    WriteAroundShard(c.shard);
    store_.Kill();  // the verdict is repeated, and what the others were given is there
    ExpectRefusals(c.shard, named);
    EXPECT_EQ(ReadPartly(), Without(c.shard));
    store_.Compact();
    WriteAroundShard(c.shard);
    store_.Restart();
    EXPECT_EQ(ReadPartly(), Without(c.shard));
    {
      TestStore* writer = &store_;
      Options options = writer->options();
      options.read_only = true;
      auto reader = Storage::Open(options, writer->path());
      ASSERT_TRUE(reader.ok()) << reader.status().ToString();
      EXPECT_THAT((*reader)->Stats().shards.at(c.shard).quarantine, HasSubstr(named));
    }
    store_.Close();
    WriteFile(path, good);
    store_.Open();
    for (const ShardStats& s : store_->Stats().shards) EXPECT_EQ(s.quarantine, "");
    EXPECT_EQ(store_.Read(), contents_);
    store_.Write(Numbered(OneOf(c.shard)), {{t_, 7}});
    contents_[Numbered(OneOf(c.shard)).ToString()][t_++] = Shown(7.0);
    store_.Restart();
    EXPECT_EQ(store_.Read(), contents_);
    store_.Close();
  }
}

TEST_F(QuarantineTest, SeveralShardsAreNamedButOneMustBeLeft) {
  Fill();
  fs::create_directory(store_.directory() / "away");
  const auto away = [&](const std::string& family) {
    for (const std::string& path : FilesOf(family)) {
      fs::rename(path, store_.directory() / "away/" + fs::path(path).filename().string());
    }
  };
  for (const char* family : {"chunk.0", "index.0", "index.1", "chunk.3"}) away(family);
  store_.Open();
  const Status s = store_->Select({}, {}).status();
  for (const char* shard : {"shard 0 ", "shard 1 ", "shard 3 "}) EXPECT_THAT(s.message(), HasSubstr(shard));
  EXPECT_THAT(s.message(), testing::Not(HasSubstr("shard 2 ")));
  for (const auto& [labels, points] : ReadPartly()) EXPECT_EQ(points, contents_.at(labels));
  store_.Close();
  away("chunk.2");
  EXPECT_EQ(store_.TryOpen().code(), StatusCode::kDataLoss);
  EXPECT_THAT(store_.TryOpen().message(), HasSubstr("no shard is left"));
  for (const auto& entry : fs::directory_iterator(store_.directory() / "away")) {
    fs::rename(entry.path(), store_.path() + "/data/" + entry.path().filename().string());
  }
  store_.Open();
  EXPECT_EQ(store_.Read(), contents_);
}

TEST_F(QuarantineTest, DamageToWhatShardsShareRefusesTheStoreByName) {
  Fill();
  const std::string data = store_.path() + "/data/";
  std::string log;
  for (const auto& entry : fs::directory_iterator(store_.path() + "/log")) {
    if (entry.path().extension() != ".log") continue;
    if (log.empty() || fs::file_size(entry) > fs::file_size(log)) log = entry.path();
  }
  const std::string chunks = FileOf("chunk.1");
  const std::string good_chunks = ReadFile(chunks);
  for (const bool with_chunks : {false, true}) {
    std::string manifest = ReadFile(data + "CURRENT");
    manifest.pop_back();
    for (const std::string& path : {data + manifest, data + "CURRENT", log}) {
      SCOPED_TRACE(path);
      if (with_chunks) fs::remove(chunks);
      const std::string good = ReadFile(path);
      std::string bad = good;
      bad.at(bad.size() / 3) ^= 0x10;
      WriteFile(path, bad);
      const Status s = store_.TryOpen();
      EXPECT_EQ(s.code(), StatusCode::kDataLoss) << s.ToString();
      EXPECT_THAT(s.message(), HasSubstr(path == log ? "log" : fs::path(path).filename().string()));
      WriteFile(path, good);
      WriteFile(chunks, good_chunks);
    }
  }
  store_.Open();
  EXPECT_EQ(store_.Read(), contents_);
}

TEST_F(QuarantineTest, TornEndsOfTheLogsDoNotPreventIt) {
  Fill();
  const auto newest = [&](const char* instance) {
    std::string log;
    for (const auto& entry : fs::directory_iterator(store_.path() + instance)) {
      if (entry.path().extension() == ".log") log = std::max(log, entry.path().string());
    }
    return log;
  };
  store_.Open();
  WriteAroundShard(99);
  store_.KillWithoutOpening();
  const std::string data = newest("/data");
  fs::resize_file(data, fs::file_size(data) - 3);
  const std::string log = newest("/log");
  WriteFile(log, ReadFile(log) + std::string(1000, '\xee'));
  fs::remove(FileOf("chunk.1"));
  store_.Open();
  EXPECT_TRUE(ReadFile(log).find(std::string(100, '\xee')) == std::string::npos);
  EXPECT_EQ(ReadPartly(), Without(1));
  WriteAroundShard(1);
}

// A block that only a read meets: the store opens, and the shard takes writes and checkpoints.
TEST_F(QuarantineTest, ABadBlockFailsTheReadsThatNeedItAndNothingElse) {
  Fill(2000);
  const std::string path = FileOf("chunk.0");
  const std::string good = ReadFile(path);
  ASSERT_GT(good.size(), 100'000U) << "one block only";
  std::string bad = good;
  bad[bad.size() / 2] ^= 1;
  WriteFile(path, bad);
  for (int round = 0; round < 2; ++round) {
    SCOPED_TRACE("open " + std::to_string(round));
    store_.Open();
    for (const ShardStats& s : store_->Stats().shards) EXPECT_EQ(s.quarantine, "");
    auto all = store_->Select({}, {});
    ASSERT_TRUE(all.ok()) << all.status().ToString();
    while ((*all)->Next()) {
    }
    EXPECT_EQ((*all)->status().code(), StatusCode::kDataLoss) << (*all)->status().ToString();
    EXPECT_THAT((*all)->status().message(), testing::AllOf(HasSubstr("shard 0: "), HasSubstr("chunk.0")));
    for (int i = 0; i < kSeries; ++i) {
      if (shards_[i] == 0) continue;
      const Labels labels = Numbered(i);
      EXPECT_EQ(store_.Read({Matcher::Equal("i", std::to_string(i))}).at(labels.ToString()), contents_.at(labels.ToString()));
    }
    EXPECT_EQ(ReadPartly(), Without(0));
    EXPECT_TRUE(store_->Series({}).ok());

    // Its compaction fails, those of the others do not, and checkpoints go on, over enough files that RocksDB compacts by itself.
    const auto compacted = store_->Compact();
    EXPECT_EQ(compacted.status().code(), StatusCode::kDataLoss);
    EXPECT_THAT(compacted.status().message(), HasSubstr("shard 0: "));
    for (int i = 0; i < 8; ++i) {
      Write(1);
      store_.Checkpoint();
    }
    for (const ShardStats& s : store_->Stats().shards) EXPECT_EQ(s.applied_lsn, s.last_lsn) << "shard " << s.shard;
    EXPECT_FALSE(store_->Stats().data_engine.writes_stopped);
    Write(1);
    EXPECT_EQ(ReadPartly(), Without(0));
    store_.KillWithoutOpening();
  }
  WriteFile(path, good);
  store_.Open();
  EXPECT_EQ(store_.Read(), contents_);  // also what the shard took while a block of it was bad
  store_.Compact();
  EXPECT_EQ(store_.Read(), contents_);
}

// The others have a retention floor, and each open brings all shards to the highest: but not one that is left alone.
TEST_F(QuarantineTest, TheFloorOfTheOthersIsNotLoggedForTheDamagedShard) {
  store_.options().clock = std::make_shared<FakeClock>(kT + 1'000'000);
  store_.options().window_ms = 10'000;
  store_.options().retention_ms = 60'000;
  Fill();
  store_.Open();
  t_ = kT + 200'000;
  contents_.clear();
  Write(1);
  store_.Checkpoint();  // raises the floor past all that there was before
  EXPECT_EQ(store_.Read(), contents_);
  store_.Close();
  const std::string file = FileOf("chunk.1");
  const std::string good = ReadFile(file);
  fs::remove(file);
  store_.Open();
  EXPECT_EQ(store_->Stats().shards.at(1).last_lsn, 0U);
  EXPECT_EQ(ReadPartly(), Without(1));
  store_.Close();
  WriteFile(file, good);
  store_.Open();
  EXPECT_EQ(store_.Read(), contents_);
}

TEST_F(QuarantineTest, ABadBlockOfAnIndexIsOfItsShardAlone) {
  constexpr std::size_t kMany = 4000;
  std::vector<TimeSeries> many;
  for (std::size_t i = 0; i < kMany; ++i) many.push_back(MakeSeries(Numbered(static_cast<int>(i)), {{kT, 1}}));
  store_.Open();
  ASSERT_TRUE(store_->Write(many).ok());
  store_.Checkpoint();
  const Contents all = store_.Read();
  std::map<std::string, std::uint32_t> shard_of;
  {
    auto appender = store_->NewAppender();
    for (const TimeSeries& one : many) {
      shard_of[one.labels.ToString()] = static_cast<std::uint32_t>(appender->Ref(one.labels).value().id >> 32) - 1;
    }
  }
  store_.Close();
  const std::string path = FileOf("index.0");
  const std::string good = ReadFile(path);
  const auto others =
      static_cast<std::size_t>(std::count_if(shard_of.begin(), shard_of.end(), [](const auto& one) { return one.second != 0; }));
  std::size_t refused = 0;
  std::size_t failed = 0;
  for (int tenth = 1; tenth < 9; ++tenth) {
    SCOPED_TRACE("tenth " + std::to_string(tenth));
    std::string bad = good;
    bad[bad.size() * static_cast<std::size_t>(tenth) / 10] ^= 1;
    WriteFile(path, bad);
    store_.Open();
    const auto series = store_->Series({});
    if (!series.ok()) {
      ++failed;
      EXPECT_EQ(series.status().code(), StatusCode::kDataLoss);
      EXPECT_THAT(series.status().message(), HasSubstr("shard 0"));
    }
    const auto partly = store_->Series({}, {.skip_damaged = true});
    ASSERT_TRUE(partly.ok()) << partly.status().ToString();
    EXPECT_EQ(partly->partial, !series.ok());
    EXPECT_GE(partly->values.size(), others);
    for (const Refusal& r : store_->Write(many).refused) {
      ++refused;
      EXPECT_EQ(r.reason.code(), StatusCode::kDataLoss);
      EXPECT_EQ(shard_of.at(many[r.series].labels.ToString()), 0U);
    }
    store_.Checkpoint();
    store_.Close();
  }
  std::printf("of 8 bad places %zu failed Series, and writes were refused %zu times\n", failed, refused);
  EXPECT_GT(failed, 0U);
  EXPECT_GT(refused, 0U);
  WriteFile(path, good);
  store_.Open();
  EXPECT_EQ(store_.Read(), all);
}

TEST_F(QuarantineTest, TheRetentionFloorRisesWithoutTheShardAndMeetsItLater) {
  constexpr std::int64_t kHour = 3'600'000;
  Fill();
  store_.options().retention_ms = kHour;
  store_.options().window_ms = kHour;
  const std::string path = FileOf("chunk.1");
  const std::string good = ReadFile(path);
  fs::remove(path);
  store_.Open();
  const Timestamp first = t_;
  t_ += 10 * kHour;
  WriteAroundShard(1);
  store_.Checkpoint();  // raises the floor
  store_.Restart();
  store_.Kill();
  WriteAroundShard(1);
  for (auto& [labels, points] : contents_) points.erase(points.begin(), points.lower_bound(first));
  EXPECT_EQ(ReadPartly(), Without(1));
  store_.Close();
  WriteFile(path, good);
  store_.Open();
  EXPECT_EQ(store_.Read(), Without(1));  // the shard has nothing above the floor
  for (const ShardStats& s : store_->Stats().shards) EXPECT_EQ(s.quarantine, "");
}

TEST_F(QuarantineTest, ReferencesLiveThroughAReopenThatQuarantinesTheirShard) {
  Fill();
  store_.Open();
  auto appender = store_->NewAppender();
  std::map<int, SeriesRef> refs;
  for (int i = 0; i < kSeries; ++i) refs[i] = appender->Ref(Numbered(i)).value();
  const std::string path = FileOf("index.1");
  const std::string good = ReadFile(path);
  fs::remove(path);
  ASSERT_TRUE(store_->Reopen().ok());
  std::size_t refused = 0;
  for (const auto& [i, ref] : refs) {
    appender->Append(ref, t_, 1);
    if (shards_[i] == 1) {
      ++refused;
    } else {
      contents_[Numbered(i).ToString()][t_] = Shown(1.0);
    }
  }
  ++t_;
  WriteResult result = appender->Commit();
  ASSERT_EQ(result.refused.size(), refused);
  for (const Refusal& r : result.refused) EXPECT_THAT(r.reason.message(), HasSubstr("shard 1 is quarantined"));
  EXPECT_EQ(store_->Stats().shards.at(1).samples_refused, refused);
  EXPECT_EQ(ReadPartly(), Without(1));
  WriteFile(path, good);
  ASSERT_TRUE(store_->Reopen().ok());
  for (const auto& [i, ref] : refs) {
    appender->Append(ref, t_, 2);
    contents_[Numbered(i).ToString()][t_] = Shown(2.0);
  }
  result = appender->Commit();
  EXPECT_TRUE(result.ok()) << result.status.ToString();
  appender.reset();
  EXPECT_EQ(store_.Read(), contents_);
}

// Without a word from the engine: recovery itself meets the bad row.
TEST(QuarantineByRecovery, ARowThatRecoveryNeedsIsEnough) {
  TestStore store("memory");
  store.Open();
  for (int i = 0; i < kSeries; ++i) store.Write(Numbered(i), {{kT, 1}});
  store.Checkpoint();
  store.Close();
  ASSERT_TRUE(store.memory().FlipBit(store.path() + "/data", "chunk.2", kChunkStateKey, 9).ok());
  store.Open();
  EXPECT_THAT(store->Stats().shards.at(2).quarantine, HasSubstr("chunk.2"));
  EXPECT_EQ(store->Select({}, {}).status().code(), StatusCode::kDataLoss);
  EXPECT_TRUE(store->Series({}, {.skip_damaged = true})->partial);
  store.Checkpoint();
  store.Kill();
  EXPECT_NE(store->Stats().shards.at(2).quarantine, "");
  store.Close();
  ASSERT_TRUE(store.memory().FlipBit(store.path() + "/data", "chunk.2", kChunkStateKey, 9).ok());
  store.Open();
  EXPECT_EQ(store.Read().size(), static_cast<std::size_t>(kSeries));
}

}  // namespace
}  // namespace chronolith
