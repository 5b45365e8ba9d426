#include "query/label_order.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <string_view>

#include "base/coding.h"

namespace chronolith {
namespace {

void AppendTerminated(std::string_view bytes, std::string* to) {
  const bool plain = std::none_of(bytes.begin(), bytes.end(), [](char c) { return static_cast<unsigned char>(c) <= 1; });
  if (plain) {
    to->append(bytes);
  } else {
    for (const char c : bytes) {
      if (static_cast<unsigned char>(c) <= 1) to->push_back('\x01');
      to->push_back(static_cast<unsigned char>(c) == 0 ? '\x01' : static_cast<unsigned char>(c) == 1 ? '\x02' : c);
    }
  }
  to->push_back('\0');
}

// Both forms are as long where each length takes one byte and nothing is escaped: behind the first byte the bytes are the same, but
// for a 0 in place of the next length. False, with *to as it was, where that does not hold.
bool AppendPlain(std::string_view encoded, std::string* to) {
  if (encoded.empty()) return true;
  const std::size_t begin = to->size();
  to->append(encoded.substr(1)).push_back('\0');
  char* const out = to->data() + begin;
  std::size_t strings = 0;
  std::size_t at = 0;
  for (; at < encoded.size(); ++strings) {
    const auto length = static_cast<unsigned char>(encoded[at]);
    if (length >= 0x80 || length >= encoded.size() - at) break;
    at += std::size_t{1} + length;
    out[at - 1] = '\0';
  }
  std::size_t low = 0;
  for (std::size_t i = 0; i < encoded.size(); ++i) low += static_cast<unsigned char>(out[i]) <= 1;
  if (at == encoded.size() && strings % 2 == 0 && low == strings) return true;
  to->resize(begin);
  return false;
}

struct Item {
  std::uint64_t key;  // the 8 bytes behind what all have in common
  std::uint32_t index;
};

std::size_t CommonPrefix(std::string_view a, std::string_view b) {
  const std::size_t n = std::min(a.size(), b.size());
  std::size_t i = 0;
  for (; i + sizeof(std::uint64_t) <= n; i += sizeof(std::uint64_t)) {
    const auto differ = LoadFixed<std::uint64_t>(a.data() + i) ^ LoadFixed<std::uint64_t>(b.data() + i);
    if (differ != 0) return i + static_cast<std::size_t>(std::countr_zero(differ)) / 8;
  }
  while (i < n && a[i] == b[i]) ++i;
  return i;
}

// Sorts by the forms, which `form` gives. The 8 bytes behind what all have in common come first, then each run that is alike in
// these is sorted by itself: each round looks at a form once, and compares what it took from there.
template <typename Form>
void Sort(const Form& form, std::vector<Item>* items) {
  struct Run {
    std::size_t begin;
    std::size_t end;
    std::size_t common;  // bytes that all are known to have in common
  };
  std::vector<Run> runs(1, {0, items->size(), 0});
  while (!runs.empty()) {
    const Run run = runs.back();
    runs.pop_back();
    const std::span<Item> some = std::span(*items).subspan(run.begin, run.end - run.begin);
    if (some.size() < 2) continue;
    const std::string_view first = form(some[0].index);
    std::size_t common = first.size();
    for (const Item& item : some.subspan(1)) {
      common = run.common + CommonPrefix(first.substr(run.common, common - run.common), form(item.index).substr(run.common));
    }
    for (Item& item : some) {
      char key[8] = {};
      const std::string_view rest = form(item.index).substr(common, sizeof(key));
      std::memcpy(key, rest.data(), rest.size());
      item.key = LoadBigEndian<std::uint64_t>(key);
    }
    std::sort(some.begin(), some.end(), [](const Item& a, const Item& b) { return a.key < b.key; });
    if (some.front().key == some.back().key) {  // equal labels, as a rule
      std::sort(some.begin(), some.end(), [&](const Item& a, const Item& b) {
        const int c = form(a.index).compare(form(b.index));
        return c != 0 ? c < 0 : a.index < b.index;
      });
      continue;
    }
    for (std::size_t begin = 0, end = 0; begin < some.size(); begin = end) {
      while (end < some.size() && some[end].key == some[begin].key) ++end;
      if (end - begin > 1) runs.push_back({run.begin + begin, run.begin + end, common});
    }
  }
}

}  // namespace

void AppendSortable(const Labels& labels, std::string* to) {
  if (AppendPlain(labels.encoded(), to)) return;
  for (const Label& label : labels) {
    AppendTerminated(label.name, to);
    AppendTerminated(label.value, to);
  }
}

std::vector<std::uint32_t> SortedByLabels(const std::vector<Labels>& labels) {
  std::size_t bytes = 0;
  for (const Labels& l : labels) bytes += l.encoded().size();
  std::string sortable;
  sortable.reserve(bytes + bytes / 16);
  std::vector<std::size_t> begin(1, 0);
  begin.reserve(labels.size() + 1);
  for (const Labels& l : labels) {
    AppendSortable(l, &sortable);
    begin.push_back(sortable.size());
  }
  const auto form = [&](std::uint32_t i) { return std::string_view(sortable).substr(begin[i], begin[i + 1] - begin[i]); };

  std::vector<Item> items(labels.size());
  for (std::uint32_t i = 0; i < labels.size(); ++i) items[i].index = i;
  Sort(form, &items);
  std::vector<std::uint32_t> order(items.size());
  for (std::size_t i = 0; i < items.size(); ++i) order[i] = items[i].index;
  return order;
}

}  // namespace chronolith
