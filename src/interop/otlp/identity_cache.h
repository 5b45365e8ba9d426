// What the raw bytes of an identity were found to mean, so that what comes again and again is looked up instead of being
// translated.
#ifndef CHRONOLITH_INTEROP_OTLP_IDENTITY_CACHE_H_
#define CHRONOLITH_INTEROP_OTLP_IDENTITY_CACHE_H_

#include <absl/container/flat_hash_map.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "base/hash.h"
#include "base/mutex.h"

namespace chronolith::interop::otlp {

// (parent, bytes) -> Value. The bytes are kept and compared: two identities with one hash are never taken for each other (the
// second is not kept). Bounded: each part holds two generations; where the younger has half of the bound the older is dropped, and
// what is found in the older moves to the younger. Thread safety: all methods may be called concurrently.
template <typename Value>
class IdentityCache {
 public:
  explicit IdentityCache(std::size_t bytes_max) : generation_bytes_max_(bytes_max / 2 / kParts) {}

  bool Find(std::uint64_t parent, std::string_view bytes, Value* value) {
    const std::uint64_t hash = HashOf(parent, bytes);
    Part& part = parts_[hash % kParts];
    MutexLock lock(&part.mu);
    if (const auto it = part.young.find(hash); it != part.young.end()) {
      if (!it->second.Is(parent, bytes)) return false;
      *value = it->second.value;
      return true;
    }
    const auto it = part.old.find(hash);
    if (it == part.old.end() || !it->second.Is(parent, bytes)) return false;
    *value = it->second.value;
    Entry entry = std::move(it->second);
    part.old.erase(it);
    Add(&part, hash, std::move(entry));
    return true;
  }

  // `extra`: bytes that the value holds elsewhere.
  void Insert(std::uint64_t parent, std::string_view bytes, Value value, std::size_t extra = 0) {
    const std::uint64_t hash = HashOf(parent, bytes);
    Entry entry;
    entry.parent = parent;
    entry.bytes = std::make_unique_for_overwrite<char[]>(bytes.size());
    if (!bytes.empty()) std::memcpy(entry.bytes.get(), bytes.data(), bytes.size());
    entry.size = static_cast<std::uint32_t>(bytes.size());
    entry.extra = static_cast<std::uint32_t>(extra);
    entry.value = std::move(value);
    Part& part = parts_[hash % kParts];
    MutexLock lock(&part.mu);
    if (!part.young.contains(hash)) Add(&part, hash, std::move(entry));
  }

  void Erase(std::uint64_t parent, std::string_view bytes) {
    const std::uint64_t hash = HashOf(parent, bytes);
    Part& part = parts_[hash % kParts];
    MutexLock lock(&part.mu);
    for (Table* const table : {&part.young, &part.old}) {
      const auto it = table->find(hash);
      if (it == table->end() || !it->second.Is(parent, bytes)) continue;
      if (table == &part.young) part.young_bytes -= BytesOf(it->second);
      table->erase(it);
    }
  }

  void Clear() {
    for (Part& part : parts_) {
      MutexLock lock(&part.mu);
      part.young.clear();
      part.old.clear();
      part.young_bytes = 0;
    }
  }

 private:
  static constexpr std::size_t kParts = 16;
  static constexpr std::size_t kEntryBytes = 64;  // of table and allocator, about

  struct Entry {
    std::uint64_t parent = 0;
    std::unique_ptr<char[]> bytes;
    std::uint32_t size = 0;
    std::uint32_t extra = 0;
    Value value{};
    bool Is(std::uint64_t other_parent, std::string_view other) const {
      return parent == other_parent && other == std::string_view(bytes.get(), size);
    }
  };
  using Table = absl::flat_hash_map<std::uint64_t, Entry>;
  struct alignas(64) Part {
    Mutex mu;
    Table young ABSL_GUARDED_BY(mu);
    Table old ABSL_GUARDED_BY(mu);
    std::size_t young_bytes ABSL_GUARDED_BY(mu) = 0;
  };

  static std::uint64_t HashOf(std::uint64_t parent, std::string_view bytes) {
    return StableHash(bytes) ^ (parent * 0x9e3779b97f4a7c15ULL);
  }

  static std::size_t BytesOf(const Entry& entry) { return entry.size + entry.extra + sizeof(Entry) + kEntryBytes; }

  void Add(Part* part, std::uint64_t hash, Entry entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(part->mu) {
    const std::size_t bytes = BytesOf(entry);
    if (part->young_bytes + bytes > generation_bytes_max_) {
      part->old = std::move(part->young);
      part->young = Table();
      part->young_bytes = 0;
    }
    part->young_bytes += bytes;
    part->young.emplace(hash, std::move(entry));
  }

  const std::size_t generation_bytes_max_;
  std::array<Part, kParts> parts_;
};

}  // namespace chronolith::interop::otlp

#endif  // CHRONOLITH_INTEROP_OTLP_IDENTITY_CACHE_H_
