// The part of the contract that concerns a running engine: writes, reads, cursors, merges, epochs. engine_lifecycle_test.cc has
// opening, durability and copies.
#include <atomic>
#include <thread>

#include "tests/contract/engine_fixture.h"
#include "tests/support/verify_files.h"

namespace chronolith {
namespace {

class EngineContract : public EngineTest {
 protected:
  void SetUp() override { Open(); }
};

TEST_P(EngineContract, ReturnsWhatWasPutUntilItIsDeleted) {
  EXPECT_EQ(Read(kPlain, "k"), "NOT_FOUND");
  for (const Durability d : kAllDurabilities) {
    MustWrite(kPlain, {PutOp("k", "v")}, d);
    EXPECT_EQ(Read(kPlain, "k"), "v");
    MustWrite(kPlain, {DeleteOp("k"), DeleteOp("never there")}, d);
    EXPECT_EQ(Read(kPlain, "k"), "NOT_FOUND");
  }
}

TEST_P(EngineContract, LaterOperationsOfABatchWin) {
  MustWrite(kPlain, {PutOp("a", "1"), PutOp("a", "2"), PutOp("b", "1"), DeleteOp("b"), PutOp("c", "1"), DeleteRangeOp("c", "d"),
                     PutOp("c", "2"), DeleteRangeOp("x", "y"), PutOp("x", "1"), DeleteRangeOp("x", "y")});
  EXPECT_EQ(Scan(kPlain), "a=2 c=2 ");
}

TEST_P(EngineContract, OrdersKeysByTheirBytes) {
  using namespace std::string_view_literals;
  MustWrite(kPlain, {PutOp("\xff", "6"), PutOp("b", "5"), PutOp("a\0b"sv, "3"), PutOp("a", "2"), PutOp("", "1"), PutOp("aa", "4")});
  std::string order;
  auto cursor = engine_->NewIterator(kPlain, {});
  ASSERT_TRUE(cursor.ok());
  for ((*cursor)->Seek(""); (*cursor)->Valid(); (*cursor)->Next()) order += (*cursor)->value();
  EXPECT_EQ(order, "123456");
  EXPECT_EQ(Read(kPlain, "a\0b"sv), "3");
  EXPECT_EQ(Read(kPlain, ""), "1");
}

TEST_P(EngineContract, KeepsEmptyAndLargeValues) {
  const std::string large(engine_->limits().value_bytes_max, '\0');
  const std::string long_key(engine_->limits().key_bytes_max, 'k');
  MustWrite(kPlain, {PutOp("empty", ""), PutOp(long_key, large)});
  EXPECT_EQ(Read(kPlain, "empty"), "");
  EXPECT_EQ(Read(kPlain, long_key), large);
}

TEST_P(EngineContract, FamiliesAreIndependent) {
  MustWrite(kPlain, {PutOp("k", "plain")});
  MustWrite(kMerging, {PutOp("k", "merging")});
  MustWrite(kPlain, {DeleteRangeOp("", "z")});
  EXPECT_EQ(Scan(kPlain), "");
  EXPECT_EQ(Scan(kMerging), "k=merging ");
}

TEST_P(EngineContract, WritingABatchTwiceIsWritingItOnce) {
  for (int i = 0; i < 2; ++i)
    MustWrite(kPlain, {PutOp("b", "0"), DeleteRangeOp("a", "c"), PutOp("a", "1"), DeleteOp("d"), PutOp("c", "2")});
  EXPECT_EQ(Scan(kPlain), "a=1 c=2 ");
}

TEST_P(EngineContract, DeletesHalfOpenRanges) {
  for (const char* k : {"a", "b", "c", "d"}) MustWrite(kPlain, {PutOp(k, k)});
  ASSERT_TRUE(engine_->Flush(kPlain).ok());
  MustWrite(kPlain, {DeleteRangeOp("b", "d"), DeleteRangeOp("a", "a")});
  EXPECT_EQ(Scan(kPlain), "a=a d=d ");
  EXPECT_EQ(WriteTo(kPlain, {DeleteRangeOp("d", "a")}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Scan(kPlain), "a=a d=d ");
}

TEST_P(EngineContract, CursorsStayWithinTheirBounds) {
  for (const char* k : {"a", "c", "e", "g"}) MustWrite(kPlain, {PutOp(k, "")});
  struct Row {
    std::string lower;
    std::optional<std::string> upper;
    std::string seek;
    std::string rows;
  };
  const Row rows[] = {
      {"", std::nullopt, "", "a= c= e= g= "},
      {"", std::nullopt, "b", "c= e= g= "},
      {"", std::nullopt, "h", ""},
      {"c", std::nullopt, "", "c= e= g= "},
      {"c", "g", "", "c= e= "},
      {"b", "f", "a", "c= e= "},
      {"b", "f", "d", "e= "},
      {"b", "f", "f", ""},
      {"b", "f", "z", ""},
      {"", "a", "", ""},
      {"e", "e", "e", ""},
      {"g", "a", "b", ""},
      {"", "", "", ""},
      {"h", std::nullopt, "a", ""},
      {"", "e", "c", "c= "},
  };
  for (const bool flushed : {false, true}) {
    for (const Row& row : rows) {
      IterateOptions options{row.lower, row.upper, !flushed};
      EXPECT_EQ(Scan(kPlain, options, row.seek), row.rows) << row.lower << ".." << row.upper.value_or("end") << " at " << row.seek;
    }
    ASSERT_TRUE(engine_->Flush(kPlain).ok());
  }
}

TEST_P(EngineContract, ACursorSeesTheFamilyAsItWas) {
  MustWrite(kPlain, {PutOp("a", "1"), PutOp("b", "1"), PutOp("c", "1")});
  auto cursor = engine_->NewIterator(kPlain, {});
  ASSERT_TRUE(cursor.ok());
  EXPECT_FALSE((*cursor)->Valid());  // not placed yet
  MustWrite(kPlain, {PutOp("a", "2"), DeleteOp("b"), PutOp("d", "2"), DeleteRangeOp("c", "d")});
  ASSERT_TRUE(engine_->Flush(kPlain).ok());
  std::string rows;
  for ((*cursor)->Seek(""); (*cursor)->Valid(); (*cursor)->Next()) rows.append((*cursor)->key()).append((*cursor)->value());
  EXPECT_EQ(rows, "a1b1c1");
  EXPECT_EQ(Scan(kPlain), "a=2 d=2 ");
}

TEST_P(EngineContract, MultiGetAnswersEachKey) {
  MustWrite(kPlain, {PutOp("a", "1"), PutOp("c", "3")});
  ASSERT_TRUE(engine_->Flush(kPlain).ok());
  MustWrite(kPlain, {PutOp("b", "2")});
  const std::string_view keys[] = {"c", "absent", "a", "b", "a"};
  std::vector<std::string> values(1, "old");
  std::vector<Status> statuses;
  engine_->MultiGet(kPlain, keys, &values, &statuses);
  EXPECT_EQ(values, std::vector<std::string>({"3", "", "1", "2", "1"}));
  ASSERT_EQ(statuses.size(), 5U);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(statuses[i].code(), i == 1 ? StatusCode::kNotFound : StatusCode::kOk);
  engine_->MultiGet(kPlain, {}, &values, &statuses);
  EXPECT_TRUE(values.empty());
}

TEST_P(EngineContract, RefusesWhatIsOverTheLimitsAndLeavesTheOtherBatchesAlone) {
  const Limits limits = engine_->limits();
  const std::string long_key(limits.key_bytes_max + 1, 'k');
  const std::string long_value(limits.value_bytes_max + 1, 'v');
  const std::string value(limits.value_bytes_max, 'v');
  const std::vector<Op> much(limits.batch_bytes_max / value.size() + 1, PutOp("k", value));
  const std::vector<Op> bad[] = {{PutOp("applied?", "1"), PutOp(long_key, "")},
                                 {PutOp("applied?", "1"), PutOp("k", long_value)},
                                 {PutOp("applied?", "1"), DeleteRangeOp("a", long_key)},
                                 {PutOp("applied?", "1"), MergeOp("k", "no merge here")},
                                 {DeleteOp(long_key)},
                                 much};
  const std::vector<Op> good = {PutOp("good", "1")};
  for (const std::vector<Op>& ops : bad) {
    MustWrite(kPlain, {DeleteOp("good")});
    const Batch batches[] = {{kPlain, "1", 0, good}, {kPlain, "2", 0, ops}, {99, "3", 0, good}, {kMerging, "4", 0, good}};
    const Outcomes outcomes = engine_->Write(batches, {});
    ASSERT_EQ(outcomes.size(), 4U);
    EXPECT_TRUE(outcomes[0].ok());
    EXPECT_EQ(outcomes[1].code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(outcomes[2].code(), StatusCode::kInvalidArgument);
    EXPECT_TRUE(outcomes[3].ok());
    EXPECT_EQ(Scan(kPlain), "good=1 ");
  }
}

TEST_P(EngineContract, AcceptsNothingToDo) {
  EXPECT_TRUE(engine_->Write({}, {}).empty());
  EXPECT_TRUE(WriteTo(kPlain, {}).ok());
  EXPECT_TRUE(engine_->Flush(std::span<const FamilyId>()).ok());
  EXPECT_TRUE(engine_->Flush(kPlain).ok());
  EXPECT_TRUE(engine_->SyncLog().ok());
  EXPECT_TRUE(engine_->Compact(kPlain, "", std::nullopt).ok());
}

TEST_P(EngineContract, RefusesFamiliesThatDoNotExist) {
  std::string value;
  EXPECT_EQ(engine_->Get(99, "k", &value).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(engine_->NewIterator(99, {}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(engine_->Flush(99).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(engine_->AcquireEpoch(99, 1).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(engine_->CurrentEpoch(99).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(engine_->Compact(99, "", std::nullopt).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(VerifyFiles(engine_.get(), 99).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(engine_->ExpireRange(99, "a", "b").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(engine_->EstimateBytes(99, "a", "b").status().code(), StatusCode::kInvalidArgument);
}

TEST_P(EngineContract, DoesNothingAfterTheDeadline) {
  const Deadline past = std::chrono::steady_clock::now() - std::chrono::seconds(1);
  const Deadline future = std::chrono::steady_clock::now() + std::chrono::hours(1);
  const std::vector<Op> ops = {PutOp("k", "v")};
  const Batch batch{kPlain, "k", 0, ops};
  EXPECT_EQ(engine_->Write(std::span(&batch, 1), {.deadline = past}).at(0).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Read(kPlain, "k"), "NOT_FOUND");
  EXPECT_TRUE(engine_->Write(std::span(&batch, 1), {.deadline = future, .no_stall = true}).at(0).ok());
  std::string value;
  EXPECT_EQ(engine_->Get(kPlain, "k", &value, ReadTier::kLatest, past).code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(engine_->Get(kPlain, "k", &value, ReadTier::kLatest, future).ok());
  const std::string_view keys[] = {"k"};
  std::vector<std::string> values;
  std::vector<Status> statuses;
  engine_->MultiGet(kPlain, keys, &values, &statuses, past);
  EXPECT_EQ(statuses.at(0).code(), StatusCode::kDeadlineExceeded);
}

TEST_P(EngineContract, FoldsMergesInTheirOrder) {
  MustWrite(kMerging, {MergeOp("a", "1"), MergeOp("a", "2")});
  EXPECT_EQ(Read(kMerging, "a"), "1,2");
  ASSERT_TRUE(engine_->Flush(kMerging).ok());
  MustWrite(kMerging, {MergeOp("a", "3"), PutOp("b", "x"), MergeOp("b", "4"), PutOp("c", "y"), DeleteOp("c"), MergeOp("c", "5"),
                       DeleteRangeOp("d", "e"), MergeOp("d", "6")});
  const std::string expected = "a=1,2,3 b=x,4 c=5 d=6 ";
  EXPECT_EQ(Scan(kMerging), expected);
  ASSERT_TRUE(engine_->Flush(kMerging).ok());
  EXPECT_EQ(Scan(kMerging), expected);
  ASSERT_TRUE(engine_->Compact(kMerging, "", std::nullopt).ok());
  EXPECT_EQ(Scan(kMerging), expected);
  MustWrite(kMerging, {MergeOp("a", "4")});
  EXPECT_EQ(Read(kMerging, "a"), "1,2,3,4");
}

TEST_P(EngineContract, AMergeOfDamagedInputIsDataLossForReadersOfThatKey) {
  MustWrite(kMerging, {PutOp("a", "1"), MergeOp("b", "2"), MergeOp("b", "damaged!"), PutOp("c", "3")});
  EXPECT_EQ(Read(kMerging, "b"), "DATA_LOSS");
  EXPECT_EQ(Read(kMerging, "a"), "1");
  auto cursor = engine_->NewIterator(kMerging, {});
  ASSERT_TRUE(cursor.ok());
  (*cursor)->Seek("b");
  EXPECT_FALSE((*cursor)->Valid());
  EXPECT_EQ((*cursor)->status().code(), StatusCode::kDataLoss);
  (*cursor)->Seek("c");
  EXPECT_TRUE((*cursor)->Valid());
  MustWrite(kMerging, {PutOp("b", "whole again")});
  EXPECT_EQ(Read(kMerging, "b"), "whole again");
}

TEST_P(EngineContract, CompactionDropsWhatTheFilterTellsIt) {
  MustWrite(kDropping, {PutOp("a", "drop"), PutOp("b", "keep"), PutOp("c", "drop")});
  MustWrite(kPlain, {PutOp("a", "drop")});
  ASSERT_TRUE(engine_->Compact(kDropping, "", std::nullopt).ok());
  ASSERT_TRUE(engine_->Compact(kPlain, "", std::nullopt).ok());
  EXPECT_EQ(Scan(kDropping), "b=keep ");
  EXPECT_EQ(Scan(kPlain), "a=drop ");
  ASSERT_TRUE(engine_->Compact(kDropping, "", std::nullopt).ok());  // also where all lies at the last level
  MustWrite(kDropping, {PutOp("d", "drop")});
  ASSERT_TRUE(engine_->Compact(kDropping, "c", "e").ok());
  EXPECT_EQ(Scan(kDropping), "b=keep ");
}

TEST_P(EngineContract, ExpireLeavesRowsOutsideTheRangeAlone) {
  for (const char* k : {"a", "b", "c"}) MustWrite(kPlain, {PutOp(k, "")});
  ASSERT_TRUE(engine_->Compact(kPlain, "", std::nullopt).ok());
  EXPECT_TRUE(engine_->ExpireRange(kPlain, "b", "c").ok());
  EXPECT_EQ(Read(kPlain, "a"), "");
  EXPECT_EQ(Read(kPlain, "c"), "");
  EXPECT_EQ(engine_->ExpireRange(kPlain, "c", "b").code(), StatusCode::kInvalidArgument);
}

TEST_P(EngineContract, ExpiresAFileThatLiesWithinTheRange) {
  MustWrite(kPlain, {PutOp("b", ""), PutOp("c", "")});
  ASSERT_TRUE(engine_->Compact(kPlain, "", std::nullopt).ok());
  EXPECT_TRUE(engine_->ExpireRange(kPlain, "a", "d").ok());
  EXPECT_EQ(Scan(kPlain), "");
}

TEST_P(EngineContract, RefusesTheWriterOfAnOlderEpoch) {
  EXPECT_EQ(*engine_->CurrentEpoch(kPlain), 0U);
  EXPECT_TRUE(WriteTo(kPlain, {PutOp("before", "")}, 0).ok());
  ASSERT_TRUE(engine_->AcquireEpoch(kPlain, 5).ok());
  EXPECT_EQ(*engine_->CurrentEpoch(kPlain), 5U);
  for (const Epoch epoch : {Epoch{1}, Epoch{4}, Epoch{5}})
    EXPECT_EQ(engine_->AcquireEpoch(kPlain, epoch).code(), StatusCode::kFenced);
  for (const Durability d : kAllDurabilities) {
    for (const Epoch epoch : {Epoch{0}, Epoch{1}, Epoch{4}}) {
      EXPECT_EQ(WriteTo(kPlain, {PutOp("stale", "")}, epoch, d).code(), StatusCode::kFenced);
    }
  }
  EXPECT_TRUE(WriteTo(kPlain, {PutOp("current", "")}, 5).ok());
  EXPECT_EQ(Scan(kPlain), "before= current= ");
  EXPECT_EQ(WriteTo(kPlain, {}, 4).code(), StatusCode::kFenced);
  EXPECT_NE(WriteTo(kPlain, {}, 4).message().find("5"), std::string::npos);
  EXPECT_TRUE(WriteTo(kMerging, {PutOp("other family", "")}, 1).ok());
}

TEST_P(EngineContract, FencesOneBatchOfAGroupAlone) {
  ASSERT_TRUE(engine_->AcquireEpoch(kPlain, 2).ok());
  const std::vector<Op> ops = {PutOp("k", "v")};
  const Batch batches[] = {{kMerging, "", 1, ops}, {kPlain, "", 1, ops}, {kDropping, "", 0, ops}};
  const Outcomes outcomes = engine_->Write(batches, {});
  EXPECT_TRUE(outcomes[0].ok());
  EXPECT_EQ(outcomes[1].code(), StatusCode::kFenced);
  EXPECT_TRUE(outcomes[2].ok());
  EXPECT_EQ(Read(kPlain, "k"), "NOT_FOUND");
  EXPECT_EQ(Read(kDropping, "k"), "v");
}

TEST_P(EngineContract, NoWriteOfTheOldEpochArrivesAfterTheNewOneWasAcquired) {
  ASSERT_TRUE(engine_->AcquireEpoch(kPlain, 1).ok());
  for (Epoch next = 2; next < 12; ++next) {
    std::atomic<int> written{0};
    StatusCode last = StatusCode::kOk;
    std::thread stale([&] {
      do {
        last = WriteTo(kPlain, {PutOp(std::to_string(next) + "/" + std::to_string(written++), "")}, next - 1).code();
      } while (last == StatusCode::kOk);
    });
    while (written < 5) std::this_thread::yield();
    ASSERT_TRUE(engine_->AcquireEpoch(kPlain, next).ok());
    const std::string rows = Scan(kPlain);
    stale.join();
    EXPECT_EQ(last, StatusCode::kFenced);
    EXPECT_EQ(Scan(kPlain), rows);
  }
}

TEST_P(EngineContract, AsynchronousWritesApplyInOrderAndReportOnce) {
  std::atomic<int> done{0};
  std::vector<std::string> values;
  for (int i = 0; i < 100; ++i) values.push_back(std::to_string(i));
  std::vector<Op> ops;
  for (const std::string& v : values) ops.push_back(PutOp("k", v));
  for (const Op& op : ops) {
    const Batch batches[] = {{kPlain, "k", 0, std::span(&op, 1)}, {99, "", 0, {}}};
    engine_->WriteAsync(batches, {.durability = Durability::kLogged}, [&](const Outcomes& outcomes) {
      EXPECT_EQ(outcomes.size(), 2U);
      EXPECT_TRUE(outcomes.at(0).ok());
      EXPECT_EQ(outcomes.at(1).code(), StatusCode::kInvalidArgument);
      ++done;
    });
  }
  MustWrite(kPlain, {PutOp("later", "")});  // comes after all of them
  while (done < 100) std::this_thread::yield();
  EXPECT_EQ(Read(kPlain, "k"), "99");
}

TEST_P(EngineContract, ABatchIsSeenWholeOrNotAtAll) {
  MustWrite(kPlain, {PutOp("a", "0"), PutOp("b", "0")});
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 1; i < 2000; ++i) {
      const std::string v = std::to_string(i);
      EXPECT_TRUE(WriteTo(kPlain, {PutOp("a", v), PutOp("b", v)}, 0, kAllDurabilities[i % 2]).ok());
      if (i % 500 == 0) (void)engine_->Flush(kPlain);
    }
    stop = true;
  });
  while (!stop) {
    auto cursor = engine_->NewIterator(kPlain, {});
    ASSERT_TRUE(cursor.ok());
    (*cursor)->Seek("a");
    ASSERT_TRUE((*cursor)->Valid());
    const std::string a((*cursor)->value());
    (*cursor)->Next();
    ASSERT_TRUE((*cursor)->Valid());
    EXPECT_EQ((*cursor)->value(), a);
  }
  writer.join();
}

TEST_P(EngineContract, TellsItsSizes) {
  const auto family = [&] { return engine_->Stats().families.at(kPlain); };
  EXPECT_EQ(family().name, "plain");
  EXPECT_EQ(family().buffered_bytes, 0U);
  EXPECT_EQ(family().oldest_log_number, 0U);
  const std::string value(10'000, 'x');
  MustWrite(kPlain, {PutOp("k", value)}, Durability::kLogged);
  EXPECT_GE(family().buffered_bytes, value.size());
  EXPECT_GT(family().oldest_log_number, 0U);
  EXPECT_GE(engine_->Stats().log_bytes, value.size());
  ASSERT_TRUE(engine_->Flush(kPlain).ok());
  EXPECT_EQ(family().buffered_bytes, 0U);
  EXPECT_EQ(family().oldest_log_number, 0U);
  EXPECT_EQ(family().file_count, 1U);
  EXPECT_GT(family().file_bytes, 0U);
  EXPECT_GT(*engine_->EstimateBytes(kPlain, "", "z"), 0U);
  EXPECT_EQ(*engine_->EstimateBytes(kPlain, "z", "a"), 0U);
  EXPECT_FALSE(engine_->Stats().writes_stopped);
  EXPECT_EQ(engine_->Stats().background_errors, 0U);
}

INSTANTIATE_TEST_SUITE_P(Engines, EngineContract, AllEngines(), EngineName);

}  // namespace
}  // namespace chronolith
