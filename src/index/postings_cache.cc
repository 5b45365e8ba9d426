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

void CacheClient::Put(const PostingsKey& key, std::uint64_t stamp, SharedPostings postings) {
  const std::uint64_t bytes = postings->memory_bytes();
  PutEntry(key, stamp, {.bytes = bytes, .postings = std::move(postings)});
}

void CacheClient::PutEntry(const PostingsKey& key, std::uint64_t stamp_before_reading, PostingsCache::Entry value) {
  if (cache_ == nullptr) return;
  const PostingsCache::Lookup lookup = LookupOf(key);
  value.client = id_;
  value.hash = lookup.hash;
  value.kind = key.kind;
  value.name = key.name;
  value.text = key.text;
  value.stamp = stamp_before_reading;
  value.bytes += key.name.size() + key.text.size() + kEntryOverhead;
  value.client_bytes = &bytes_;
  if (value.bytes > cache_->segment_bytes_max_ / 2) return;  // would push out too much
  PostingsCache::Segment& segment = cache_->SegmentOf(lookup.hash);
  SharedPostings replaced;  // freed after the lock
  MutexLock lock(&segment.mu);
  if (stamp() != stamp_before_reading) return;
  if (const auto it = segment.index.find(lookup); it != segment.index.end()) {
    replaced = (*it)->postings;
    PostingsCache::Erase(&segment, *it);
  }
  segment.bytes += value.bytes;
  bytes_.Add(value.bytes);
  segment.entries.push_front(std::move(value));
  segment.index.insert(segment.entries.begin());
  while (segment.bytes > cache_->segment_bytes_max_) PostingsCache::Erase(&segment, std::prev(segment.entries.end()));
}

namespace {

// The key of a series' labels; lives as long as its ordinal.
PostingsKey LabelsKey(const Ordinal& ordinal) {
  return {PostingsKey::Kind::kLabels, {reinterpret_cast<const char*>(&ordinal), sizeof(ordinal)}, {}};
}

}  // namespace

bool CacheClient::GetLabels(Ordinal ordinal, std::string* encoded) {
  if (cache_ == nullptr) return false;
  const PostingsCache::Lookup lookup = LookupOf(LabelsKey(ordinal));
  PostingsCache::Segment& segment = cache_->SegmentOf(lookup.hash);
  {
    MutexLock lock(&segment.mu);
    if (const auto it = segment.index.find(lookup); it != segment.index.end()) {
      segment.entries.splice(segment.entries.begin(), segment.entries, *it);
      encoded->append((*it)->labels);
      labels_hits_.Add();
      return true;
    }
  }
  labels_misses_.Add();
  return false;
}

void CacheClient::PutLabels(Ordinal ordinal, std::uint64_t stamp, std::string_view encoded) {
  PutEntry(LabelsKey(ordinal), stamp, {.bytes = encoded.size(), .labels = std::string(encoded)});
}

void CacheClient::InvalidateLabels(Ordinal ordinal) { Invalidate(LabelsKey(ordinal)); }

void CacheClient::Invalidate(const PostingsKey& key) {
  if (cache_ == nullptr) return;
  const PostingsCache::Lookup lookup = LookupOf(key);
  PostingsCache::Segment& segment = cache_->SegmentOf(lookup.hash);
  MutexLock lock(&segment.mu);
  if (const auto it = segment.index.find(lookup); it != segment.index.end()) PostingsCache::Erase(&segment, *it);
}

}  // namespace chronolith
