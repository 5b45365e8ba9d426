#include "ops/salvage_deletes.h"

#include <algorithm>
#include <utility>

#include "base/coding.h"
#include "ops/salvage_chunks.h"

namespace chronolith::ops {
namespace {

constexpr std::size_t kKeyBytes = 1 + sizeof(Lsn) + sizeof(std::uint32_t);

std::optional<Lsn> LsnOf(std::string_view key) {
  if (key.size() < 1 + sizeof(Lsn) || key[0] != kTombstoneKeyTag) return std::nullopt;
  return LoadBigEndian<Lsn>(key.data() + 1);
}

// A run of parts that are missing or cannot be read; the series of parts ascend.
struct Run {
  std::uint64_t first = 0;
  std::optional<std::uint64_t> last;  // none: up to the last series
};

std::vector<Run> RunsWithout(const std::map<std::uint32_t, OrdinalSet>& parts, std::uint64_t count) {
  std::vector<Run> runs;
  std::uint64_t next_part = 0;
  std::uint64_t next_ordinal = 0;
  for (const auto& [part, ordinals] : parts) {
    const std::vector<std::uint32_t> all = ordinals.ToVector();
    if (all.empty()) continue;
    if (part > next_part && all.front() > next_ordinal) runs.push_back({next_ordinal, all.front() - std::uint64_t{1}});
    next_part = part + std::uint64_t{1};
    next_ordinal = all.back() + std::uint64_t{1};
  }
  if (count == 0 || next_part < count) runs.push_back({next_ordinal, std::nullopt});
  return runs;
}

// A place in (low, high) that is good, sought at 64 at most, at equal distances.
template <typename Good>
std::optional<Lsn> GoodBetween(Lsn low, Lsn high, const Good& good) {
  const Lsn step = (high - low) / 64 + 1;
  for (Lsn at = low; high - at > step;) {
    at += step;
    if (good(at)) return at;
  }
  return std::nullopt;
}

// Behind `last`, up to which was read, where reading can go on; none: not found. A sound block between two bad ones is an island,
// which halving steps over, so what lies before the place that is found is sounded, too; one that takes less than a 64th of these
// LSNs may be missed.
template <typename Good>
std::optional<Lsn> NextGood(Lsn last, const Good& good) {
  constexpr Lsn kEnd = ~Lsn{0};
  std::optional<Lsn> found;
  if (good(kEnd)) found = kEnd;
  for (Lsn step = 1; !found && step != 0 && step < kEnd - last; step *= 2) {
    if (good(last + step)) found = last + step;
  }
  for (std::optional<Lsn> before = found; before; before = GoodBetween(last, *found, good)) {
    found = FirstGood(last, *before, good);
  }
  return found;
}

}  // namespace

void SalvageDeletes::Take(std::string_view key, std::string_view value) {
  TombstonePart part;
  const Status s = DecodeTombstone(key, value, &part);
  const std::optional<Lsn> lsn = LsnOf(key);
  if (!lsn || key.size() != kKeyBytes) {
    spans_.push_back({1, std::nullopt, s.message()});
    return;
  }
  Broken& all = broken_[*lsn];
  if (!s.ok()) {
    all.why = s.message();
    return;
  }
  all.range = part.tombstone.range;
  all.count = part.parts;
  all.parts[part.part] = std::move(part.tombstone.ordinals);
}

void SalvageDeletes::Read(KvEngine* chunks, FamilyId family, Tombstones* tombstones) {
  const std::string upper(1, kTombstoneKeyTag + 1);
  const auto at = [&](Lsn lsn) {
    const std::string lower = lsn == 0 ? std::string(1, kTombstoneKeyTag) : TombstonePrefix(lsn);
    auto it = chunks->NewIterator(family, {.lower = lower, .upper = upper, .fill_cache = false});
    if (it.ok()) (*it)->Seek(lower);
    return it;
  };
  const auto readable = [&](Lsn lsn) {
    const auto it = at(lsn);
    return it.ok() && (*it)->status().ok();
  };
  Lsn last = 0;
  Lsn from = 0;
  while (true) {
    const auto it = at(from);
    Status why = it.status();
    if (it.ok()) {
      for (; (*it)->Valid(); (*it)->Next()) {
        last = LsnOf((*it)->key()).value_or(last);
        Take((*it)->key(), (*it)->value());
      }
      why = (*it)->status();
    }
    if (why.ok()) break;
    last = std::max(last, from);
    // The parts behind the last one that was read may be in the block, too.
    const std::optional<Lsn> next = NextGood(last, readable);
    if (!next) {
      spans_.push_back({std::max<Lsn>(last, 1), std::nullopt, why.message()});
      break;
    }
    from = *next;
    spans_.push_back({std::max<Lsn>(last, 1), from - 1, why.message()});
  }
  std::erase_if(broken_, [&](auto& entry) {
    auto& [lsn, all] = entry;
    if (!all.why.empty() || all.parts.size() != all.count) return false;
    Tombstone whole{.lsn = lsn, .range = *all.range, .ordinals = {}};
    for (const auto& [part, ordinals] : all.parts) whole.ordinals.UnionWith(ordinals);
    tombstones->Add(std::move(whole));
    return true;
  });
}

void SalvageDeletes::AddLostTable(const LostTable& table) {
  const auto tag = [](const std::string& key) { return key.empty() ? '\0' : key[0]; };
  if (tag(table.largest) < kTombstoneKeyTag || tag(table.smallest) > kTombstoneKeyTag) return;
  spans_.push_back({LsnOf(table.smallest).value_or(1), LsnOf(table.largest), table.file + " is lost"});
}

void SalvageDeletes::TellBroken(Lsn lsn, const Broken& broken, ShardId shard, LossTeller* teller) const {
  SalvageLoss loss{.kind = LossKind::kDeletes, .shard = shard, .first_lsn = lsn, .last_lsn = lsn};
  if (broken.range) {
    loss.start = broken.range->start;
    loss.end = broken.range->end;
  }
  loss.what = "a delete cannot be read, so what it hid of such samples is there again" +
              (broken.why.empty() ? std::string(": a part of it is missing") : ": " + broken.why);
  for (const Run& run : RunsWithout(broken.parts, broken.count)) {
    teller->EachOf(loss, run.first, run.last.value_or(std::max(run.first, teller->last_ordinal())));
  }
}

void SalvageDeletes::Settle(std::optional<Lsn> trimmed_to, ShardId shard, Tombstones* tombstones, LossTeller* teller,
                            LossList* losses) const {
  const std::shared_ptr<const Tombstones::List> known = tombstones->Get();
  const auto is_known = [&](Lsn lsn) {
    return std::any_of(known->begin(), known->end(), [lsn](const auto& t) { return t->lsn == lsn; });
  };
  for (const auto& [lsn, broken] : broken_) {
    if (is_known(lsn)) continue;  // the log had it
    TellBroken(lsn, broken, shard, teller);
    if (!broken.range) continue;
    Tombstone rest{.lsn = lsn, .range = *broken.range, .ordinals = {}};
    for (const auto& [part, ordinals] : broken.parts) rest.ordinals.UnionWith(ordinals);
    tombstones->Add(std::move(rest));
  }
  for (const Span& span : spans_) {
    std::optional<Lsn> last = span.last;
    if (trimmed_to) last = std::min(last.value_or(*trimmed_to), *trimmed_to);
    if (last && *last < span.first) continue;
    losses->Add({.kind = LossKind::kDeletes,
                 .shard = shard,
                 .first_lsn = span.first,
                 .last_lsn = last.value_or(0),
                 .what = "deletes that were logged as these records, if there were any, cannot be read, and what they hid is there "
                         "again: " +
                         span.why});
  }
}

}  // namespace chronolith::ops
