// SeriesCache: from the bytes that a series' labels have in requests to the store's reference of it, so that the labels of a series
// that was seen before are hashed and compared, and not read.
#ifndef CHRONOLITH_SERVER_SERIES_CACHE_H_
#define CHRONOLITH_SERVER_SERIES_CACHE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/counters.h"
#include "base/mutex.h"
#include "chronolith/storage.h"

namespace chronolith::server {

// Bounded. Where it is full, only what was not looked up for some minutes makes room: with more series than fit, those that are in
// stay in, instead of all taking turns. Shards by hash; a look-up of many series takes each shard's lock once, shared. Thread
// safety: safe.
class SeriesCache {
 public:
  struct Key {
    std::string_view bytes;
    std::uint64_t hash = 0;  // StableHash(bytes)
  };
  struct Value {
    SeriesRef ref;               // id 0: not there
    std::uint64_t metadata = 0;  // what the user of the cache last wrote of its metadata; 0: nothing
  };

  explicit SeriesCache(std::uint64_t bytes_max);
  ~SeriesCache();
  SeriesCache(const SeriesCache&) = delete;
  SeriesCache& operator=(const SeriesCache&) = delete;

  // values is resized to that of keys. `now_minutes`: a clock that only goes forward.
  void Find(std::span<const Key> keys, std::uint32_t now_minutes, std::vector<Value>* values);
  // Replaces what is there; takes nothing where there is no room.
  void Insert(const Key& key, const Value& value, std::uint32_t now_minutes);
  void Erase(const Key& key);

  std::uint64_t bytes() const;
  std::uint64_t size() const;

 private:
  struct Entry;
  struct Slot {
    std::uint64_t hash = 0;
    Entry* entry = nullptr;
  };
  struct alignas(kCacheLine) Shard {
    mutable Mutex mu;
    std::vector<Slot> slots;  // open addressing, a power of two
    std::uint64_t used = 0;
    std::uint64_t bytes = 0;
    std::size_t hand = 0;
  };
  static constexpr std::size_t kShards = 16;

  static std::size_t ShardOf(std::uint64_t hash) { return hash >> 60; }
  static Entry* FindIn(const Shard& shard, const Key& key);
  static void Grow(Shard* shard);
  static void EraseAt(Shard* shard, std::size_t at);
  bool MakeRoom(Shard* shard, std::uint64_t bytes, std::uint32_t now_minutes);

  const std::uint64_t shard_bytes_max_;
  std::array<Shard, kShards> shards_;
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_SERIES_CACHE_H_
