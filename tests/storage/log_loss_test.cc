// A shard whose log has lost records, or has some that do not decode, refuses by name while the others serve; nothing of its log or
// data is changed, and with the log put back nothing that was acknowledged is missing.
#include <filesystem>
#include <fstream>

#include "tests/storage/log_loss_fixture.h"

namespace chronolith {
namespace {

class LogLoss : public LogLossTest {
 protected:
  std::string Command() const { return "chronolith recover --accept-data-loss " + store_.path(); }
  // The data instance holds all of the shard up to here.
  Lsn Stored() {
    Options options = store_.options();
    options.read_only = true;
    auto reader = Storage::Open(options, store_.path());
    EXPECT_TRUE(reader.ok()) << reader.status().ToString();
    return reader.ok() ? (*reader)->Stats().shards.at(bad_).applied_lsn : 0;
  }
  Lsn stored_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Engines, LogLoss, AllEngines(), EngineName);

// What `damage` does to the rows of one shard's log quarantines exactly that shard, again and again; put back, all is there.
TEST_P(LogLoss, QuarantinesItsShardAndTheLogPutBackLosesNothing) {
  Fill();
  struct Case {
    const char* name;
    std::function<std::string(LogLossTest::Rows*)> damage;  // returns what the message must say
  };
  const Case cases[] = {
      {"a row is missing",
       [&](Rows* rows) {
         const auto it = Nth(rows, 5);
         const WalRowHeader gone = HeaderOf(bad_, it->first, it->second);
         rows->erase(it);
         const std::string last = gone.records == 1 ? "" : " to " + std::to_string(gone.first_lsn + gone.records - 1);
         return "lacks LSN " + std::to_string(gone.first_lsn) + last + ": the row in front ends at LSN " +
                std::to_string(gone.first_lsn - 1);
       }},
      {"many rows are missing, with the first that is not trimmed",
       [&](Rows* rows) {
         WalRowHeader gone;
         for (int i = 0; i < 8; ++i) {
           gone = HeaderOf(bad_, Nth(rows, 0)->first, Nth(rows, 0)->second);
           rows->erase(Nth(rows, 0));
         }
         const Lsn last = gone.first_lsn + gone.records - 1;
         return "lacks LSN " + std::to_string(stored_ + 1) + " to " + std::to_string(last) + ": it is trimmed up to LSN " +
                std::to_string(stored_) + ", the row behind begins at LSN " + std::to_string(last + 1);
       }},
      {"a flipped bit",
       [&](Rows* rows) {
         Nth(rows, 7)->second[4] ^= 1;
         return std::string("has a wrong checksum");
       }},
      {"a record that is none",
       [&](Rows* rows) {
         const auto it = Nth(rows, 9);
         WalRowHeader header = HeaderOf(bad_, it->first, it->second);
         it->second.clear();
         WalRowEncoder().Append(bad_, header, "no record at all", false, &it->second);
         return "LSN " + std::to_string(header.first_lsn);
       }},
      {"a state that is none",
       [&](Rows* rows) {
         (*rows)[std::string(kWalStateKey)] = "no state";
         return "log state of shard " + std::to_string(bad_);
       }},
      {"trimmed beyond the data",
       [&](Rows* rows) {
         const Lsn trimmed_to = HeaderOf(bad_, Nth(rows, 4)->first, Nth(rows, 4)->second).first_lsn;
         (*rows)[std::string(kWalStateKey)] = EncodeWalState(bad_, trimmed_to);
         rows->erase(Nth(rows, 0), Nth(rows, 5));
         return "lacks LSN " + std::to_string(stored_ + 1) + " to " + std::to_string(trimmed_to) + ": it was trimmed up to LSN " +
                std::to_string(trimmed_to) + ", but the data instance holds records only up to " + std::to_string(stored_);
       }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Rows whole = LogRows(bad_);
    Rows damaged = whole;
    stored_ = Stored();
    const std::string says = c.damage(&damaged);
    SetLogRows(bad_, damaged);
    store_.Open();
    const auto check = [&] {
      EXPECT_EQ(Quarantined(), (std::set<std::uint32_t>{bad_}));
      const std::string why = store_->Stats().shards.at(bad_).quarantine;
      EXPECT_THAT(why, HasSubstr(says));
      EXPECT_THAT(why, HasSubstr("wal." + std::to_string(bad_)));
      EXPECT_THAT(why, HasSubstr("shard " + std::to_string(bad_)));
      EXPECT_THAT(why, HasSubstr(store_.path() + "/log"));
      EXPECT_THAT(why, HasSubstr(Command()));
      EXPECT_EQ(store_->Select({}, {}).status().code(), StatusCode::kDataLoss);
      EXPECT_EQ(ReadPartly(), Without({bad_}));
    };
    check();
    WriteAround({bad_});
    store_.Checkpoint();
    WriteAround({bad_});
    store_.Kill();
    check();
    store_.Compact();
    WriteAround({bad_});
    store_.Restart();
    check();
    store_.Close();
    EXPECT_EQ(LogRows(bad_), damaged) << "the log of a shard that does not serve was changed";
    {
      Options options = store_.options();
      options.read_only = true;
      auto reader = Storage::Open(options, store_.path());
      ASSERT_TRUE(reader.ok()) << reader.status().ToString();
      EXPECT_THAT((*reader)->Stats().shards.at(bad_).quarantine, HasSubstr(says));
      EXPECT_THAT((*reader)->Stats().shards.at(bad_).quarantine, HasSubstr(Command()));
    }
    SetLogRows(bad_, whole);
    store_.Open();
    EXPECT_EQ(Quarantined(), std::set<std::uint32_t>{});
    EXPECT_EQ(store_.Read(), contents_);
    for (int i = 0; i < 2; ++i) {
      WriteAround({});
      store_.Kill();
      EXPECT_EQ(store_.Read(), contents_);
    }
    store_.Checkpoint();
    for (int i = 0; i < 3; ++i) WriteRound();
    store_.KillWithoutOpening();
  }
}

// Bytes of the log hold rows of all shards. Where those of one shard are missing, one whose log does not go on behind them may have
// lost its end there, and nothing says whether it has.
TEST_P(LogLoss, AShardWhoseLogIsNotNewerThanTheHoleIsNotTrusted) {
  Fill();
  const std::uint32_t silent = (bad_ + 1) % 4;
  store_.Open();
  for (int i = 0; i < kSeries; ++i) {
    if (shards_.at(i) == silent) continue;
    for (int n = 0; n < 3; ++n) {
      store_.Write(Numbered(i), {{t_ + n, 1}});
      contents_[Numbered(i).ToString()][t_ + n] = Shown(1.0);
    }
  }
  t_ += 3;
  store_.KillWithoutOpening();
  const Rows whole = LogRows(bad_);
  Rows damaged = whole;
  const auto last = std::prev(damaged.upper_bound(WalKey(~0ULL)));
  damaged.erase(std::prev(last));
  SetLogRows(bad_, damaged);
  store_.options().wait_for_replay = false;  // it must not serve before that is known, either
  store_.Open();
  EXPECT_TRUE(store_->WaitReady().ok());
  const std::set<std::uint32_t> quarantined = Quarantined();
  EXPECT_TRUE(quarantined.contains(bad_) && quarantined.contains(silent));
  store_.Close();
  store_.options().wait_for_replay = true;
  store_.Open();
  EXPECT_EQ(Quarantined(), quarantined);
  EXPECT_THAT(store_->Stats().shards.at(silent).quarantine, HasSubstr("nothing in this one is newer"));
  EXPECT_EQ(ReadPartly(), Without(quarantined));
  WriteAround(quarantined);
  store_.Close();
  // Nor where one that gave up the hole stored what is behind it, and did not come to its end.
  std::ofstream(store_.path() + "/UNFINISHED") << bad_ << "-1 \n";
  store_.Open();
  EXPECT_EQ(Quarantined(), quarantined);
  store_.Close();
  std::filesystem::remove(store_.path() + "/UNFINISHED");
  SetLogRows(bad_, whole);
  store_.Open();
  EXPECT_EQ(store_.Read(), contents_);
  WriteAround({});
  store_.Kill();
  EXPECT_EQ(store_.Read(), contents_);
}

// The log ends before what is stored: the rows of all shards that were written behind the cut are gone, seen or not, unless a later
// opening has said where their logs ended.
TEST_P(LogLoss, ALogThatEndsBeforeTheDataRefusesAllThatNoLaterOpeningVouchesFor) {
  Fill();
  for (const bool opened_since : {false, true}) {
    SCOPED_TRACE(opened_since ? "opened since" : "not opened since");
    store_.Open();
    WriteRound();
    store_.Checkpoint();
    if (opened_since) store_.Kill();
    store_.KillWithoutOpening();
    const Rows whole = LogRows(bad_);
    Rows cut = {{std::string(kWalStateKey), EncodeWalState(bad_, 3)}};
    const Lsn stored = Stored();
    SetLogRows(bad_, cut);
    const auto names_all = [&](const std::string& message) {
      EXPECT_THAT(message, HasSubstr("family wal." + std::to_string(bad_) + " of " + store_.path() + "/log: the log of shard " +
                                     std::to_string(bad_) + " lacks LSN 4 to " + std::to_string(stored) +
                                     ": it ends at LSN 3, but the data instance holds records up to " + std::to_string(stored)));
      EXPECT_THAT(message, HasSubstr(Command()));
    };
    {
      Options options = store_.options();
      options.read_only = true;
      const auto reader = Storage::Open(options, store_.path());
      ASSERT_EQ(reader.status().code(), StatusCode::kDataLoss);
      names_all(reader.status().message());
    }
    const Status status = store_.TryOpen();
    if (opened_since) {
      ASSERT_TRUE(status.ok()) << status.ToString();
      EXPECT_EQ(Quarantined(), (std::set<std::uint32_t>{bad_}));
      names_all(store_->Stats().shards.at(bad_).quarantine);
      WriteAround({bad_});
      EXPECT_EQ(ReadPartly(), Without({bad_}));
      store_.Close();
    } else {
      EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status.ToString();
      EXPECT_THAT(status.message(), HasSubstr("no shard is left to serve"));
      EXPECT_THAT(status.message(), HasSubstr("log files were lost"));
      names_all(status.message());
    }
    EXPECT_EQ(LogRows(bad_), cut);
    SetLogRows(bad_, whole);
    store_.Open();
    EXPECT_EQ(store_.Read(), contents_);
    store_.Close();
  }
}

}  // namespace
}  // namespace chronolith
