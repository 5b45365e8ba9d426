#include "index/postings_cache.h"

#include <utility>

#include "base/hash.h"

namespace chronolith {
namespace {

constexpr std::uint64_t kEntryOverhead = 200;  // list node, slot of the set, control block

}  // namespace

std::uint64_t PostingsCache::bytes() const {
  std::uint64_t total = 0;
  for (const Segment& segment : segments_) {
    MutexLock lock(&segment.mu);
    total += segment.bytes;
  }
  return total;
}

void PostingsCache::Erase(Segment* segment, Entries::iterator entry) {
  segment->bytes -= entry->bytes;
  entry->client_bytes->Sub(entry->bytes);
  segment->index.erase(entry);
  segment->entries.erase(entry);
}

CacheClient::CacheClient(PostingsCache* cache) : cache_(cache), id_(cache == nullptr ? 0 : cache->next_client_.fetch_add(1)) {}

CacheClient::~CacheClient() {
  if (cache_ == nullptr) return;
  for (PostingsCache::Segment& segment : cache_->segments_) {
    MutexLock lock(&segment.mu);
    for (auto it = segment.entries.begin(); it != segment.entries.end();) {
      const auto entry = it++;
      if (entry->client == id_) PostingsCache::Erase(&segment, entry);
    }
  }
}

PostingsCache::Lookup CacheClient::LookupOf(const PostingsKey& key) const {
  std::uint64_t hash = StableHash(key.name) * 0x9e3779b97f4a7c15ULL + StableHash(key.text);
  hash = (hash ^ (id_ << 8) ^ static_cast<std::uint64_t>(key.kind)) * 0x9e3779b97f4a7c15ULL;
  return {id_, hash ^ (hash >> 32), key};
}

SharedPostings CacheClient::Get(const PostingsKey& key) {
  if (cache_ == nullptr) {
    misses_.Add();
    return nullptr;
  }
  const PostingsCache::Lookup lookup = LookupOf(key);
  PostingsCache::Segment& segment = cache_->SegmentOf(lookup.hash);
  {
    MutexLock lock(&segment.mu);
    const auto it = segment.index.find(lookup);
    if (it != segment.index.end() && (key.kind != PostingsKey::Kind::kMatcher || (*it)->stamp == stamp())) {
      segment.entries.splice(segment.entries.begin(), segment.entries, *it);
      hits_.Add();
      return (*it)->postings;
    }
  }
  misses_.Add();
  return nullptr;
}

void CacheClient::Put(const PostingsKey& key, std::uint64_t stamp_before_reading, SharedPostings postings) {
  if (cache_ == nullptr) return;
  const std::uint64_t bytes = postings->memory_bytes() + key.name.size() + key.text.size() + kEntryOverhead;
  if (bytes > cache_->segment_bytes_max_ / 2) return;  // would push out too much
  const PostingsCache::Lookup lookup = LookupOf(key);
  PostingsCache::Segment& segment = cache_->SegmentOf(lookup.hash);
  SharedPostings replaced;  // freed after the lock
  MutexLock lock(&segment.mu);
  if (stamp() != stamp_before_reading) return;
  if (const auto it = segment.index.find(lookup); it != segment.index.end()) {
    replaced = (*it)->postings;
    PostingsCache::Erase(&segment, *it);
  }
  segment.entries.push_front({.client = id_,
                              .hash = lookup.hash,
                              .kind = key.kind,
                              .name = std::string(key.name),
                              .text = std::string(key.text),
                              .stamp = stamp_before_reading,
                              .bytes = bytes,
                              .postings = std::move(postings),
                              .client_bytes = &bytes_});
  segment.index.insert(segment.entries.begin());
  segment.bytes += bytes;
  bytes_.Add(bytes);
  while (segment.bytes > cache_->segment_bytes_max_) PostingsCache::Erase(&segment, std::prev(segment.entries.end()));
}

void CacheClient::Invalidate(const PostingsKey& key) {
  if (cache_ == nullptr) return;
  const PostingsCache::Lookup lookup = LookupOf(key);
  PostingsCache::Segment& segment = cache_->SegmentOf(lookup.hash);
  MutexLock lock(&segment.mu);
  if (const auto it = segment.index.find(lookup); it != segment.index.end()) PostingsCache::Erase(&segment, *it);
}

}  // namespace chronolith
