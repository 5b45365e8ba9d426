// The part of the contract that concerns what outlives an engine: opening, durability, checkpoints, export and import.
#include "tests/contract/engine_fixture.h"
#include "tests/support/verify_files.h"

namespace chronolith {
namespace {

class EngineLifecycle : public EngineTest {};

TEST_P(EngineLifecycle, KeepsLoggedAndFlushedRowsOverAReopen) {
  for (const InstanceRole role : {InstanceRole::kData, InstanceRole::kLog}) {
    const std::string name = role == InstanceRole::kLog ? "log" : "data";
    auto opened = TryOpen(Families(role), name);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    engine_ = std::move(opened).value();
    MustWrite(kMerging, {MergeOp("m", "1")}, Durability::kLogged);
    MustWrite(kPlain, {PutOp("logged", "")}, Durability::kLogged);
    MustWrite(kPlain, {PutOp("synced", "")}, Durability::kSynced);
    MustWrite(kDropping, {PutOp("flushed", "")}, Durability::kBuffered);
    ASSERT_TRUE(engine_->Flush(kDropping).ok());
    MustWrite(kMerging, {MergeOp("m", "2")}, Durability::kLogged);
    for (int i = 0; i < 3; ++i) {
      Close();
      opened = TryOpen(Families(role), name);
      ASSERT_TRUE(opened.ok()) << opened.status().ToString();
      engine_ = std::move(opened).value();
      EXPECT_EQ(Scan(kPlain), "logged= synced= ");
      EXPECT_EQ(Scan(kDropping), "flushed= ");
      EXPECT_EQ(Scan(kMerging), "m=1,2 ");
    }
    Close();
  }
}

TEST_P(EngineLifecycle, ADataInstanceLosesUnflushedBufferedRowsAndALogInstanceLogsThem) {
  Open();
  MustWrite(kPlain, {PutOp("buffered", "")}, Durability::kBuffered);
  Close();
  Open();
  EXPECT_EQ(Scan(kPlain), "");
  Close();
  auto log = TryOpen(Families(InstanceRole::kLog), "log");
  ASSERT_TRUE(log.ok());
  engine_ = std::move(log).value();
  MustWrite(kPlain, {PutOp("buffered", "")}, Durability::kBuffered);
  Close();
  log = TryOpen(Families(InstanceRole::kLog), "log");
  ASSERT_TRUE(log.ok());
  engine_ = std::move(log).value();
  EXPECT_EQ(Scan(kPlain), "buffered= ");
}

TEST_P(EngineLifecycle, ReadsOnlyWhatIsDurableWhereAsked) {
  Open();
  MustWrite(kPlain, {PutOp("k", "1")}, Durability::kBuffered);
  EXPECT_EQ(Read(kPlain, "k", ReadTier::kDurable), "NOT_FOUND");
  ASSERT_TRUE(engine_->Flush(kPlain).ok());
  EXPECT_EQ(Read(kPlain, "k", ReadTier::kDurable), "1");
  MustWrite(kPlain, {PutOp("k", "2")}, Durability::kBuffered);
  EXPECT_EQ(Read(kPlain, "k", ReadTier::kDurable), "1");
  EXPECT_EQ(Read(kPlain, "k"), "2");
  // A family with logged rows alone shows those that were synced, whatever its neighbours do.
  MustWrite(kMerging, {PutOp("k", "3")}, Durability::kSynced);
  EXPECT_EQ(Read(kMerging, "k", ReadTier::kDurable), "3");
  MustWrite(kMerging, {PutOp("k", "4")}, Durability::kLogged);
  ASSERT_TRUE(engine_->SyncLog().ok());
  EXPECT_EQ(Read(kMerging, "k", ReadTier::kDurable), "4");
}

TEST_P(EngineLifecycle, KeepsEpochsOverAReopen) {
  Open();
  ASSERT_TRUE(engine_->AcquireEpoch(kPlain, 7).ok());
  ASSERT_TRUE(engine_->AcquireEpoch(kMerging, ~Epoch{0} - 1).ok());
  Close();
  Open();
  EXPECT_EQ(*engine_->CurrentEpoch(kPlain), 7U);
  EXPECT_EQ(*engine_->CurrentEpoch(kMerging), ~Epoch{0} - 1);
  EXPECT_EQ(*engine_->CurrentEpoch(kDropping), 0U);
  EXPECT_EQ(WriteTo(kPlain, {PutOp("k", "")}, 6).code(), StatusCode::kFenced);
  EXPECT_TRUE(WriteTo(kPlain, {PutOp("k", "")}, 7).ok());
}

TEST_P(EngineLifecycle, RefusesASecondWriter) {
  Open();
  const Status second = TryOpen(Families()).status();
  EXPECT_EQ(second.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(second.message().find(directory_ / "db"), std::string::npos) << second.message();
  MustWrite(kPlain, {PutOp("k", "")});  // the first is unharmed
  Close();
  Open();
}

TEST_P(EngineLifecycle, RefusesWhatItCannotOpenAndNamesIt) {
  Open();
  MustWrite(kPlain, {PutOp("k", "v")});
  Close();
  struct Row {
    const char* mentions;
    const char* path;
    StatusCode code;
    void (*change)(EngineOptions*);
  };
  const Row rows[] = {
      {"merging", "db", StatusCode::kFailedPrecondition, [](EngineOptions* o) { o->families.erase(o->families.begin() + 1); }},
      {"plain", "db", StatusCode::kInvalidArgument, [](EngineOptions* o) { o->families[1].name = "plain"; }},
      {"empty", "db", StatusCode::kInvalidArgument, [](EngineOptions* o) { o->families[1].name = ""; }},
      {"default", "db", StatusCode::kInvalidArgument, [](EngineOptions* o) { o->families[1].name = "default"; }},
      {"family", "db", StatusCode::kInvalidArgument, [](EngineOptions* o) { o->families.clear(); }},
      {"colour", "db", StatusCode::kInvalidArgument, [](EngineOptions* o) { o->extra["colour"] = "blue"; }},
      {"absent", "absent", StatusCode::kNotFound, [](EngineOptions* o) { o->create_if_missing = false; }},
      {"absent", "absent", StatusCode::kNotFound, [](EngineOptions* o) { o->read_only = true; }},
      {"new", "db", StatusCode::kNotFound,
       [](EngineOptions* o) {
         o->read_only = true;
         o->families.push_back({.name = "new"});
       }},
  };
  for (const Row& row : rows) {
    EngineOptions options = Families();
    row.change(&options);
    const Status s = TryOpen(options, row.path).status();
    EXPECT_EQ(s.code(), row.code) << s.ToString();
    EXPECT_NE(s.message().find(row.mentions), std::string::npos) << s.ToString();
  }
  Open();
  EXPECT_EQ(Scan(kPlain), "k=v ");
}

TEST_P(EngineLifecycle, CreatesFamiliesThatAreMissing) {
  Open();
  MustWrite(kPlain, {PutOp("k", "v")});
  Close();
  EngineOptions options = Families();
  options.families.insert(options.families.begin(), {.name = "new"});
  options.create_if_missing = false;
  Open(options);
  EXPECT_EQ(Scan(0), "");
  EXPECT_EQ(Scan(1), "k=v ");
  MustWrite(0, {PutOp("n", "v")});
  Close();
  Open(options);
  EXPECT_EQ(Scan(0), "n=v ");
}

TEST_P(EngineLifecycle, AReaderBesideAWriterSeesAFrozenView) {
  Open();
  MustWrite(kPlain, {PutOp("flushed", "")}, Durability::kBuffered);
  ASSERT_TRUE(engine_->Flush(kPlain).ok());
  MustWrite(kMerging, {PutOp("logged", "")}, Durability::kLogged);
  MustWrite(kPlain, {PutOp("buffered", "")}, Durability::kBuffered);
  EngineOptions options = Families();
  options.read_only = true;
  auto reader = TryOpen(options);
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  MustWrite(kMerging, {PutOp("later", "")}, Durability::kSynced);
  EXPECT_EQ(Scan(reader->get(), kPlain), "flushed= ");
  EXPECT_EQ(Scan(reader->get(), kMerging), "logged= ");
  EXPECT_TRUE(VerifyFiles(reader->get(), kPlain).ok());
  ASSERT_TRUE(engine_->Compact(kPlain, "", std::nullopt).ok());  // the reader's files go
  EXPECT_EQ(Read(reader->get(), kPlain, "flushed"), "");
  const std::vector<Op> ops = {PutOp("k", "")};
  const Batch batch{kPlain, "", 0, ops};
  EXPECT_EQ((*reader)->Write(std::span(&batch, 1), {}).at(0).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ((*reader)->Flush(kPlain).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ((*reader)->AcquireEpoch(kPlain, 9).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ((*reader)->Stats().families.size(), 3U);
  EXPECT_TRUE((*reader)->Close().ok());
  EXPECT_EQ(Scan(kMerging), "later= logged= ");
}

TEST_P(EngineLifecycle, ACheckpointIsAConsistentCopyThatLivesAlone) {
  for (const InstanceRole role : {InstanceRole::kData, InstanceRole::kLog}) {
    const std::string name = role == InstanceRole::kLog ? "log" : "data";
    auto opened = TryOpen(Families(role), name);
    ASSERT_TRUE(opened.ok());
    engine_ = std::move(opened).value();
    ASSERT_TRUE(engine_->AcquireEpoch(kMerging, 3).ok());
    MustWrite(kPlain, {PutOp("flushed", "")}, Durability::kBuffered);
    ASSERT_TRUE(engine_->Flush(kPlain).ok());
    MustWrite(kPlain, {PutOp("buffered", "")}, Durability::kBuffered);
    MustWrite(kDropping, {PutOp("logged", "")}, Durability::kLogged);
    const std::string copy = name + ".copy";
    const Status s = engine_->CreateCheckpoint(directory_ / copy);
    ASSERT_TRUE(s.ok()) << s.ToString();
    EXPECT_EQ(engine_->CreateCheckpoint(directory_ / copy).code(), StatusCode::kAlreadyExists);
    MustWrite(kPlain, {DeleteRangeOp("", "z"), PutOp("later", "")});
    ASSERT_TRUE(engine_->Compact(kPlain, "", std::nullopt).ok());

    auto twin = TryOpen(Families(role), copy);  // beside the original
    ASSERT_TRUE(twin.ok()) << twin.status().ToString();
    EXPECT_EQ(Scan(twin->get(), kPlain), "buffered= flushed= ");
    EXPECT_EQ(Scan(twin->get(), kDropping), "logged= ");
    EXPECT_EQ(*(*twin)->CurrentEpoch(kMerging), 3U);
    EXPECT_EQ(Scan(kPlain), "later= ");
  }
}

TEST_P(EngineLifecycle, AFamilyMovesByExportAndImport) {
  Open();
  for (int i = 0; i < 500; ++i) MustWrite(kMerging, {MergeOp(std::to_string(i % 100), std::to_string(i))});
  ASSERT_TRUE(engine_->Flush(kMerging).ok());
  MustWrite(kMerging, {DeleteRangeOp("1", "2"), DeleteOp("3"), PutOp("z", "")});
  ASSERT_TRUE(engine_->Flush(kMerging).ok());
  const std::string rows = Scan(kMerging);
  ASSERT_TRUE(engine_->ExportFamily(kMerging, directory_ / "export").ok());
  EXPECT_EQ(engine_->ExportFamily(kMerging, directory_ / "export").code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(engine_->ImportFamily(kMerging, directory_ / "export").code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(engine_->ImportFamily(kPlain, directory_ / "absent").code(), StatusCode::kNotFound);

  auto other = TryOpen(Families(), "other");
  ASSERT_TRUE(other.ok());
  ASSERT_TRUE((*other)->AcquireEpoch(kMerging, 2).ok());
  const Status s = (*other)->ImportFamily(kMerging, directory_ / "export");
  ASSERT_TRUE(s.ok()) << s.ToString();
  EXPECT_EQ(Scan(other->get(), kMerging), rows);
  EXPECT_TRUE(VerifyFiles(other->get(), kMerging).ok());
  engine_ = std::move(other).value();
  ASSERT_TRUE(WriteTo(kMerging, {MergeOp("z", "more")}, 2).ok());
  Close();
  other = TryOpen(Families(), "other");
  ASSERT_TRUE(other.ok()) << other.status().ToString();
  EXPECT_EQ(Scan(other->get(), kMerging).substr(0, rows.size() - 3), rows.substr(0, rows.size() - 3));
  EXPECT_EQ(Read(other->get(), kMerging, "z"), ",more");
  EXPECT_EQ(*(*other)->CurrentEpoch(kMerging), 2U);
}

TEST_P(EngineLifecycle, AnEmptyFamilyCanBeExportedToo) {
  Open();
  const Status exported = engine_->ExportFamily(kPlain, directory_ / "export");
  ASSERT_TRUE(exported.ok()) << exported.ToString();
  EXPECT_TRUE(engine_->ImportFamily(kDropping, directory_ / "export").ok());
  EXPECT_EQ(Scan(kDropping), "");
  MustWrite(kDropping, {PutOp("k", "")});
}

TEST_P(EngineLifecycle, FilesAreVerifiedWhileRowsComeAndGoesOnWhereItStopped) {
  Open();
  for (int i = 0; i < 100; ++i) MustWrite(kPlain, {PutOp(std::to_string(i), std::string(1000, 'x'))});
  Verification empty;
  EXPECT_TRUE(empty.Run(engine_.get(), kMerging).ok());
  EXPECT_EQ(empty.bytes, 0U);
  ASSERT_TRUE(engine_->Flush(kPlain).ok());
  Verification all;
  all.go_on = [&] { return WriteTo(kPlain, {PutOp("more", "x")}).ok() && engine_->Flush(kPlain).ok(); };  // holds no lock
  ASSERT_TRUE(all.Run(engine_.get(), kPlain).ok());
  EXPECT_GT(all.bytes, 0U);
  ASSERT_FALSE(all.files.empty());
  Verification behind;
  EXPECT_TRUE(behind.Run(engine_.get(), kPlain, all.files.back()).ok());
  EXPECT_LT(behind.bytes, all.bytes);
  EXPECT_EQ(std::count(behind.files.begin(), behind.files.end(), all.files.front()), 0);
  Verification stopped;
  stopped.go_on = [] { return false; };
  EXPECT_EQ(stopped.Run(engine_.get(), kPlain).code(), StatusCode::kCancelled);
  EXPECT_TRUE(stopped.files.empty());
  EXPECT_TRUE(VerifyFiles(engine_.get(), kSharedFiles).ok());
}

TEST_P(EngineLifecycle, DeclaresWhatItCan) {
  Open();
  EXPECT_EQ(engine_->Name(), GetParam());
  EXPECT_EQ(factory_->Name(), GetParam());
  for (const Capability c : {Capability::kMerge, Capability::kReadDurable, Capability::kCheckpoint, Capability::kExportImport,
                             Capability::kVerify, Capability::kExpire}) {
    EXPECT_TRUE(engine_->Has(c));
  }
  EXPECT_GE(engine_->limits().key_bytes_max, Limits{}.key_bytes_max);
  EXPECT_GE(engine_->limits().value_bytes_max, Limits{}.value_bytes_max);
  EXPECT_GE(engine_->limits().batch_bytes_max, Limits{}.batch_bytes_max);
}

INSTANTIATE_TEST_SUITE_P(Engines, EngineLifecycle, AllEngines(), EngineName);

}  // namespace
}  // namespace chronolith
