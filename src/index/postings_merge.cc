#include "index/postings_merge.h"

#include <algorithm>
#include <iterator>

#include "format/index_rows.h"

namespace chronolith {
namespace {

using index_rows::HashSets;
using index_rows::PostingSets;

std::vector<Ordinal> Minus(const std::vector<Ordinal>& a, const std::vector<Ordinal>& b) {
  std::vector<Ordinal> out;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out));
  return out;
}
std::vector<Ordinal> Plus(const std::vector<Ordinal>& a, const std::vector<Ordinal>& b) {
  std::vector<Ordinal> out;
  std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out));
  return out;
}

bool MergeHashRows(std::string_view key, const std::string_view* existing, std::span<const std::string_view> operands,
                   std::string* result) {
  HashSets total;
  if (existing != nullptr && !index_rows::DecodeHashValue(key, *existing, &total).ok()) return false;
  for (const std::string_view operand : operands) {
    HashSets next;
    if (!index_rows::DecodeHashValue(key, operand, &next).ok()) return false;
    total.added = Plus(Minus(total.added, next.removed), next.added);
    total.removed = Plus(Minus(total.removed, next.added), next.removed);
  }
  if (existing != nullptr) total.removed.clear();
  result->clear();
  index_rows::AppendHashValue(key, total.added, total.removed, result);
  return true;
}

void Compose(PostingSets next, std::vector<PostingSets>* total) {
  const auto at = std::find_if(total->begin(), total->end(), [&](const PostingSets& e) { return e.text == next.text; });
  if (at == total->end()) {
    total->push_back(std::move(next));
    return;
  }
  if (!next.removed.empty()) {
    at->added.Subtract(next.removed);
    at->removed.UnionWith(next.removed);
  }
  if (!next.added.empty()) {
    at->added.UnionWith(next.added);
    at->removed.Subtract(next.added);
  }
}

bool MergePostings(std::string_view key, const std::string_view* existing, std::span<const std::string_view> operands,
                   std::string* result) {
  std::vector<PostingSets> total;
  if (existing != nullptr && !index_rows::DecodePostings(key, *existing, &total).ok()) return false;
  for (const std::string_view operand : operands) {
    std::vector<PostingSets> entries;
    if (!index_rows::DecodePostings(key, operand, &entries).ok()) return false;
    for (PostingSets& entry : entries) Compose(std::move(entry), &total);
  }
  if (existing != nullptr) {
    for (PostingSets& entry : total) entry.removed = OrdinalSet();
    std::erase_if(total, [](const PostingSets& entry) { return entry.added.empty(); });
  }
  // One order of the entries, whatever the order of the folds.
  std::sort(total.begin(), total.end(), [](const PostingSets& a, const PostingSets& b) { return a.text < b.text; });
  *result = index_rows::EncodePostings(key, total);
  return true;
}

}  // namespace

bool PostingsMergeFunction::Merge(std::string_view key, const std::string_view* existing,
                                  std::span<const std::string_view> operands, std::string* result) const {
  if (key.empty()) return false;
  if (key.front() == index_rows::kHashPrefix) return MergeHashRows(key, existing, operands, result);
  if (key.front() == index_rows::kPostingsPrefix) return MergePostings(key, existing, operands, result);
  return false;
}

bool EmptyPostingsFilter::ShouldDrop(std::string_view key, std::string_view value) const {
  if (key.empty()) return false;
  if (key.front() == index_rows::kHashPrefix) {
    HashSets sets;
    return index_rows::DecodeHashValue(key, value, &sets).ok() && sets.added.empty() && sets.removed.empty();
  }
  if (key.front() != index_rows::kPostingsPrefix) return false;
  std::vector<PostingSets> entries;
  if (!index_rows::DecodePostings(key, value, &entries).ok()) return false;
  return std::all_of(entries.begin(), entries.end(), [](const PostingSets& e) { return e.added.empty() && e.removed.empty(); });
}

}  // namespace chronolith
