// Damage to stored files of one shard: that shard refuses, by name, and the others serve; with the file back in place nothing that
// was acknowledged is missing. Files are edited as a bad disk would.
#include "format/chunk_rows.h"
#include "tests/storage/quarantine_fixture.h"

namespace chronolith {
namespace {

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
  store_.Open();
  std::string behind;  // what is stored, shard by shard
  for (const ShardStats& s : store_->Stats().shards) {
    EXPECT_GT(s.applied_lsn, 0U);
    behind += (s.shard == 0 ? "shard " : ", shard ") + std::to_string(s.shard) + " behind LSN " + std::to_string(s.applied_lsn);
  }
  store_.KillWithoutOpening();
  const std::string command = "chronolith recover --accept-data-loss " + store_.path();
  struct Case {
    std::string path;
    std::string names;
    std::string affected;
    bool salvaged;              // by the command that the message then names
    bool salvaged_with_chunks;  // where stored files of one shard are gone as well
  };
  std::vector<Case> cases;
  for (const std::string instance : {"data", "log"}) {
    const std::string directory = store_.path() + "/" + instance + "/";
    std::string manifest = ReadFile(directory + "CURRENT");
    manifest.pop_back();
    const std::string affected =
        instance == "data" ? "Affected: all that is stored of shards 0 to 3." : "Affected: all that was logged of " + behind + ".";
    cases.push_back({directory + manifest, manifest, affected, false, false});
    cases.push_back({directory + "CURRENT", instance + " instance: opening '" + store_.path() + "/" + instance, affected, false, false});
    std::string log;
    for (const auto& entry : fs::directory_iterator(directory)) {
      if (entry.path().extension() != ".log") continue;
      if (log.empty() || fs::file_size(entry) > fs::file_size(log)) log = entry.path();
    }
    cases.push_back(
        {log, log + ", bytes ",
         // A table of the log instance is newer than the damage: RocksDB does not read that log up to there.
         instance == "data" ? "of shards 0 to 3 epochs only, which the log instance has too; no LSN and no sample"
                            : "later writes show that it was whole",
         true, instance == "log"});
  }
  cases.push_back({store_.path() + "/STORE", "STORE", "Affected: all shards.", false, false});
  const std::string chunks = FileOf("chunk.1");
  const std::string saved = store_.directory() / "saved";
  fs::copy(store_.path(), saved, fs::copy_options::recursive);
  for (const bool with_chunks : {false, true}) {
    for (const Case& c : cases) {
      SCOPED_TRACE(c.path);
      if (with_chunks) fs::remove(chunks);
      std::string bad = ReadFile(c.path);
      bad.at(bad.size() / 3) ^= 0x10;
      WriteFile(c.path, bad);
      const Status s = store_.TryOpen();
      EXPECT_EQ(s.code(), StatusCode::kDataLoss) << s.ToString();
      EXPECT_THAT(s.message(), HasSubstr(c.names));
      EXPECT_THAT(s.message(), HasSubstr("restore a snapshot or a backup of the store"));
      const bool salvaged = with_chunks ? c.salvaged_with_chunks : c.salvaged;
      EXPECT_EQ(s.message().find(command) != std::string::npos, salvaged) << s.message();
      std::string affected = c.affected;
      if (with_chunks && c.salvaged && !salvaged) affected = "Affected: all that is stored of shards 0 to 3.";
      if (with_chunks && affected.find(behind) != std::string::npos)
        affected = ", shard 1 (its stored files are damaged as well), ";
      EXPECT_THAT(s.message(), HasSubstr(affected));
      store_.options().accept_data_loss = true;  // what the message says of the command is so
      const Status accepted = store_.TryOpen();
      store_.options().accept_data_loss = false;
      EXPECT_EQ(accepted.ok(), salvaged) << accepted.ToString();
      fs::remove_all(store_.path());
      fs::copy(saved, store_.path(), fs::copy_options::recursive);
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
  const StorageStats before = store_->Stats();
  store_.KillWithoutOpening();
  const std::string data = newest("/data");
  fs::resize_file(data, fs::file_size(data) - 3);
  const std::string log = newest("/log");
  WriteFile(log, ReadFile(log) + std::string(1000, '\xee'));
  fs::remove(FileOf("chunk.1"));
  const std::string garbage(100, '\xee');
  ASSERT_TRUE(ReadFile(log).ends_with(garbage));
  store_.Open();
  // The log went on behind what was whole: the garbage is where torn files are kept, and the rows in front of it are there.
  ASSERT_TRUE(fs::exists(log));
  EXPECT_EQ(ReadFile(log).find(garbage), std::string::npos);
  std::size_t kept = 0;
  for (const auto& entry : fs::directory_iterator(store_.path() + "/log")) {
    if (!entry.is_directory()) continue;
    ++kept;
    EXPECT_TRUE(ReadFile(entry.path() / fs::path(log).filename()).ends_with(garbage));
  }
  EXPECT_EQ(kept, 1U);
  EXPECT_EQ(ReadPartly(), Without(1));
  const StorageStats after = store_->Stats();
  for (const ShardStats& s : after.shards) {
    EXPECT_EQ(s.quarantine.empty(), s.shard != 1) << s.quarantine;
    // What the data's log lost was an epoch: the log instance knows it too, and none comes twice.
    EXPECT_TRUE(s.shard == 1 || s.epoch > before.shards.at(s.shard).epoch);
  }
  WriteAroundShard(1);
  store_.Kill();
  EXPECT_EQ(ReadPartly(), Without(1));
}

TEST_F(QuarantineTest, TheOthersServeWhileOneOfThemIsStillReplayed) {
  Fill();
  const std::string path = FileOf("chunk.2");
  const std::string good = ReadFile(path);
  fs::remove(path);
  std::atomic<bool> held{true};
  store_.options().on_replay = [&](const ReplayProgress& progress) {
    if (progress.done && progress.shard == 3) held.wait(true);
  };
  store_.options().wait_for_replay = false;
  store_.Open();
  for (const std::uint32_t shard : {0U, 1U}) {  // each waits until its shard serves
    const int i = OneOf(shard);
    store_.Write(Numbered(i), {{t_, 7}});
    contents_[Numbered(i).ToString()][t_] = Shown(7.0);
  }
  const WriteResult refused = store_->Write(MakeSeries(Numbered(OneOf(2)), {{t_, 7}}));
  EXPECT_EQ(refused.status.code(), StatusCode::kDataLoss) << refused.status.ToString();
  EXPECT_FALSE(store_->Stats().shards.at(3).serving);
  held.store(false);
  held.notify_all();
  EXPECT_TRUE(store_->WaitReady().ok());
  EXPECT_EQ(ReadPartly(), Without(2));
  store_.Close();
  WriteFile(path, good);
  store_.Open();
  EXPECT_EQ(store_.Read(), contents_);
  store_.Close();
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

// As a bad sector: the device says so, not a checksum.
TEST(QuarantineByRecovery, ADeviceThatDoesNotGiveTheRowIsEnough) {
  int without_scrub_state = 0;
  TestStore store("memory");
  store.options().background_threads = 1;
  store.Open();
  for (int i = 0; i < kSeries; ++i) store.Write(Numbered(i), {{kT, 1}});
  store.Checkpoint();
  store.Close();
  std::set<std::uint32_t> quarantined;
  bool met = true;
  for (std::uint64_t nth = 1; met && nth < 200; ++nth) {
    store.memory().FailCall(EngineMethod::kRead, nth, IoError("a bad sector"));
    const Status status = store.TryOpen();
    if (!status.ok()) {  // what the shards share
      EXPECT_EQ(status.code(), StatusCode::kIoError) << status.ToString();
      continue;
    }
    std::size_t served = 0;
    for (const ShardStats& s : store->Stats().shards) {
      served += s.quarantine.empty() ? 1 : 0;
      if (s.quarantine.empty()) continue;
      quarantined.insert(s.shard);
      EXPECT_THAT(s.quarantine, HasSubstr("a bad sector"));
    }
    met = served < 4;
    if (met) {
      EXPECT_EQ(served, 3U);
      EXPECT_TRUE(store->Series({}, {.skip_damaged = true})->partial);
    } else if (store->Select({}, {}).ok() && store->Series({}).ok()) {
      EXPECT_EQ(++without_scrub_state, 1) << "only what the scrub remembers is no loss";
      met = true;
    }  // else: the fault that the opening did not meet
    store.Close();
  }
  EXPECT_EQ(quarantined.size(), 4U);
  store.Open();
  EXPECT_EQ(store.Read().size(), static_cast<std::size_t>(kSeries));
}

// Beside a live writer files vanish under a reader.
TEST(QuarantineByRecovery, AReaderBelievesOnlyWhatTwoOpensInARowSay) {
  int opens = 0;  // of the store: a reader opens the log first
  int reads = 0;  // since
  std::function<std::string(int open, int read)> fails;
  TestStore store("memory", {.on_call = [&](EngineMethod method, const std::string& path) {
                    if (!fails) return Status::Ok();
                    if (method == EngineMethod::kOpen && path.ends_with("/log")) {
                      ++opens;
                      reads = 0;
                    }
                    if (method != EngineMethod::kRead) return Status::Ok();
                    const std::string error = fails(opens, ++reads);
                    return error.empty() ? Status::Ok() : IoError(error);
                  }});
  store.options().background_threads = 1;
  store.Open();
  for (int i = 0; i < kSeries; ++i) store.Write(Numbered(i), {{kT, 1}});
  store.Checkpoint();
  store.Close();
  store.options().read_only = true;
  // The status of the reader's open, and in how many shards it found damage.
  std::size_t quarantined = 0;
  const auto open = [&](std::function<std::string(int open, int read)> how) {
    opens = 0;
    fails = std::move(how);
    const Status status = store.TryOpen();
    fails = nullptr;
    quarantined = 0;
    if (!status.ok()) return status;
    for (const ShardStats& s : store->Stats().shards) quarantined += s.quarantine.empty() ? 0 : 1;
    store.Close();
    return status;
  };
  int first = 1;  // the first read that is a shard's own
  while (!open([&](int, int read) { return read == first ? "gone" : ""; }).ok()) ASSERT_LT(++first, 100);
  EXPECT_EQ(quarantined, 1U);
  EXPECT_EQ(opens, 2) << "the same twice";
  EXPECT_TRUE(open([&](int n, int read) { return n == 1 && read == first ? "gone" : ""; }).ok());
  EXPECT_EQ(quarantined, 0U);
  EXPECT_EQ(opens, 2);
  const auto another = [&](int n, int read) { return read == first ? "gone: " + std::to_string(n) : ""; };
  EXPECT_TRUE(open([&](int n, int read) { return n < 4 ? another(n, read) : ""; }).ok());
  EXPECT_EQ(quarantined, 0U);
  EXPECT_EQ(opens, 4);
  EXPECT_EQ(open(another).code(), StatusCode::kUnavailable);
  EXPECT_TRUE(open([&](int n, int read) { return n < 3 ? another(n, read) : another(3, read); }).ok());
  EXPECT_EQ(quarantined, 1U);
  EXPECT_EQ(opens, 4);
}

}  // namespace
}  // namespace chronolith
