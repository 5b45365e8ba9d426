#include "plugins/memory/persistent_map.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "tests/contract/seed.h"

namespace chronolith {
namespace {

using Model = std::map<std::string, std::string>;

void ExpectSame(const PersistentMap& map, const Model& model) {
  ASSERT_EQ(map.size(), model.size());
  std::uint64_t bytes = 0;
  PersistentMap::Cursor cursor(map);
  cursor.Seek("");
  for (const auto& [key, value] : model) {
    ASSERT_TRUE(cursor.Valid());
    EXPECT_EQ(cursor.key(), key);
    EXPECT_EQ(cursor.value().bytes, value);
    bytes += key.size() + value.size();
    cursor.Next();
  }
  EXPECT_FALSE(cursor.Valid());
  EXPECT_EQ(map.Bytes(), bytes);
}

TEST(PersistentMap, BehavesAsAnOrderedMapAndItsCopiesStay) {
  std::mt19937_64 random(TestSeed());
  const auto key = [&] { return std::to_string(random() % 300); };
  PersistentMap map;
  Model model;
  std::vector<std::pair<PersistentMap, Model>> copies;
  for (int i = 0; i < 20'000; ++i) {
    const std::string k = key();
    switch (random() % 8) {
      case 0: {
        const std::string end = key();
        map.EraseRange(k, end);
        if (k < end) model.erase(model.lower_bound(k), model.lower_bound(end));
        break;
      }
      case 1:
      case 2:
        map.Erase(k);
        model.erase(k);
        break;
      default: {
        const std::string value(random() % 20, 'v');
        map.Set(k, MakeMapValue(value));
        model[k] = value;
      }
    }
    if (i % 1000 == 0) copies.emplace_back(map, model);
    const MapValue* found = map.Find(k);
    ASSERT_EQ(found != nullptr, model.contains(k));
  }
  copies.emplace_back(map, model);
  for (const auto& [copy, expected] : copies) ExpectSame(copy, expected);
}

TEST(PersistentMap, CountsTheBytesOfARange) {
  PersistentMap map;
  for (const char* k : {"a", "b", "c", "d"}) map.Set(k, MakeMapValue("12345"));
  EXPECT_EQ(map.Bytes("b", "d"), 12U);
  EXPECT_EQ(map.Bytes("", std::nullopt), 24U);
  EXPECT_EQ(map.Bytes("d", "b"), 0U);
  map.EraseRange("b", std::nullopt);
  EXPECT_EQ(map.Bytes(), 6U);
}

}  // namespace
}  // namespace chronolith
