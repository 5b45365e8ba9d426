#include "server/series_cache.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace chronolith::server {
namespace {

constexpr std::size_t kFirstSlots = 64;
constexpr std::uint32_t kStaleMinutes = 5;
constexpr int kLooksForRoom = 16;
// How far a look-up reads ahead: memory takes longer than comparing a few hundred bytes.
constexpr std::size_t kAheadSlot = 8, kAheadEntry = 4;

}  // namespace

// Followed by the key's bytes.
struct SeriesCache::Entry {
  SeriesRef ref;
  std::uint64_t metadata;
  std::atomic<std::uint32_t> used_minutes;  // written by look-ups, under the shared lock
  std::uint32_t key_bytes;

  char* key() { return reinterpret_cast<char*>(this + 1); }
  std::uint64_t bytes() const { return sizeof(Entry) + key_bytes + 16; }  // 16: what the allocator takes
  bool Is(std::string_view k) { return k.size() == key_bytes && std::memcmp(k.data(), key(), k.size()) == 0; }
};

SeriesCache::SeriesCache(std::uint64_t bytes_max) : shard_bytes_max_(bytes_max / kShards) {
  for (Shard& shard : shards_) {
    shard.slots.resize(kFirstSlots);
    shard.bytes = kFirstSlots * sizeof(Slot);
  }
}

SeriesCache::~SeriesCache() {
  for (Shard& shard : shards_) {
    for (const Slot& slot : shard.slots) std::free(slot.entry);
  }
}

SeriesCache::Entry* SeriesCache::FindIn(const Shard& shard, const Key& key) {
  const std::size_t mask = shard.slots.size() - 1;
  for (std::size_t at = key.hash & mask; shard.slots[at].entry != nullptr; at = (at + 1) & mask) {
    if (shard.slots[at].hash == key.hash && shard.slots[at].entry->Is(key.bytes)) return shard.slots[at].entry;
  }
  return nullptr;
}

void SeriesCache::Find(std::span<const Key> keys, std::uint32_t now_minutes,
                       std::vector<Value>* values) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  values->assign(keys.size(), {});
  // Always in this order, and who writes holds one lock only.
  for (Shard& shard : shards_) shard.mu.ReaderLock();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (i + kAheadSlot < keys.size()) {
      const Shard& shard = shards_[ShardOf(keys[i + kAheadSlot].hash)];
      __builtin_prefetch(&shard.slots[keys[i + kAheadSlot].hash & (shard.slots.size() - 1)]);
    }
    if (i + kAheadEntry < keys.size()) {
      const Shard& shard = shards_[ShardOf(keys[i + kAheadEntry].hash)];
      if (Entry* entry = shard.slots[keys[i + kAheadEntry].hash & (shard.slots.size() - 1)].entry; entry != nullptr) {
        for (std::size_t line = 0; line < 5; ++line) __builtin_prefetch(reinterpret_cast<const char*>(entry) + line * kCacheLine);
      }
    }
    Entry* entry = FindIn(shards_[ShardOf(keys[i].hash)], keys[i]);
    if (entry == nullptr) continue;
    if (entry->used_minutes.load(std::memory_order_relaxed) != now_minutes) {
      entry->used_minutes.store(now_minutes, std::memory_order_relaxed);
    }
    (*values)[i] = {entry->ref, entry->metadata};
  }
  for (Shard& shard : shards_) shard.mu.ReaderUnlock();
}

void SeriesCache::Grow(Shard* shard) {
  std::vector<Slot> larger(shard->slots.size() * 2);
  const std::size_t mask = larger.size() - 1;
  for (const Slot& slot : shard->slots) {
    if (slot.entry == nullptr) continue;
    std::size_t at = slot.hash & mask;
    while (larger[at].entry != nullptr) at = (at + 1) & mask;
    larger[at] = slot;
  }
  shard->bytes += shard->slots.size() * sizeof(Slot);
  shard->slots = std::move(larger);
}

// Closes the gap, so that no mark of what was erased is needed.
void SeriesCache::EraseAt(Shard* shard, std::size_t at) {
  const std::size_t mask = shard->slots.size() - 1;
  shard->bytes -= shard->slots[at].entry->bytes();
  --shard->used;
  std::free(shard->slots[at].entry);
  shard->slots[at] = {};
  for (std::size_t next = (at + 1) & mask; shard->slots[next].entry != nullptr; next = (next + 1) & mask) {
    const std::size_t home = shard->slots[next].hash & mask;
    if (((next - home) & mask) < ((next - at) & mask)) continue;  // it is reached without the gap
    shard->slots[at] = shard->slots[next];
    shard->slots[next] = {};
    at = next;
  }
}

bool SeriesCache::MakeRoom(Shard* shard, std::uint64_t bytes, std::uint32_t now_minutes) {
  const std::size_t mask = shard->slots.size() - 1;
  for (int look = 0; look < kLooksForRoom && shard->bytes + bytes > shard_bytes_max_; ++look) {
    const Entry* entry = shard->slots[shard->hand].entry;
    if (entry != nullptr && entry->used_minutes.load(std::memory_order_relaxed) + kStaleMinutes < now_minutes) {
      EraseAt(shard, shard->hand);  // another may stand there now: looked at next
    } else {
      shard->hand = (shard->hand + 1) & mask;
    }
  }
  return shard->bytes + bytes <= shard_bytes_max_;
}

void SeriesCache::Insert(const Key& key, const Value& value, std::uint32_t now_minutes) {
  Shard& shard = shards_[ShardOf(key.hash)];
  MutexLock lock(&shard.mu);
  if (Entry* known = FindIn(shard, key); known != nullptr) {
    known->ref = value.ref;
    known->metadata = value.metadata;
    return;
  }
  const bool grows = (shard.used + 1) * 4 > shard.slots.size() * 3;
  const std::uint64_t bytes = sizeof(Entry) + key.bytes.size() + 16 + (grows ? shard.slots.size() * sizeof(Slot) : 0);
  if (key.bytes.size() > UINT32_MAX || !MakeRoom(&shard, bytes, now_minutes)) return;
  void* memory = std::malloc(sizeof(Entry) + key.bytes.size());
  if (memory == nullptr) return;
  if (grows) Grow(&shard);
  Entry* entry = new (memory) Entry{.ref = value.ref,
                                    .metadata = value.metadata,
                                    .used_minutes = now_minutes,
                                    .key_bytes = static_cast<std::uint32_t>(key.bytes.size())};
  std::memcpy(entry->key(), key.bytes.data(), key.bytes.size());
  const std::size_t mask = shard.slots.size() - 1;
  std::size_t at = key.hash & mask;
  while (shard.slots[at].entry != nullptr) at = (at + 1) & mask;
  shard.slots[at] = {key.hash, entry};
  shard.bytes += entry->bytes();
  ++shard.used;
}

void SeriesCache::Erase(const Key& key) {
  Shard& shard = shards_[ShardOf(key.hash)];
  MutexLock lock(&shard.mu);
  const std::size_t mask = shard.slots.size() - 1;
  for (std::size_t at = key.hash & mask; shard.slots[at].entry != nullptr; at = (at + 1) & mask) {
    if (shard.slots[at].hash != key.hash || !shard.slots[at].entry->Is(key.bytes)) continue;
    EraseAt(&shard, at);
    return;
  }
}

std::uint64_t SeriesCache::bytes() const {
  std::uint64_t sum = 0;
  for (const Shard& shard : shards_) {
    ReaderMutexLock lock(&shard.mu);
    sum += shard.bytes;
  }
  return sum;
}

std::uint64_t SeriesCache::size() const {
  std::uint64_t sum = 0;
  for (const Shard& shard : shards_) {
    ReaderMutexLock lock(&shard.mu);
    sum += shard.used;
  }
  return sum;
}

}  // namespace chronolith::server
