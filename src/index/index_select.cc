// IndexShard::Select: matchers to ordinals.
//
// A matcher that refuses "" takes the union of the postings of the values that it accepts; one that accepts "" (which a missing
// label equals) is the complement: it takes away the union of the postings of the values that it refuses. Each union is a Term:
// postings in memory, taken under one shared lock (the snapshot), and stored ones, from the cache or the engine without any lock.
#include <roaring/roaring.h>

#include <algorithm>
#include <utility>

#include "index/index_impl.h"

namespace chronolith {
namespace {

using Shape = CompiledMatcher::Shape;

// Up to so many candidates it is cheaper to look at their labels than to read the postings of all values that a matcher takes.
constexpr std::uint64_t kFilterMax = 128;

}  // namespace

// The postings of some values of one label.
struct IndexShard::Impl::Term {
  const CompiledMatcher* matcher = nullptr;  // null: every series
  bool take_away = false;                    // the matcher accepts "": these are the series that it refuses
  bool accepted = true;                      // values for which Accepts() is this
  bool points = false;                       // few values, known: `values`
  std::vector<std::string_view> values;      // without ""

  std::vector<SharedPostings> stored;  // points: one a value
  bool stored_known = false;
  OrdinalSet delta;

  std::string_view name() const { return matcher == nullptr ? std::string_view() : std::string_view(matcher->name()); }
  bool Takes(std::string_view value) const { return !value.empty() && matcher->Accepts(value) == accepted; }
  // True where no value at all is taken.
  bool Nothing() const {
    if (matcher == nullptr) return false;
    if (points) return values.empty();
    return !accepted && (matcher->shape() == Shape::kAny || matcher->shape() == Shape::kNonEmpty);
  }
  std::string_view prefix() const { return accepted ? std::string_view(matcher->prefix()) : std::string_view(); }

  static Term Of(const CompiledMatcher& matcher) {
    Term term;
    term.matcher = &matcher;
    term.take_away = matcher.MatchesEmpty();
    term.accepted = term.take_away == matcher.negated();
    term.points = term.accepted && matcher.shape() == Shape::kLiterals;
    if (term.points) {
      for (const std::string& value : matcher.literals()) {
        if (!value.empty()) term.values.push_back(value);
      }
    }
    return term;
  }
  static Term Everything() {
    Term term;
    term.points = true;
    term.values.emplace_back();
    return term;
  }
};

struct IndexShard::Impl::Snapshot {
  // Of the cache, from before the look at memory: postings that are read as far as next_ordinal are whole for this stamp only.
  std::uint64_t stamp = 0;
  std::uint64_t next_ordinal = 0;
  OrdinalSet removed;
};

template <typename F>
void IndexShard::Impl::ForEachDeltaPair(const Term& term, const F& f) const {
  const PostingsDelta& active = active_->postings;
  const PostingsDelta* const writing = writing_ != nullptr ? &writing_->postings : nullptr;
  if (active.empty() && (writing == nullptr || writing->empty())) return;
  const auto has = [&](PairId pair) { return active.Has(pair) || (writing != nullptr && writing->Has(pair)); };
  if (term.points) {
    std::string encoded;
    for (const std::string_view value : term.values) {
      encoded.clear();
      Labels::AppendEncoded(term.name(), value, &encoded);
      const PairId pair = symbols_.Find(encoded, StableHash(encoded));
      if (pair != Symbols::kNone && has(pair)) f(pair);
    }
    return;
  }
  for (const PairId pair : symbols_.PairsOf(term.name())) {
    if (has(pair) && term.Takes(symbols_.LabelOf(pair).value)) f(pair);
  }
}

void IndexShard::Impl::TakeSnapshot(std::vector<Term>* terms, Snapshot* snapshot) const {
  snapshot->stamp = cache_.stamp();
  MeasuredReaderLock lock(&mu_);
  snapshot->next_ordinal = next_ordinal_;
  if (!active_->removed.empty()) snapshot->removed = active_->removed;
  if (writing_ != nullptr && !writing_->removed.empty()) snapshot->removed.UnionWith(writing_->removed);
  const PostingsDelta& active = active_->postings;
  const PostingsDelta* const writing = writing_ != nullptr ? &writing_->postings : nullptr;
  for (Term& term : *terms) {
    ForEachDeltaPair(term, [&](PairId pair) {
      active.AddTo(pair, &term.delta);
      if (writing != nullptr) writing->AddTo(pair, &term.delta);
    });
  }
}

// Fills `stored` of all terms that name their values: from the cache, and for the others by one read.
Status IndexShard::Impl::ReadStoredPoints(std::vector<Term>* terms, const Snapshot& snapshot) const {
  std::vector<RowReader::Pair> missing;
  std::vector<SharedPostings*> places;
  for (Term& term : *terms) {
    if (!term.points) continue;
    term.stored.resize(term.values.size());
    term.stored_known = true;
    for (std::size_t i = 0; i < term.values.size(); ++i) {
      term.stored[i] = cache_.Get({PostingsKey::Kind::kPair, term.name(), term.values[i]});
      if (term.stored[i] != nullptr) continue;
      missing.push_back({term.name(), term.values[i]});
      places.push_back(&term.stored[i]);
    }
  }
  if (missing.empty()) return Status::Ok();
  const auto highs = static_cast<std::uint32_t>((snapshot.next_ordinal + 0xffff) >> 16);
  std::vector<OrdinalSet> sets;
  if (highs > 0) {
    if (Status s = rows_.ReadPairs(missing, highs, &sets); !s.ok()) return s;
  } else {
    sets.resize(missing.size());
  }
  for (std::size_t i = 0; i < missing.size(); ++i) {
    *places[i] = MakePostings(std::move(sets[i]));
    cache_.Put({PostingsKey::Kind::kPair, missing[i].name, missing[i].value}, snapshot.stamp, *places[i]);
  }
  return Status::Ok();
}

// The same for a term whose values have to be enumerated; the cache holds the union.
Status IndexShard::Impl::ReadStoredRange(Term* term) const {
  term->stored_known = true;
  // What a term takes depends on the expression and on whether accepted or refused values are meant.
  std::string text(term->accepted ? "+" : "-");
  text.push_back(term->matcher->shape() == Shape::kLiterals ? '=' : '~');
  text.append(term->matcher->matcher().value);
  const PostingsKey key{PostingsKey::Kind::kMatcher, term->name(), text};
  const std::uint64_t stamp = cache_.stamp();
  if (SharedPostings cached = cache_.Get(key); cached != nullptr) {
    term->stored.push_back(std::move(cached));
    return Status::Ok();
  }
  OrdinalSet united;
  const std::string_view name = term->name();
  const Status s = rows_.ScanPairs(
      {.name = &name, .prefix = term->prefix()}, [&](std::string_view, std::string_view value) { return term->Takes(value); },
      [&](std::string_view, std::string_view, const OrdinalSet& ordinals) {
        united.UnionWith(ordinals);
        return true;
      });
  if (!s.ok()) return s;
  term->stored.push_back(MakePostings(std::move(united)));
  cache_.Put(key, stamp, term->stored.back());
  return Status::Ok();
}

Status IndexShard::Impl::FilterByLabels(const CompiledMatcher& matcher, OrdinalSet* set) const {
  const std::vector<Ordinal> candidates = set->ToVector();
  std::vector<Labels> labels;
  if (Status s = LabelsOf(candidates, &labels, false); !s.ok()) return s;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (labels[i].empty() || !matcher.Matches(labels[i].Get(matcher.name()))) set->Remove(candidates[i]);
  }
  return Status::Ok();
}

namespace {

// One operand of the intersection. `postings` is null where the set was put together for this query.
struct Operand {
  const OrdinalSet* set;
  const Postings* postings;
};

// One union: the stored part itself where there is nothing else, so that large postings are not copied.
Operand United(const std::vector<SharedPostings>& stored, OrdinalSet* delta) {
  if (stored.size() == 1 && delta->empty()) return {&stored[0]->set(), stored[0].get()};
  if (stored.size() <= 2) {
    for (const SharedPostings& part : stored) delta->UnionWith(part->set());
    return {delta, nullptr};
  }
  std::vector<const roaring_bitmap_t*> parts{delta->raw()};
  for (const SharedPostings& part : stored) parts.push_back(part->set().raw());
  roaring_bitmap_t* all = roaring_bitmap_or_many(parts.size(), parts.data());
  std::swap(*all, *delta->raw());
  roaring_bitmap_free(all);
  return {delta, nullptr};
}

OrdinalSet Intersection(const OrdinalSet& smaller, const Operand& other) {
  OrdinalSet result;
  if (other.postings != nullptr && other.postings->has_bits() && smaller.size() <= other.set->size()) {
    std::vector<std::uint32_t> ordinals = smaller.ToVector();
    ordinals.resize(other.postings->Keep(ordinals));
    result.AddMany(ordinals);
    return result;
  }
  roaring_bitmap_t* both = roaring_bitmap_and(smaller.raw(), other.set->raw());
  std::swap(*both, *result.raw());
  roaring_bitmap_free(both);
  return result;
}

}  // namespace

Result<OrdinalSet> IndexShard::Impl::Combine(std::vector<Term>* terms, const Snapshot& snapshot) const {
  // 1. Intersect what has been read, smallest first.
  std::vector<Operand> operands;
  for (Term& term : *terms) {
    if (!term.take_away && term.stored_known) operands.push_back(United(term.stored, &term.delta));
  }
  std::sort(operands.begin(), operands.end(), [](const Operand& a, const Operand& b) { return a.set->size() < b.set->size(); });
  OrdinalSet result;
  bool any = false;
  std::size_t next = 0;
  if (operands.size() >= 2) {
    result = Intersection(*operands[0].set, operands[1]);
    any = true;
    next = 2;
  }
  const auto intersect = [&](const Operand& operand) {
    result = any ? Intersection(result, operand) : *operand.set;
    any = true;
  };
  for (; next < operands.size(); ++next) {
    if (any && result.empty()) return result;
    intersect(operands[next]);
  }
  // 2. The terms whose values have to be enumerated, those that take away last; few candidates are looked at one by one.
  for (const bool take_away : {false, true}) {
    for (Term& term : *terms) {
      if (term.take_away != take_away || (term.stored_known && !take_away)) continue;
      if (any && result.empty()) return result;
      if (!term.stored_known && any && result.size() <= kFilterMax) {
        if (Status s = FilterByLabels(*term.matcher, &result); !s.ok()) return s;
        continue;
      }
      if (!term.stored_known) {
        if (Status s = ReadStoredRange(&term); !s.ok()) return s;
      }
      const Operand operand = United(term.stored, &term.delta);
      if (take_away) {
        result.Subtract(*operand.set);
      } else {
        intersect(operand);
      }
    }
  }
  // 3. What was removed, and series that came after the snapshot, which some reads may have seen and others not.
  if (!snapshot.removed.empty()) result.Subtract(snapshot.removed);
  if (!result.empty() && roaring_bitmap_maximum(result.raw()) >= snapshot.next_ordinal) {
    roaring_bitmap_remove_range_closed(result.raw(), static_cast<std::uint32_t>(snapshot.next_ordinal), 0xffffffff);
  }
  return result;
}

Result<OrdinalSet> IndexShard::Impl::Select(std::span<const CompiledMatcher> matchers) const {
  const ScopedTimer timer(&read_latency_);
  std::vector<Term> terms;
  terms.reserve(matchers.size() + 1);
  bool some_taken = false;
  for (const CompiledMatcher& matcher : matchers) {
    Term term = Term::Of(matcher);
    if (term.Nothing()) {
      if (!term.take_away) return OrdinalSet();
      continue;
    }
    some_taken = some_taken || !term.take_away;
    terms.push_back(std::move(term));
  }
  if (!some_taken) terms.push_back(Term::Everything());
  Snapshot snapshot;
  TakeSnapshot(&terms, &snapshot);
  if (Status s = ReadStoredPoints(&terms, snapshot); !s.ok()) return s;
  return Combine(&terms, snapshot);
}

}  // namespace chronolith
