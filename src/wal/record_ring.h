// RecordRing: the bounded byte ring between the writers of one shard and the committer.
//
//        head (consumed)            tail (published)       reserved
//   ------|--------------------------|----------------------|------------> byte positions, never wrapping (64 bits)
//         |  records to commit       |  promised to writers | free, up to head + capacity
//
// Protocol. A writer (1) reserves bytes without any lock; (2) under the shard's append lock copies whole records to the tail and
// publishes it: so there is one producer at a time. The leader of a group commit is the one consumer: it reads [head, tail) and,
// when the engine has taken the bytes, advances head. No operation blocks, none allocates.
//
// Orderings (all in the accessors below): the store of tail is a release that the consumer's load acquires, and is sequentially
// consistent with the start of a group commit (see ShardedWAL::Ticket); the store of head is a release that Reserve acquires, so
// bytes are not overwritten before they were read.
#ifndef CHRONOLITH_WAL_RECORD_RING_H_
#define CHRONOLITH_WAL_RECORD_RING_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/counters.h"

namespace chronolith {

class RecordRing {
 public:
  // `capacity`: a power of two.
  explicit RecordRing(std::uint64_t capacity) : mask_(capacity - 1), bytes_(new char[capacity]) {}

  std::uint64_t capacity() const { return mask_ + 1; }

  // Promises room for `n` bytes and returns how many are promised or queued now; nullopt where the ring is too full. Any thread.
  std::optional<std::uint64_t> Reserve(std::uint64_t n) {
    std::uint64_t reserved = reserved_.load(std::memory_order_relaxed);
    std::int64_t used;
    do {
      // Signed: where others have moved on since `reserved` was read, head may be past it, and the exchange below reads it again.
      used = static_cast<std::int64_t>(reserved + n - head_.load(std::memory_order_acquire));
      if (used > static_cast<std::int64_t>(capacity())) return std::nullopt;
    } while (!reserved_.compare_exchange_weak(reserved, reserved + n, std::memory_order_acq_rel));
    return static_cast<std::uint64_t>(used);
  }

  void Unreserve(std::uint64_t n) { reserved_.fetch_sub(n, std::memory_order_acq_rel); }

  // Copies whole records for which room was reserved. The producer, under the append lock.
  void Publish(std::string_view records) {
    const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
    const std::uint64_t at = tail & mask_;
    const std::uint64_t first = std::min<std::uint64_t>(records.size(), capacity() - at);
    std::memcpy(bytes_.get() + at, records.data(), first);
    std::memcpy(bytes_.get(), records.data() + first, records.size() - first);
    tail_.store(tail + records.size(), std::memory_order_seq_cst);
  }

  std::uint64_t Tail() const { return tail_.load(std::memory_order_seq_cst); }
  std::uint64_t Head() const { return head_.load(std::memory_order_relaxed); }
  std::uint64_t QueuedBytes() const { return tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_relaxed); }

  // The consumer: the bytes of [from, to), valid until Consume; in `scratch` where they wrap.
  std::string_view View(std::uint64_t from, std::uint64_t to, std::string* scratch) const {
    const std::uint64_t at = from & mask_;
    const std::uint64_t first = std::min<std::uint64_t>(to - from, capacity() - at);
    if (first == to - from) return {bytes_.get() + at, first};
    scratch->assign(bytes_.get() + at, first);
    scratch->append(bytes_.get(), to - from - first);
    return *scratch;
  }
  // The consumer: the u16 at `position`, which may wrap.
  std::uint16_t Load16(std::uint64_t position) const {
    return static_cast<std::uint16_t>(static_cast<unsigned char>(bytes_[position & mask_]) |
                                      (static_cast<unsigned char>(bytes_[(position + 1) & mask_]) << 8));
  }
  // The consumer: everything before `position` may be overwritten.
  void Consume(std::uint64_t position) { head_.store(position, std::memory_order_release); }

 private:
  const std::uint64_t mask_;
  std::unique_ptr<char[]> bytes_;
  alignas(kCacheLine) std::atomic<std::uint64_t> reserved_{0};
  alignas(kCacheLine) std::atomic<std::uint64_t> tail_{0};
  alignas(kCacheLine) std::atomic<std::uint64_t> head_{0};
};

}  // namespace chronolith

#endif  // CHRONOLITH_WAL_RECORD_RING_H_
