// Any bytes as sets of ordinals, where the log and the index keep them: what decodes behaves as the set of its items, encodes to
// the same set again, and merges as sets do. Byte 0 chooses: 0 the bitmap of a delete record; 1 a hash row; 2 a postings row,
// behind the high half of its key in two bytes; 3 two postings rows, which are merged, the first of them as long as the next two
// bytes say. Rows get a right checksum.
#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/coding.h"
#include "format/index_rows.h"
#include "index/postings_merge.h"
#include "storage/items.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;

namespace {

constexpr std::uint64_t kItemsMax = 200'000;  // a few bytes can mean four billion

bool Same(const OrdinalSet& a, const OrdinalSet& b) { return a.size() == b.size() && a.IntersectionSize(b) == a.size(); }

void CheckSet(const OrdinalSet& set) {
  if (set.size() > kItemsMax) return;
  const std::vector<Ordinal> items = set.ToVector();
  FUZZ_CHECK(items.size() == set.size() && set.empty() == items.empty());
  FUZZ_CHECK(std::adjacent_find(items.begin(), items.end(), std::greater_equal<>()) == items.end());
  for (std::size_t i = 0; i < items.size(); i += 1 + items.size() / 64) FUZZ_CHECK(set.Contains(items[i]));
  OrdinalSet rebuilt;
  rebuilt.AddMany(items);
  FUZZ_CHECK(Same(rebuilt, set));
  OrdinalSet joined(set);
  joined.UnionWith(rebuilt);
  FUZZ_CHECK(Same(joined, set));
  joined.Subtract(set);
  FUZZ_CHECK(joined.empty());
}

void CheckDelete(std::string_view bytes) {
  OrdinalSet set;
  if (!DecodeOrdinals(bytes, &set).ok()) return;
  CheckSet(set);
  OrdinalSet again;
  FUZZ_CHECK(DecodeOrdinals(EncodeOrdinals(set), &again).ok() && Same(again, set));
}

std::string Row(std::string_view key, std::string_view payload) {
  std::string value;
  index_rows::BeginValue(&value);
  value.append(payload);
  index_rows::SealValue(key, &value);
  return value;
}

void CheckHash(std::string_view payload) {
  std::string key;
  index_rows::AppendHashKey(7, &key);
  index_rows::HashSets sets;
  if (!index_rows::DecodeHashValue(key, Row(key, payload), &sets).ok()) return;
  for (const auto* list : {&sets.added, &sets.removed}) {
    FUZZ_CHECK(std::adjacent_find(list->begin(), list->end(), std::greater_equal<>()) == list->end());
  }
  std::string again;
  index_rows::AppendHashValue(key, sets.added, sets.removed, &again);
  index_rows::HashSets decoded;
  FUZZ_CHECK(index_rows::DecodeHashValue(key, again, &decoded).ok());
  FUZZ_CHECK(decoded.added == sets.added && decoded.removed == sets.removed);
}

std::string PostingsKey(std::uint16_t high) {
  index_rows::PairKey key = index_rows::MakePairKey("n", "v");
  index_rows::AppendHigh(high, &key.bytes);
  return key.bytes;
}

void CheckPostings(std::uint16_t high, std::string_view payload) {
  const std::string key = PostingsKey(high);
  const std::string value = Row(key, payload);
  std::vector<index_rows::PostingSets> entries;
  if (!index_rows::DecodePostings(key, value, &entries).ok()) return;
  std::map<std::string, OrdinalSet> added;
  for (const index_rows::PostingSets& entry : entries) {
    for (const OrdinalSet* set : {&entry.added, &entry.removed}) {
      CheckSet(*set);
      for (const Ordinal ordinal : set->ToVector()) FUZZ_CHECK(ordinal >> 16 == high);
    }
    added[entry.text].UnionWith(entry.added);
  }
  for (const auto& [text, all] : added) {
    OrdinalSet read;
    FUZZ_CHECK(index_rows::ReadPostings(key, value, text, &read).ok() && Same(read, all));
  }
}

// Text to what is added and what is removed.
using Model = std::map<std::string, std::pair<std::set<Ordinal>, std::set<Ordinal>>>;

std::set<Ordinal> Items(const OrdinalSet& set) {
  const std::vector<Ordinal> items = set.ToVector();
  return {items.begin(), items.end()};
}

// False where the row is none that an index writes (one entry a text, its two sets disjoint), or large.
bool AddTo(Model* model, std::string_view key, const std::string& value) {
  std::vector<index_rows::PostingSets> entries;
  if (!index_rows::DecodePostings(key, value, &entries).ok() || entries.size() > 8) return false;
  std::set<std::string> texts;
  for (const index_rows::PostingSets& entry : entries) {
    if (!texts.insert(entry.text).second) return false;
    if (entry.added.size() + entry.removed.size() > 2000 || entry.added.IntersectionSize(entry.removed) > 0) return false;
    auto& [added, removed] = (*model)[entry.text];
    for (const Ordinal ordinal : Items(entry.removed)) {
      added.erase(ordinal);
      removed.insert(ordinal);
    }
    for (const Ordinal ordinal : Items(entry.added)) {
      added.insert(ordinal);
      removed.erase(ordinal);
    }
  }
  return true;
}

void CheckMerge(std::string_view first, std::string_view second) {
  const std::string key = PostingsKey(3);
  const std::string a = Row(key, first);
  const std::string b = Row(key, second);
  Model model;
  if (!AddTo(&model, key, a) || !AddTo(&model, key, b)) return;
  const std::vector<std::string_view> both{a, b};
  std::string merged;
  FUZZ_CHECK(PostingsMergeFunction().Merge(key, nullptr, both, &merged));
  std::vector<index_rows::PostingSets> entries;
  FUZZ_CHECK(index_rows::DecodePostings(key, merged, &entries).ok() && entries.size() == model.size());
  for (const index_rows::PostingSets& entry : entries) {
    const auto it = model.find(entry.text);
    FUZZ_CHECK(it != model.end() && Items(entry.added) == it->second.first && Items(entry.removed) == it->second.second);
  }
  // Over a value that exists: the same additions, and nothing that is gone.
  const std::string_view existing = a;
  const std::vector<std::string_view> second_alone{b};
  FUZZ_CHECK(PostingsMergeFunction().Merge(key, &existing, second_alone, &merged));
  entries.clear();
  FUZZ_CHECK(index_rows::DecodePostings(key, merged, &entries).ok());
  for (const index_rows::PostingSets& entry : entries) {
    FUZZ_CHECK(entry.removed.empty() && !entry.added.empty() && Items(entry.added) == model.at(entry.text).first);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const std::string_view bytes = FuzzBytes(data, size);
  const std::uint16_t number = LoadFixed<std::uint16_t>(bytes.data() + 1);
  const std::string_view rest = bytes.substr(3);
  switch (data[0] & 3) {
    case 0:
      CheckDelete(bytes.substr(1));
      break;
    case 1:
      CheckHash(bytes.substr(1));
      break;
    case 2:
      CheckPostings(number, rest);
      break;
    case 3:
      CheckMerge(rest.substr(0, number), rest.substr(std::min<std::size_t>(number, rest.size())));
      break;
  }
  return 0;
}
