// A log that has lost records of which a checkpoint that was cut short had stored a part: what is left is whole once the loss was
// accepted, and what is told of the loss is true.
#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>

#include "format/index_rows.h"
#include "ops/verify.h"
#include "storage/store_directory.h"
#include "tests/storage/log_loss_fixture.h"

namespace chronolith::ops {
namespace {

using testing::IsEmpty;

class CutCheckpointLoss : public LogLossTest {
 protected:
  Rows EditData(FamilyId family, const std::function<void(Rows*)>& edit) {
    const StoreManifest manifest = ReadStoreManifest(store_.path()).value();
    const auto engines = store_.options().engines ? store_.options().engines : EngineRegistry::Default();
    EngineOptions options = DataInstanceOptions(manifest);
    options.create_if_missing = false;
    auto engine = engines->Find(store_.options().engine).value()->Open(DataInstancePath(store_.path()), options).value();
    Rows rows;
    auto it = engine->NewIterator(family, {}).value();
    for (it->Seek(""); it->Valid(); it->Next()) rows[std::string(it->key())] = it->value();
    it.reset();
    const Rows found = rows;
    if (edit) {
      edit(&rows);
      const std::string end = "\xff";
      std::vector<Op> ops = {{Op::Type::kDeleteRange, "", end}};
      for (const auto& [key, value] : rows) ops.push_back({Op::Type::kPut, key, value});
      const Batch batch{family, {}, engine->CurrentEpoch(family).value(), ops};
      const Outcomes outcomes = engine->Write({&batch, 1}, {.durability = Durability::kBuffered});
      EXPECT_TRUE(outcomes[0].ok()) << outcomes[0].ToString();
      EXPECT_TRUE(engine->Flush(family).ok());
    }
    EXPECT_TRUE(engine->Close().ok());
    return found;
  }
  int OneOfBad() const {
    for (const auto& [i, shard] : shards_) {
      if (shard == bad_) return i;
    }
    return 0;
  }
  // What the damaged shard has in its log and in tables, while the store is closed.
  struct Moment {
    Rows log, index, chunks;
  };
  Moment Now() { return {LogRows(bad_), EditData(IndexFamily(bad_), nullptr), EditData(ChunkFamily(bad_), nullptr)}; }
  // A checkpoint begins, and a crash cuts it short; then the log is as `log`.
  enum class Cut { kInHashes, kInPostings };
  void CheckpointCutShort(const Moment& before, const Rows& log, Cut where = Cut::kInHashes) {
    store_.Open();
    store_.Checkpoint();
    store_.KillWithoutOpening();
    CutIndex(bad_, before.index, where);
    EditData(ChunkFamily(bad_), [&](Rows* rows) { *rows = before.chunks; });
    SetLogRows(bad_, log);
  }
  // Series of the damaged shard that were not there before.
  std::vector<int> WriteNewSeries(int count) {
    std::vector<int> made;
    auto appender = store_->NewAppender();
    for (; static_cast<int>(made.size()) < count; ++next_) {
      const std::uint64_t id = appender->Ref(Numbered(next_)).value().id;
      if (static_cast<std::uint32_t>(id >> 32) - 1 == bad_) made.push_back(next_);
    }
    appender.reset();
    EXPECT_TRUE(store_->Flush().ok());
    return made;
  }
  ShardLoss Accept() {
    store_.options().accept_data_loss = true;
    store_.Open();
    store_.options().accept_data_loss = false;
    for (const ShardLoss& loss : store_->Stats().losses) {
      if (loss.shard == bad_) return loss;
    }
    ADD_FAILURE() << "no loss of shard " << bad_;
    return {};
  }
  void ExpectSound() {
    store_.Close();
    VerifyOptions how;
    how.store.engines = store_.options().engines;
    const Result<VerifyReport> report = VerifyStore(store_.path(), how, {});
    ASSERT_TRUE(report.ok()) << report.status().ToString();
    EXPECT_THAT(report->problems, IsEmpty());
    EXPECT_THAT(report->notes, IsEmpty());
    store_.Open();
  }
  // By its own label, which takes more than its labels row; also those without samples.
  std::vector<std::string> Only(int n) {
    std::vector<std::string> names;
    auto set = store_->Select({Matcher::Equal("i", std::to_string(n))}, {});
    EXPECT_TRUE(set.ok()) << set.status().ToString();
    while (set.ok() && (*set)->Next()) names.push_back((*set)->labels().ToString());
    return names;
  }

  // The index as it was before the last checkpoint, and what that wrote of labels rows, and of hash rows each second one; or all,
  // and the postings of every series, which come first.
  void CutIndex(ShardId shard, const Rows& before, Cut where = Cut::kInHashes) {
    EditData(IndexFamily(shard), [&](Rows* rows) {
      Rows cut = before;
      int hashes = 0, postings = 0;
      for (const auto& [key, value] : *rows) {
        bool take = key[0] == index_rows::kLabelsPrefix;
        if (key[0] == index_rows::kHashPrefix) take = where == Cut::kInPostings || ++hashes % 2 == 0;
        if (key[0] == index_rows::kPostingsPrefix) take = where == Cut::kInPostings && ++postings == 1;
        if (take) cut[key] = value;
      }
      *rows = cut;
    });
  }

  int next_ = kSeries;  // of new series
};
INSTANTIATE_TEST_SUITE_P(Engines, CutCheckpointLoss, AllEngines(), EngineName);

TEST_P(CutCheckpointLoss, SamplesThatTheLogHasAreFoundThoughItLostTheirSeries) {
  Fill();
  store_.Open();
  const Lsn before = store_->Stats().shards.at(bad_).last_lsn;
  const std::vector<int> made = WriteNewSeries(6);
  const Lsn created = store_->Stats().shards.at(bad_).last_lsn;
  for (const int n : made) store_.Write(Numbered(n), {{t_, 0.5 * n}});
  store_.KillWithoutOpening();
  const Moment moment = Now();
  Rows log = moment.log;
  std::size_t erased = 0;
  for (Lsn lsn = before + 1; lsn <= created; ++lsn) erased += log.erase(WalKey(lsn));
  ASSERT_GT(erased, 0U);
  CheckpointCutShort(moment, log);

  const ShardLoss loss = Accept();
  ASSERT_EQ(loss.lost.size(), 1U);
  EXPECT_EQ(loss.lost[0].last, created);
  EXPECT_EQ(loss.dropped_samples, 0U);
  for (const int n : made) {
    contents_[Numbered(n).ToString()][t_] = Shown(0.5 * n);
    EXPECT_EQ(Only(n), std::vector<std::string>{Numbered(n).ToString()});
  }
  EXPECT_EQ(store_.Read(), contents_);
  ExpectSound();
  EXPECT_EQ(store_.Read(), contents_);
}

TEST_P(CutCheckpointLoss, WhereNothingOfTheLogIsLeftNoneOfTheirIdsIsUsedAgain) {
  store_.Open();
  WriteRound();
  auto appender = store_->NewAppender();
  std::map<std::uint32_t, int> series;
  for (int i = 0; i < kSeries; ++i) ++series[static_cast<std::uint32_t>(appender->Ref(Numbered(i)).value().id >> 32) - 1];
  appender.reset();
  for (const auto& [shard, n] : series) bad_ = n > series[bad_] ? shard : bad_;
  store_.KillWithoutOpening();
  CheckpointCutShort(Now(), {});
  std::ofstream(store_.path() + "/UNFINISHED") << bad_ << " \n";

  const ShardLoss loss = Accept();
  EXPECT_EQ(loss.uncertain_from, 1U) << "all of it";
  EXPECT_TRUE(loss.lost.empty());
  const auto stored = static_cast<std::uint64_t>(series[bad_]);
  EXPECT_EQ(store_->Stats().shards.at(bad_).series_total, stored);
  ExpectSound();
  WriteRound();
  const std::vector<int> made = WriteNewSeries(20);
  for (const int n : made) store_.Write(Numbered(n), {{t_, 1.0 * n}});
  ExpectSound();
  EXPECT_EQ(store_->Stats().shards.at(bad_).series_total, stored + made.size()) << "they are found when they are written again";
  for (int i = 0; i < made.back(); ++i) {
    const bool there = i < kSeries || std::find(made.begin(), made.end(), i) != made.end();
    EXPECT_EQ(Only(i), there ? std::vector<std::string>{Numbered(i).ToString()} : std::vector<std::string>()) << i;
  }
  // As many are left out as an unknown number of lost records may have used, behind all that are stored.
  auto appender2 = store_->NewAppender();
  EXPECT_GE(appender2->Ref(Numbered(made.front())).value().id & 0xffffffff, stored + 65'536);
}

// The record of the removal is there, the one of the creation is not.
TEST_P(CutCheckpointLoss, ASeriesThatTheLogRemovesDoesNotComeBack) {
  Fill();
  store_.Open();
  const Lsn before = store_->Stats().shards.at(bad_).last_lsn;
  const int made = WriteNewSeries(1)[0];
  const auto id = store_->NewAppender()->Ref(Numbered(made)).value().id;
  const Lsn created = store_->Stats().shards.at(bad_).last_lsn;
  store_.Write(Numbered(OneOfBad()), {{t_, 7}});
  contents_[Numbered(OneOfBad()).ToString()][t_] = Shown(7.0);
  store_.KillWithoutOpening();
  const Moment moment = Now();
  Rows log = moment.log;
  const auto last = std::prev(log.upper_bound(WalKey(~Lsn{0} - 1)));
  WalRowHeader header = HeaderOf(bad_, last->first, last->second);
  header.first_lsn += header.records;
  header.records = 1;
  ++header.group;
  std::string record;
  const Ordinal ordinal = static_cast<Ordinal>(id);
  AppendRemoveSeriesRecord({&ordinal, 1}, &record);
  WalRowEncoder().Append(bad_, header, record, false, &log[WalKey(header.first_lsn)]);
  for (Lsn lsn = before + 1; lsn <= created; ++lsn) log.erase(WalKey(lsn));
  CheckpointCutShort(moment, log);
  Accept();
  EXPECT_THAT(Only(made), IsEmpty());
  EXPECT_EQ(store_.Read(), contents_);
  ExpectSound();
}

// Nothing shows that the logs of the others have lost their ends, too.
TEST_P(CutCheckpointLoss, ShardsThatMayHaveLostTheSameAreFinishedToo) {
  Fill();
  const ShardId shards = ReadStoreManifest(store_.path()).value().shards;
  std::map<ShardId, Rows> logs, indexes, chunks;
  for (ShardId shard = 0; shard < shards; ++shard) {
    logs[shard] = LogRows(shard);
    indexes[shard] = EditData(IndexFamily(shard), nullptr);
    chunks[shard] = EditData(ChunkFamily(shard), nullptr);
  }
  store_.Open();
  for (int n = kSeries; n < 2 * kSeries; ++n) store_.Write(Numbered(n), {{t_, 1}});
  store_.Checkpoint();
  const Contents stored = store_.Read();
  store_.KillWithoutOpening();
  // The first has stored it all, of the others the checkpoint had come to the labels; the newest of all logs is lost.
  for (ShardId shard = 0; shard < shards; ++shard) {
    SetLogRows(shard, logs[shard]);
    if (shard == bad_) continue;
    CutIndex(shard, indexes[shard]);
    EditData(ChunkFamily(shard), [&](Rows* rows) { *rows = chunks[shard]; });
  }
  Accept();
  EXPECT_EQ(store_->Stats().losses.size(), shards);
  ExpectSound();
  for (int n = 0; n < 2 * kSeries; ++n) {
    store_.Write(Numbered(n), {{t_ + 1, 2}});
    EXPECT_EQ(Only(n), std::vector<std::string>{Numbered(n).ToString()});
  }
  ExpectSound();
}

// Accepting a loss that there is not: the log repeats what the checkpoint had begun, and nothing is told.
TEST_P(CutCheckpointLoss, AWholeLogFinishesItAndNothingIsLost) {
  for (const Cut where : {Cut::kInHashes, Cut::kInPostings}) {
    SCOPED_TRACE(where == Cut::kInHashes ? "in hash rows" : "in postings");
    if (where == Cut::kInHashes) {
      Fill();
      store_.Open();
    }
    const std::vector<int> made = WriteNewSeries(8);
    for (const int n : made) {
      store_.Write(Numbered(n), {{t_, 0.5 * n}});
      contents_[Numbered(n).ToString()][t_] = Shown(0.5 * n);
    }
    ++t_;
    store_.KillWithoutOpening();
    const Moment whole = Now();
    CheckpointCutShort(whole, whole.log, where);
    store_.options().accept_data_loss = true;
    store_.Open();
    store_.options().accept_data_loss = false;
    EXPECT_TRUE(store_->Stats().losses.empty());
    EXPECT_EQ(store_.Read(), contents_);
    store_.Checkpoint();
    for (const int n : made) EXPECT_EQ(Only(n), std::vector<std::string>{Numbered(n).ToString()});
    ExpectSound();
    EXPECT_EQ(store_.Read(), contents_);
  }
}

// Only the rows of the checkpoint show that the log went further.
TEST_P(CutCheckpointLoss, ALostEndThatNothingElseShowsIsTold) {
  Fill();
  store_.Open();
  store_.KillWithoutOpening();
  const Moment before = Now();
  store_.Open();
  const Lsn last = store_->Stats().shards.at(bad_).last_lsn;
  const std::vector<int> made = WriteNewSeries(3);
  for (const int n : made) store_.Write(Numbered(n), {{t_, 1}});
  store_.KillWithoutOpening();
  CheckpointCutShort(before, before.log);
  const ShardLoss loss = Accept();
  EXPECT_TRUE(loss.lost.empty());
  EXPECT_GT(loss.uncertain_from, 0U);
  EXPECT_LE(loss.uncertain_from, last + 1);
  for (const int n : made) store_.Write(Numbered(n), {{t_, 2}});
  store_.Kill();
  for (const int n : made) EXPECT_EQ(Only(n), std::vector<std::string>{Numbered(n).ToString()});
  ExpectSound();
}

}  // namespace
}  // namespace chronolith::ops
