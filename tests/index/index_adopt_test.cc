// IndexShard::AdoptStored: wherever a checkpoint was cut short, and whatever of it the log has lost, rows agree in the end.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "format/index_rows.h"
#include "tests/index/index_fixture.h"

namespace chronolith {
namespace {

constexpr int kStored = 12;

Labels Numbered(int i) { return {{"__name__", "n"}, {"g", std::to_string(i % 3)}, {"i", std::to_string(i)}}; }

class AdoptStored : public IndexFixture {
 protected:
  using Rows = std::map<std::string, std::string>;
  using Live = std::map<Ordinal, int>;  // the number of its labels

  Rows RowsNow() {
    Rows rows;
    const auto it = engine_->NewIterator(0, {}).value();
    for (it->Seek(""); it->Valid(); it->Next()) rows[std::string(it->key())] = it->value();
    EXPECT_TRUE(it->status().ok());
    return rows;
  }
  void Reopen(const Rows& rows) {
    const std::string end = "\xff";
    std::vector<Op> ops = {{Op::Type::kDeleteRange, "", end}};
    for (const auto& [key, value] : rows) ops.push_back({Op::Type::kPut, key, value});
    const Batch batch{0, {}, 0, ops};
    const Outcomes outcomes = engine_->Write({&batch, 1}, {});
    ASSERT_TRUE(outcomes[0].ok()) << outcomes[0].ToString();
    ASSERT_TRUE(engine_->Flush(FamilyId{0}).ok());
    Close();
    Open();
  }
  // What there is now, but of what was written since only the labels rows.
  void ReopenWithLabelsOnly(const Rows& before) {
    Rows rows = before;
    for (const auto& [key, value] : RowsNow()) {
      if (key[0] == index_rows::kLabelsPrefix) rows[key] = value;
    }
    Reopen(rows);
  }
  AdoptedSeries Adopt(const IndexState& whole, const ReplayedSeries& replayed = {}) {
    Result<AdoptedSeries> adopted = index_->AdoptStored(whole, replayed, ++lsn_);
    EXPECT_TRUE(adopted.ok()) << adopted.status().ToString();
    return adopted.ok() ? *adopted : AdoptedSeries();
  }
  static Ordinal OrdinalOf(const std::string& key) {
    Ordinal ordinal = 0;
    for (std::size_t i = 1; i < 5; ++i) ordinal = ordinal << 8 | static_cast<unsigned char>(key[i]);
    return ordinal;
  }
  // What differs, but for the state row, in the order in which a checkpoint writes it.
  std::vector<std::string> Written(const Rows& before, const Rows& after) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : after) {
      const auto it = before.find(key);
      if (key[0] != index_rows::kStatePrefix && (it == before.end() || it->second != value)) keys.push_back(key);
    }
    const auto rank = [](const std::string& key) {
      if (key[0] == index_rows::kLabelsPrefix) return OrdinalOf(key) < kStored ? 1 : 0;  // first those that were added
      return key[0] == index_rows::kHashPrefix ? 2 : 3;
    };
    std::stable_sort(keys.begin(), keys.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
    return keys;
  }
  // By whatever way they are looked for.
  void ExpectLive(const Live& live) {
    std::vector<Ordinal> all;
    std::map<int, std::vector<Ordinal>> by_number, by_group;
    for (const auto& [ordinal, i] : live) {
      all.push_back(ordinal);
      by_number[i].push_back(ordinal);
      by_group[i % 3].push_back(ordinal);
      EXPECT_EQ(LabelsOf(ordinal), Numbered(i));
    }
    EXPECT_EQ(Select({}), all);
    EXPECT_EQ(Select({Matcher::Equal("__name__", "n")}), all);
    for (int g = 0; g < 3; ++g) EXPECT_EQ(Select({Matcher::Equal("g", std::to_string(g))}), by_group[g]) << g;
    for (int i = 0; i < 2 * kStored; ++i) {
      const Labels labels = Numbered(i);
      const std::vector<Ordinal>& expected = by_number[i];
      EXPECT_EQ(Select({Matcher::Equal("i", std::to_string(i))}), expected) << i;
      EXPECT_EQ(Find(KeyOf(labels)), expected.empty() ? std::nullopt : std::optional(expected[0])) << i;
    }
  }
};

TEST_F(AdoptStored, WhereverACheckpointWasCutShortItsRowsAgree) {
  Live stored;
  for (int i = 0; i < kStored; ++i) stored[Add(Numbered(i))] = i;
  Checkpoint();
  const IndexState whole = state_;
  const Rows before = RowsNow();
  ASSERT_TRUE(index_->Remove(1, ++lsn_).ok());
  ASSERT_TRUE(index_->Remove(4, ++lsn_).ok());
  Live added;
  for (int i = kStored; i < kStored + 6; ++i) added[Add(Numbered(i))] = i;
  const Ordinal again = Add(Numbered(4));
  added[again] = 4;
  Checkpoint();
  const Rows after = RowsNow();
  const std::vector<std::string> written = Written(before, after);
  ASSERT_GT(written.size(), 25U);
  Rows rows = before;
  Live live = stored;
  std::uint64_t next = kStored;
  OrdinalSet removed;
  for (std::size_t n = 0; n <= written.size(); ++n) {
    SCOPED_TRACE(n == 0 ? "nothing was written" : index_rows::PrintableKey(written[n - 1]) + " was the last");
    Reopen(rows);
    const AdoptedSeries adopted = Adopt(whole);
    EXPECT_EQ(adopted.next_ordinal, next);
    EXPECT_EQ(adopted.removed.ToVector(), removed.ToVector());
    ExpectLive(live);
    next_ordinal_ = next;
    Checkpoint();
    Close();
    Open();
    ExpectLive(live);
    if (n == written.size()) break;
    const std::string& key = written[n];
    rows[key] = after.at(key);
    if (key[0] != index_rows::kLabelsPrefix) continue;
    const Ordinal ordinal = OrdinalOf(key);
    if (ordinal >= kStored) {
      live[ordinal] = added.at(ordinal);
      next = ordinal + 1;
    }
    const Ordinal gone = ordinal == again ? 4 : ordinal;  // the record that removed it is lost, but it was created again
    if (ordinal >= kStored && ordinal != again) continue;
    live.erase(gone);
    removed.Add(gone);
  }
}

TEST_F(AdoptStored, WhatTheLogStillHasIsLeftToIt) {
  for (int i = 0; i < kStored; ++i) Add(Numbered(i));
  Checkpoint();
  const IndexState whole = state_;
  const Rows before = RowsNow();
  ASSERT_TRUE(index_->Remove(1, ++lsn_).ok());
  const Ordinal created = Add(Numbered(kStored));
  const Ordinal lost = Add(Numbered(kStored + 1));
  Checkpoint();
  ReopenWithLabelsOnly(before);
  const Labels labels = Numbered(kStored);
  EXPECT_TRUE(index_->Insert(created, KeyOf(labels), lsn_));
  ASSERT_TRUE(index_->Remove(1, lsn_).ok());
  ReplayedSeries replayed;
  replayed.created.Add(created);
  replayed.removed.Add(1);
  const AdoptedSeries adopted = Adopt(whole, replayed);
  EXPECT_TRUE(adopted.removed.empty());
  EXPECT_EQ(adopted.inserted, 1U);
  EXPECT_EQ(adopted.next_ordinal, lost + 1U);
  Live live;
  for (int i = 0; i < kStored + 2; ++i) live[static_cast<Ordinal>(i)] = i;
  live.erase(1);
  ExpectLive(live);
}

// They leave the memory on the way.
TEST_F(AdoptStored, TakesMoreThanItHolds) {
  constexpr int kMany = 40'000;
  for (int i = 0; i < kMany; ++i) Add({{"__name__", "n"}, {"i", std::to_string(i)}});
  Checkpoint();
  ReopenWithLabelsOnly({});
  EXPECT_TRUE(Select({}).empty());
  EXPECT_EQ(Adopt({}).next_ordinal, std::uint64_t{kMany});
  EXPECT_LT(index_->resident_series(), std::uint64_t{kMany} / 2);
  Checkpoint();
  Close();
  Open();
  EXPECT_EQ(Select({}).size(), std::size_t{kMany});
  for (const int i : {0, 16'383, 16'384, 39'999}) {
    EXPECT_EQ(Select({Matcher::Equal("i", std::to_string(i))}), std::vector<Ordinal>{static_cast<Ordinal>(i)});
    const Labels labels = {{"__name__", "n"}, {"i", std::to_string(i)}};
    EXPECT_EQ(Find(KeyOf(labels)), static_cast<Ordinal>(i));
  }
}

// The record that removed the first, between the two, is lost as well; neither has a hash row.
TEST_F(AdoptStored, OfTwoWithTheSameLabelsTheOlderIsGone) {
  for (int i = 0; i < kStored; ++i) Add(Numbered(i));
  Checkpoint();
  const IndexState whole = state_;
  const Rows before = RowsNow();
  const Ordinal first = Add(Numbered(kStored));
  Checkpoint();
  const std::string key = index_rows::OrdinalKey(index_rows::kLabelsPrefix, first);
  const std::string live = RowsNow().at(key);
  ASSERT_TRUE(index_->Remove(first, ++lsn_).ok());
  const Ordinal second = Add(Numbered(kStored));
  Checkpoint();
  Rows rows = before;
  rows[key] = live;
  const std::string again = index_rows::OrdinalKey(index_rows::kLabelsPrefix, second);
  rows[again] = RowsNow().at(again);
  Live expected;
  for (int i = 0; i < kStored; ++i) expected[static_cast<Ordinal>(i)] = i;
  expected[second] = kStored;
  const Labels labels = Numbered(kStored);
  {
    SCOPED_TRACE("both of the checkpoint");
    Reopen(rows);
    EXPECT_EQ(Adopt(whole).removed.ToVector(), std::vector<Ordinal>{first});
    ExpectLive(expected);
  }
  for (const Ordinal replayed : {first, second}) {
    for (const bool evicted : {false, true}) {
      SCOPED_TRACE(std::to_string(replayed) + (evicted ? " replayed, stored and forgotten" : " replayed"));
      Reopen(rows);
      EXPECT_TRUE(index_->Insert(replayed, KeyOf(labels), ++lsn_));
      if (evicted) {
        Checkpoint();
        index_->Evict({&replayed, 1});
      }
      ReplayedSeries of_log;
      of_log.created.Add(replayed);
      EXPECT_EQ(Adopt(whole, of_log).removed.ToVector(), std::vector<Ordinal>{first});
      ExpectLive(expected);
    }
  }
}

TEST_F(AdoptStored, ARemovalIsTakenAlsoOfASeriesThatTheLogCreates) {
  for (int i = 0; i < kStored; ++i) Add(Numbered(i));
  Checkpoint();
  const IndexState whole = state_;
  const Rows before = RowsNow();
  const Ordinal created = Add(Numbered(kStored));
  Checkpoint();
  ASSERT_TRUE(index_->Remove(created, ++lsn_).ok());
  Checkpoint();
  ReopenWithLabelsOnly(before);
  const Labels labels = Numbered(kStored);
  EXPECT_TRUE(index_->Insert(created, KeyOf(labels), ++lsn_));
  ReplayedSeries replayed;
  replayed.created.Add(created);
  EXPECT_EQ(Adopt(whole, replayed).removed.ToVector(), std::vector<Ordinal>{created});
  Live expected;
  for (int i = 0; i < kStored; ++i) expected[static_cast<Ordinal>(i)] = i;
  ExpectLive(expected);
}

// Their rows come in parts.
TEST_F(AdoptStored, TakesLongLabels) {
  const Labels labels = {{"__name__", "n"}, {"a", std::string(30'000, 'x')}, {"b", std::string(30'000, 'y')}};
  const Ordinal ordinal = Add(labels);
  Checkpoint();
  ReopenWithLabelsOnly({});
  EXPECT_EQ(Adopt({}).next_ordinal, ordinal + 1U);
  EXPECT_EQ(Select({Matcher::Equal("__name__", "n")}), std::vector<Ordinal>{ordinal});
  Checkpoint();
  Close();
  Open();
  EXPECT_EQ(Find(KeyOf(labels)), ordinal);
  EXPECT_EQ(LabelsOf(ordinal), labels);
}

TEST_F(AdoptStored, ADamagedRowIsToldWhereTheStateDoesNotVouchForIt) {
  for (int i = 0; i < 3; ++i) Add(Numbered(i));
  Checkpoint();
  const IndexState whole = state_;
  const Rows before = RowsNow();
  const Ordinal lost = Add(Numbered(3));
  Checkpoint();
  Rows rows = RowsNow();
  const std::string state = index_rows::StateKey();
  rows[state] = before.at(state);
  rows.at(index_rows::OrdinalKey(index_rows::kLabelsPrefix, 1)).back() ^= 1;
  Reopen(rows);
  EXPECT_EQ(Adopt(whole).next_ordinal, lost + 1U);
  rows.at(index_rows::OrdinalKey(index_rows::kLabelsPrefix, lost)).back() ^= 1;
  Reopen(rows);
  EXPECT_EQ(index_->AdoptStored(whole, {}, 1).status().code(), StatusCode::kDataLoss);
}

}  // namespace
}  // namespace chronolith
