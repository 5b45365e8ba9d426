// The in-memory tables under the index: against standard containers.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "index/postings.h"
#include "index/postings_delta.h"
#include "index/series_table.h"
#include "index/tag_table.h"
#include "index_fixture.h"

namespace chronolith {
namespace {

TEST(TagTable, AgreesWithASetAlsoWhereTagsCollide) {
  std::mt19937_64 random(TestSeed());
  TagTable table;
  std::set<std::pair<std::uint32_t, std::uint32_t>> model;
  for (int step = 0; step < 50000; ++step) {
    const auto tag = static_cast<std::uint32_t>(random() % 50 == 0 ? random() : random() % 40 * 0x01000000);
    const auto id = static_cast<std::uint32_t>(random() % 500);
    const auto find = [&] { return table.Find(tag, [&](std::uint32_t found) { return found == id; }); };
    EXPECT_EQ(find() == id, model.contains({tag, id}));
    if (random() % 5 < 3) {
      if (model.insert({tag, id}).second) table.Insert(tag, id);
    } else {
      EXPECT_EQ(table.Erase(tag, id), model.erase({tag, id}) > 0);
    }
    EXPECT_EQ(table.size(), model.size());
  }
}

TEST(Symbols, InternsEachPairOnceAndGivesItBack) {
  Symbols symbols;
  EXPECT_EQ(symbols.size(), 1u);
  EXPECT_EQ(symbols.LabelOf(Symbols::kAll).name, "");
  std::map<std::string, PairId> ids;
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 3000; ++i) {
      std::string pair;
      Labels::AppendEncoded("n" + std::to_string(i % 7), "value" + std::to_string(i), &pair);
      const PairId id = symbols.Intern(pair, "n" + std::to_string(i % 7));
      if (round == 0) ids[pair] = id;
      EXPECT_EQ(ids[pair], id);
      EXPECT_EQ(symbols.BytesOf(id), pair);
      EXPECT_EQ(symbols.LabelOf(id).value, "value" + std::to_string(i));
    }
  }
  EXPECT_EQ(symbols.size(), 3001u);
  const auto ids_of = [](const Symbols::Pairs& pairs) {
    std::vector<PairId> list;
    for (const PairId id : pairs) list.push_back(id);
    return list;
  };
  EXPECT_TRUE(ids_of(symbols.PairsOf("other")).empty());
  ASSERT_EQ(symbols.names(), 7u);
  for (std::uint32_t name = 0; name < 7; ++name) {
    std::vector<PairId> wanted;
    for (PairId id = 1; id < symbols.size(); ++id) {
      if (symbols.LabelOf(id).name == symbols.NameOf(name)) wanted.push_back(id);
    }
    EXPECT_EQ(wanted.size(), name < 4 ? 429u : 428u);
    EXPECT_EQ(ids_of(symbols.PairsOf(name)), wanted);
    EXPECT_EQ(ids_of(symbols.PairsOf(symbols.NameOf(name))), wanted);
  }
}

// There may be as many names as series.
TEST(Symbols, ANameOfItsOwnIsAFewBytesMore) {
  Symbols symbols;
  std::size_t pair_bytes = 0;
  for (int i = 0; i < 100'000; ++i) {
    const std::string name = "name_" + std::to_string(i);
    std::string pair;
    Labels::AppendEncoded(name, "v", &pair);
    symbols.Intern(pair, name);
    pair_bytes += pair.size();
  }
  EXPECT_EQ(symbols.names(), 100'000u);
  EXPECT_LT(symbols.memory_bytes(), pair_bytes + 100'000 * (4 + 20 + 4 + 28));
}

TEST(SeriesTable, FindsByLabelsAndForgets) {
  Symbols symbols;
  SeriesTable table;
  const auto labels_of = [](Ordinal i) { return Labels{{"a", std::to_string(i)}, {"b", std::to_string(i % 10)}}; };
  const auto add = [&](Ordinal i) {
    const Labels labels = labels_of(i);
    PodVector<PairId> pairs;
    for (const Label& label : labels) {
      std::string pair;
      Labels::AppendEncoded(label.name, label.value, &pair);
      pairs.push_back(symbols.Intern(pair, label.name));
    }
    const bool own_hash = i % 3 == 0;
    table.Add({i, own_hash ? 7 : StableHash(labels.encoded()), own_hash, true}, pairs);
  };
  const auto find = [&](Ordinal i) {
    const Labels labels = labels_of(i);
    return table.Find(i % 3 == 0 ? 7 : StableHash(labels.encoded()), labels.encoded(), symbols);
  };
  for (Ordinal i = 0; i < 5000; i += 2) add(i);
  add(4000000000U);
  for (Ordinal i = 0; i < 5000; ++i) EXPECT_EQ(find(i), i % 2 == 0 ? i : SeriesTable::kNone);
  EXPECT_EQ(find(4000000000U), 4000000000U);
  for (Ordinal i = 0; i < 5000; i += 4) table.Drop(i, symbols);
  for (Ordinal i = 0; i < 5000; ++i) EXPECT_EQ(find(i), i % 4 == 2 ? i : SeriesTable::kNone);
  table.HideFromFind(2, symbols);
  EXPECT_EQ(find(2), SeriesTable::kNone);
  std::string encoded;
  table.AppendLabels(2, symbols, &encoded);
  EXPECT_EQ(encoded, labels_of(2).encoded());
  EXPECT_EQ(table.size(), 1251u);
  EXPECT_EQ(table.findable(), 1250u);
  table.Drop(2, symbols);
  EXPECT_EQ(table.size(), 1250u);
  EXPECT_GT(table.dead_bytes(), 0u);
  // Nothing that is not exactly the labels: a prefix, an extension, another value.
  EXPECT_EQ(table.Find(StableHash(labels_of(10).encoded()), labels_of(10).encoded().substr(0, 4), symbols), SeriesTable::kNone);
  EXPECT_EQ(table.Find(StableHash(labels_of(10).encoded()), std::string(labels_of(10).encoded()) + "x", symbols),
            SeriesTable::kNone);
}

TEST(PostingsDelta, AgreesWithSetsFromOneToThousands) {
  std::mt19937_64 random(TestSeed());
  PostingsDelta delta;
  PostingsDelta more;
  std::map<PairId, std::set<Ordinal>> model;
  for (int step = 0; step < 60000; ++step) {
    const auto pair = static_cast<PairId>(random() % 4 == 0 ? random() % 3 : random() % 3000);
    const auto ordinal = static_cast<Ordinal>(random() % 200000);
    (random() % 5 == 0 ? more : delta).Append(pair, ordinal);
    model[pair].insert(ordinal);
  }
  delta.Merge(more);
  OrdinalSet removed;
  for (Ordinal i = 0; i < 200000; i += 2) removed.Add(i);
  for (PairId pair = 0; pair < 3100; ++pair) {
    const std::set<Ordinal>& expected = model[pair];
    OrdinalSet set;
    delta.AddTo(pair, &set);
    EXPECT_EQ(set.ToVector(), std::vector<Ordinal>(expected.begin(), expected.end()));
    EXPECT_EQ(delta.Has(pair), !expected.empty());
    const bool odd = std::any_of(expected.begin(), expected.end(), [](Ordinal o) { return o % 2 == 1; });
    EXPECT_EQ(delta.AnyOf(pair, nullptr, removed), odd);
    EXPECT_EQ(delta.AnyOf(pair, &removed, {}), std::any_of(expected.begin(), expected.end(), [](Ordinal o) { return o % 2 == 0; }));
    EXPECT_FALSE(delta.AnyOf(pair, &removed, removed));
    if (!expected.empty()) {
      EXPECT_TRUE(delta.Contains(pair, *expected.begin()));
    }
    EXPECT_FALSE(delta.Contains(pair, 200001));
  }
  EXPECT_GT(delta.memory_bytes(), 0u);
}

TEST(Postings, KeepsWhatABitmapWouldKeep) {
  std::mt19937_64 random(TestSeed());
  for (const std::uint64_t size : {10, 1023, 1024, 3000, 4096, 5000, 30000}) {
    OrdinalSet set;
    while (set.size() < size) set.Add(static_cast<Ordinal>(random() % 65536 + (random() % 8 == 0 ? 65536 : 0)));
    const Postings postings{OrdinalSet(set)};
    OrdinalSet probe;
    for (int i = 0; i < 2000; ++i) probe.Add(static_cast<Ordinal>(random() % 200000));
    std::vector<std::uint32_t> kept = probe.ToVector();
    kept.resize(postings.Keep(kept));
    probe.IntersectWith(set);
    EXPECT_EQ(kept, probe.ToVector()) << size;
  }
}

}  // namespace
}  // namespace chronolith
