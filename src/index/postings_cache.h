// PostingsCache: decoded postings of all shards, and the labels of series that queries found, bounded in bytes, in front of the
// engine.
#ifndef CHRONOLITH_INDEX_POSTINGS_CACHE_H_
#define CHRONOLITH_INDEX_POSTINGS_CACHE_H_

#include <absl/container/flat_hash_set.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "base/counters.h"
#include "base/mutex.h"
#include "format/series_id.h"
#include "index/postings.h"

namespace chronolith {

// Names an entry within one shard.
struct PostingsKey {
  enum class Kind : std::uint8_t {
    kPair,     // the stored postings of (name, text); may be empty: that there are none is worth keeping too
    kMatcher,  // the union of the stored postings that the matcher `text` takes of `name`
    kLabels,   // the encoded labels of the stored series whose ordinal is the four bytes of `name`
  };
  Kind kind = Kind::kPair;
  std::string_view name;
  std::string_view text;
};

// Least recently used first out, in 16 segments with a lock and a 16th of the bytes each. Thread safety: all methods may be called
// concurrently. Must outlive its CacheClients.
class PostingsCache {
 public:
  explicit PostingsCache(std::uint64_t bytes_max) : segment_bytes_max_(bytes_max / kSegments) {}

  std::uint64_t bytes_max() const { return segment_bytes_max_ * kSegments; }
  std::uint64_t bytes() const;

 private:
  friend class CacheClient;
  static constexpr std::size_t kSegments = 16;

  struct Lookup {
    std::uint64_t client = 0;
    std::uint64_t hash = 0;
    PostingsKey key;
  };
  struct Entry {
    std::uint64_t client = 0;
    std::uint64_t hash = 0;
    PostingsKey::Kind kind = PostingsKey::Kind::kPair;
    std::string name;
    std::string text;
    std::uint64_t stamp = 0;
    std::uint64_t bytes = 0;
    SharedPostings postings;
    std::string labels;
    SharedCounter* client_bytes = nullptr;
  };
  using Entries = std::list<Entry>;  // most recently used first
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const Entries::iterator& e) const { return e->hash; }
    std::size_t operator()(const Lookup& l) const { return l.hash; }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Entries::iterator& a, const Entries::iterator& b) const { return a == b; }
    bool operator()(const Lookup& l, const Entries::iterator& e) const { return (*this)(e, l); }
    bool operator()(const Entries::iterator& e, const Lookup& l) const {
      return e->hash == l.hash && e->client == l.client && e->kind == l.key.kind && e->name == l.key.name && e->text == l.key.text;
    }
  };
  struct alignas(kCacheLine) Segment {
    mutable Mutex mu;
    Entries entries ABSL_GUARDED_BY(mu);
    absl::flat_hash_set<Entries::iterator, Hash, Equal> index ABSL_GUARDED_BY(mu);
    std::uint64_t bytes ABSL_GUARDED_BY(mu) = 0;
  };

  static void Erase(Segment* segment, Entries::iterator entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(segment->mu);
  Segment& SegmentOf(std::uint64_t hash) { return segments_[hash >> 60]; }

  const std::uint64_t segment_bytes_max_;
  std::atomic<std::uint64_t> next_client_{1};
  std::array<Segment, kSegments> segments_;
};

// One shard's view of the cache; with a null cache every Get misses.
//
// How entries stay true to the rows while a checkpoint changes them: whoever fills the cache takes stamp() before reading the rows
// and gives it to Put. A checkpoint, once its rows are written, calls BeginStamp, then Invalidate for each key that it changed, and
// only then lets go of the in-memory postings that it wrote. So a fill that may have read old rows is refused by Put, or had been
// put earlier and is erased; and a reader who no longer sees the in-memory postings cannot meet an old entry, provided that it
// looked at memory first and at the cache second. Entries of kind kMatcher are good for one stamp.
//
// Thread safety: all methods may be called concurrently; BeginStamp by one thread at a time.
class CacheClient {
 public:
  explicit CacheClient(PostingsCache* cache);
  ~CacheClient();  // takes its entries out
  CacheClient(const CacheClient&) = delete;
  CacheClient& operator=(const CacheClient&) = delete;

  std::uint64_t stamp() const { return stamp_.load(std::memory_order_acquire); }
  SharedPostings Get(const PostingsKey& key);  // null: not there
  void Put(const PostingsKey& key, std::uint64_t stamp, SharedPostings postings);
  // Appends the encoded labels and returns true, where they are there.
  bool GetLabels(Ordinal ordinal, std::string* encoded);
  void PutLabels(Ordinal ordinal, std::uint64_t stamp, std::string_view encoded);
  void InvalidateLabels(Ordinal ordinal);
  void BeginStamp() { stamp_.fetch_add(1, std::memory_order_acq_rel); }
  void Invalidate(const PostingsKey& key);

  std::uint64_t hits() const { return hits_.Get(); }  // of Get
  std::uint64_t misses() const { return misses_.Get(); }
  std::uint64_t labels_hits() const { return labels_hits_.Get(); }  // of GetLabels
  std::uint64_t labels_misses() const { return labels_misses_.Get(); }
  std::uint64_t bytes() const { return bytes_.Get(); }

 private:
  PostingsCache::Lookup LookupOf(const PostingsKey& key) const;
  // `value` has postings or labels; the rest is filled in here.
  void PutEntry(const PostingsKey& key, std::uint64_t stamp, PostingsCache::Entry value);

  PostingsCache* const cache_;
  const std::uint64_t id_;
  std::atomic<std::uint64_t> stamp_{1};
  SharedCounter hits_;
  SharedCounter misses_;
  SharedCounter labels_hits_;
  SharedCounter labels_misses_;
  SharedCounter bytes_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_POSTINGS_CACHE_H_
