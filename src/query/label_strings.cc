// Names of labels and their values, of which there may be as many as series: they come from each shard some at a time, and are
// merged.
#include <algorithm>
#include <queue>
#include <utility>

#include "query/matching.h"
#include "query/poll.h"
#include "query/select.h"

namespace chronolith {
namespace {

constexpr std::size_t kPageBytes = 512 << 10;

// Offers the page what an index has of the series in `within`; null: of all.
using Offer = std::function<Status(const IndexShard& index, const OrdinalSet* within, StringPage* page)>;

// The strings of one shard, in order.
class ShardStrings {
 public:
  ShardStrings(const ShardReader* shard, const OrdinalSet* within, const WorkBounds& bounds)
      : shard_(shard), within_(within), page_({}, kPageBytes, bounds) {}

  // Moves to the next one.
  Status Next(const Offer& offer, Poll* poll, DamagePolicy* damage) {
    if (started_ && ++at_ != page_.strings().end()) return Status::Ok();
    if (started_ && !page_.full()) {
      done_ = true;
      return Status::Ok();
    }
    if (Status s = poll->Check(); !s.ok()) return s;
    if (started_) page_.Turn();
    started_ = true;
    Status read = offer(*shard_->index, within_, &page_);
    if (read.ok()) read = page_.status();
    if (!read.ok()) page_ = StringPage();
    at_ = page_.strings().begin();
    done_ = at_ == page_.strings().end();
    return damage->Filter(shard_->shard, read);
  }
  bool done() const { return done_; }
  const std::string& string() const { return *at_; }

 private:
  const ShardReader* const shard_;
  const OrdinalSet* const within_;
  StringPage page_;
  StringPage::Strings::const_iterator at_;
  bool started_ = false;
  bool done_ = false;
};

// The ordinals of each shard that any of the selectors matches; empty where all do.
Status MatchAny(const QueryContext& context, std::span<const std::vector<Matcher>> selectors, TimeRange range, Poll* poll,
                DamagePolicy* damage, std::vector<OrdinalSet>* matched) {
  const auto everything = [](const std::vector<Matcher>& matchers) { return matchers.empty(); };
  const bool all = selectors.empty() || std::any_of(selectors.begin(), selectors.end(), everything);
  if (all && IsAllOfTime(range)) return damage->Begin(context.quarantine, context.partial);
  const std::vector<Matcher> none;
  if (all) selectors = {&none, 1};
  for (const std::vector<Matcher>& matchers : selectors) {
    std::vector<OrdinalSet> some;
    if (Status s = MatchSeries(context, matchers, range, 0, poll, damage, &some); !s.ok()) return s;
    if (matched->empty()) {
      *matched = std::move(some);
    } else {
      for (std::size_t k = 0; k < some.size(); ++k) (*matched)[k].UnionWith(some[k]);
    }
  }
  return Status::Ok();
}

Result<ListEnd> VisitStrings(const QueryContext& context, std::span<const std::vector<Matcher>> selectors,
                             const LookupOptions& options, const WorkBounds& bounds, const Offer& offer, const VisitString& visit) {
  if (Status s = CheckRange(options.range); !s.ok()) return s;
  ListEnd end;
  if (options.range.empty()) return end;
  Poll poll(options.deadline, bounds.cancelled);
  DamagePolicy damage(options.skip_damaged);
  std::vector<OrdinalSet> matched;
  if (Status s = MatchAny(context, selectors, options.range, &poll, &damage, &matched); !s.ok()) return s;
  std::vector<ShardStrings> shards;
  shards.reserve(context.shards.size());
  for (std::size_t k = 0; k < context.shards.size(); ++k) {
    if (!matched.empty() && matched[k].empty()) continue;
    shards.emplace_back(&context.shards[k], matched.empty() ? nullptr : &matched[k], bounds);
  }
  const auto greater = [](const ShardStrings* a, const ShardStrings* b) { return a->string() > b->string(); };
  std::priority_queue<ShardStrings*, std::vector<ShardStrings*>, decltype(greater)> next(greater);
  const auto advance = [&](ShardStrings* shard) {
    const Status s = shard->Next(offer, &poll, &damage);
    if (s.ok() && !shard->done()) next.push(shard);
    return s;
  };
  for (ShardStrings& shard : shards) {
    if (Status s = advance(&shard); !s.ok()) return s;
  }
  std::string last;  // visited; none is ""
  for (std::uint64_t visited = 0; !next.empty();) {
    ShardStrings* const shard = next.top();
    next.pop();
    if (shard->string() != last) {
      end.truncated = options.limit != 0 && visited == options.limit;
      if (end.truncated) break;
      last = shard->string();
      if (Status s = visit(last); !s.ok()) return s;
      ++visited;
    }
    if (Status s = advance(shard); !s.ok()) return s;
  }
  end.partial = damage.skipped();
  return end;
}

// Of a string that is kept: three times itself while the list grows, and what its text lies in.
constexpr std::uint64_t kKeptBytes = 3 * sizeof(std::string) + 16;

// What `list` visits, kept.
template <typename List>
Result<Lookup<std::string>> Keep(const WorkBounds& bounds, const List& list) {
  Lookup<std::string> lookup;
  const std::uint64_t before = bounds.held_bytes();
  std::uint64_t kept = 0;
  StepTaker taker(bounds);
  const Result<ListEnd> end = list([&](std::string_view s) {
    if (!taker.Take(kKeptBytes + s.size())) return taker.status();
    kept += kKeptBytes + s.size();
    lookup.values.emplace_back(s);
    return Status::Ok();
  });
  if (!end.ok()) return end.status();
  bounds.ShrinkTo(before + kept);  // without the pages
  lookup.truncated = end->truncated;
  lookup.partial = end->partial;
  return lookup;
}

}  // namespace

Result<ListEnd> VisitLabelNames(const QueryContext& context, std::span<const std::vector<Matcher>> selectors,
                                const LookupOptions& options, const WorkBounds& bounds, const VisitString& visit) {
  const auto offer = [](const IndexShard& index, const OrdinalSet* within, StringPage* page) {
    return index.LabelNames(within, page);
  };
  return VisitStrings(context, selectors, options, bounds, offer, visit);
}

Result<ListEnd> VisitLabelValues(const QueryContext& context, const std::string& name,
                                 std::span<const std::vector<Matcher>> selectors, const LookupOptions& options,
                                 const WorkBounds& bounds, const VisitString& visit) {
  const auto offer = [&name](const IndexShard& index, const OrdinalSet* within, StringPage* page) {
    return index.LabelValues(name, within, page);
  };
  return VisitStrings(context, selectors, options, bounds, offer, visit);
}

Result<Lookup<std::string>> LookupLabelNames(const QueryContext& context, std::span<const std::vector<Matcher>> selectors,
                                             const LookupOptions& options, const WorkBounds& bounds) {
  return Keep(bounds, [&](const VisitString& visit) { return VisitLabelNames(context, selectors, options, bounds, visit); });
}

Result<Lookup<std::string>> LookupLabelValues(const QueryContext& context, const std::string& name,
                                              std::span<const std::vector<Matcher>> selectors, const LookupOptions& options,
                                              const WorkBounds& bounds) {
  return Keep(bounds, [&](const VisitString& visit) { return VisitLabelValues(context, name, selectors, options, bounds, visit); });
}

}  // namespace chronolith
