// The checker of histories against histories made by hand: it must refuse each broken promise, and nothing else.
#include "tests/model/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace chronolith {
namespace {

using testing::HasSubstr;

// A history as a small language: each call adds an operation to the last era.
class Story {
 public:
  struct Write {
    std::uint64_t invoked, returned;
    Timestamp t = 1;
    std::uint64_t version = 1;
    bool survives = false;
    bool deletes = false;
    int series = 0;
  };
  Story& Add(const Write& w) {
    eras_.back().writes.push_back({w.invoked, w.returned, w.series, 0, w.t, w.version, w.deletes, w.survives});
    return *this;
  }
  Story& Read(std::uint64_t invoked, std::uint64_t returned, SeenVersions seen, int series = 0) {
    eras_.back().reads.push_back({invoked, returned, series, std::move(seen)});
    return *this;
  }
  Story& Recovered(SeenVersions seen, int series = 0) {
    eras_.back().recovered[series] = std::move(seen);
    return *this;
  }
  Story& NextEra() {
    eras_.emplace_back();
    return *this;
  }
  std::string Check() const { return CheckHistory(eras_); }

 private:
  std::vector<HistoryEra> eras_{1};
};

// ---- What is allowed ----

TEST(History, NothingIsFine) { EXPECT_EQ(Story().Check(), ""); }

TEST(History, ReadsBesideAWriteMaySeeItOrNot) {
  EXPECT_EQ(Story().Add({1, 10}).Read(2, 3, {}).Read(4, 5, {{1, 1}}).Read(6, 7, {{1, 1}}).Recovered({{1, 1}}).Check(), "");
  EXPECT_EQ(Story().Add({1, 10}).Read(2, 9, {{1, 1}}).Read(3, 8, {}).Recovered({{1, 1}}).Check(), "");
}

TEST(History, ACrashMayDropASuffixThatWasNotAcknowledgedForIt) {
  Story dropped;
  dropped.Add({1, 2, 1, 1, true}).Add({3, 4, 2}).Add({5, 6, 3}).Read(7, 8, {{1, 1}, {2, 1}, {3, 1}});
  EXPECT_EQ(Story(dropped).Recovered({{1, 1}}).Check(), "");
  EXPECT_EQ(Story(dropped).Recovered({{1, 1}, {2, 1}}).Check(), "");
  EXPECT_EQ(Story(dropped).Recovered({{1, 1}, {2, 1}, {3, 1}}).Check(), "");
}

TEST(History, AWriteThatFailedMayHaveHappenedOrNot) {
  EXPECT_EQ(Story().Add({1, kNeverReturned}).Recovered({}).Check(), "");
  EXPECT_EQ(Story().Add({1, kNeverReturned}).Recovered({{1, 1}}).Check(), "");
  EXPECT_EQ(Story().Add({1, kNeverReturned}).Read(2, 3, {}).Read(4, 5, {{1, 1}}).Recovered({}).Check(), "");
}

TEST(History, LaterVersionsReplaceEarlierOnes) {
  EXPECT_EQ(Story().Add({1, 2, 1, 1}).Add({3, 6, 1, 2}).Read(4, 5, {{1, 1}}).Read(7, 8, {{1, 2}}).Recovered({{1, 2}}).Check(), "");
}

TEST(History, ADeletedSampleIsGone) {
  EXPECT_EQ(Story().Add({1, 2}).Add({3, 4, 1, 2, false, true}).Read(5, 6, {}).Recovered({}).Check(), "");
  EXPECT_EQ(Story().Add({1, 2}).Add({3, 4, 1, 2, false, true}).Recovered({{1, 1}}).Check(), "") << "the delete may be dropped";
}

TEST(History, AnEraBeginsWithWhatWasRecovered) {
  EXPECT_EQ(Story().Add({1, 2}).Recovered({{1, 1}}).NextEra().Read(3, 4, {{1, 1}}).Recovered({{1, 1}}).Check(), "");
  EXPECT_EQ(Story().Add({1, 2}).Recovered({}).NextEra().Read(3, 4, {}).Recovered({}).Check(), "");
}

// ---- What is not: every one of these must be refused ----

struct Bad {
  const char* what;
  Story story;
  const char* error;
};

class BadHistory : public testing::TestWithParam<Bad> {};

TEST_P(BadHistory, IsRefused) { EXPECT_THAT(GetParam().story.Check(), HasSubstr(GetParam().error)); }

std::vector<Bad> BadHistories() {
  const char* const kNoOrder = "no order fits";
  return {
      {"AReadAfterAnAcknowledgedWriteMissesIt", Story().Add({1, 2}).Read(3, 4, {}).Recovered({{1, 1}}), "lacks what is there"},
      {"AReadSeesAWriteThatBeganLater", Story().Add({3, 4}).Read(1, 2, {{1, 1}}).Recovered({{1, 1}}), kNoOrder},
      {"AReadSeesWhatNobodyWrote", Story().Add({1, 2}).Read(3, 4, {{1, 7}}).Recovered({{1, 1}}), "nobody wrote"},
      {"AReadSeesAnotherTimestamp", Story().Add({1, 2}).Read(3, 4, {{1, 1}, {2, 1}}).Recovered({{1, 1}}), "nobody wrote"},
      {"TheSecondReadSeesLessThanTheFirst", Story().Add({1, 10}).Read(2, 3, {{1, 1}}).Read(4, 5, {}).Recovered({{1, 1}}), kNoOrder},
      {"TwoReadsSeeTwoWritesInDifferentOrder",
       Story().Add({1, 20, 1}).Add({2, 21, 2}).Read(3, 10, {{1, 1}}).Read(4, 11, {{2, 1}}).Recovered({{1, 1}, {2, 1}}), kNoOrder},
      {"AReadSeesTheLaterOfTwoWritesOnly", Story().Add({1, 2, 1}).Add({3, 4, 2}).Read(1, 10, {{2, 1}}).Recovered({{1, 1}, {2, 1}}),
       kNoOrder},
      {"AnOldVersionIsReadAgain", Story().Add({1, 2, 1, 1}).Add({3, 4, 1, 2}).Read(5, 6, {{1, 1}}).Recovered({{1, 2}}), kNoOrder},
      {"AVersionGoesBackBetweenReads",
       Story().Add({1, 2, 1, 1}).Add({3, 20, 1, 2}).Read(4, 5, {{1, 2}}).Read(6, 7, {{1, 1}}).Recovered({{1, 2}}), kNoOrder},
      {"ADeletedSampleComesBack", Story().Add({1, 2}).Add({3, 4, 1, 2, false, true}).Read(5, 6, {{1, 1}}).Recovered({}), kNoOrder},
      {"ADeletedSampleComesBackAfterItsDeleteSurvived",
       Story().Add({1, 2, 1, 1, true}).Add({3, 4, 1, 2, true, true}).Recovered({{1, 1}}), kNoOrder},
      {"WhatNobodyWroteIsRecovered", Story().Recovered({{1, 1}}), "nobody wrote"},
      {"AnAcknowledgedWriteIsLostInTheCrash", Story().Add({1, 2, 1, 1, true}).Recovered({}), kNoOrder},
      {"AnAcknowledgedOverwriteIsLostInTheCrash", Story().Add({1, 2, 1, 1, true}).Add({3, 4, 1, 2, true}).Recovered({{1, 1}}),
       kNoOrder},
      {"WhatIsDroppedIsNoSuffix", Story().Add({1, 2, 1}).Add({3, 4, 2}).Recovered({{2, 1}}), kNoOrder},
      {"WhatIsDroppedIsNoSuffixAsReadsSaw", Story().Add({1, 20, 1}).Add({2, 21, 2}).Read(3, 4, {{1, 1}}).Recovered({{2, 1}}),
       kNoOrder},
      {"WhatIsDroppedIsNoSuffixOfTheShard",
       Story().Add({1, 2, 1, 1, false, false, 0}).Add({3, 4, 1, 1, false, false, 1}).Recovered({}, 0).Recovered({{1, 1}}, 1),
       "not a suffix of shard"},
      {"SomethingAppearsThatTheCrashHadDropped", Story().Add({1, 2}).Recovered({}).NextEra().Read(3, 4, {{1, 1}}).Recovered({}),
       "nobody wrote"},
      {"WhatWasRecoveredVanishesInTheNextEra", Story().Add({1, 2}).Recovered({{1, 1}}).NextEra().Read(3, 4, {}).Recovered({{1, 1}}),
       "lacks what is there"},
      {"WhatWasRecoveredVanishesInTheNextCrash", Story().Add({1, 2}).Recovered({{1, 1}}).NextEra().Recovered({}),
       "lacks what is there"},
  };
}
INSTANTIATE_TEST_SUITE_P(All, BadHistory, testing::ValuesIn(BadHistories()), [](const auto& info) { return info.param.what; });

}  // namespace
}  // namespace chronolith
