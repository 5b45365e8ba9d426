// PersistentMap: an ordered map of byte strings whose copies are free, and never change when the original does.
//
// It is a treap (a binary search tree on the keys, a heap on a hash of them) of immutable, shared nodes: a write copies the nodes
// between the root and the place of change, unless this map is their only owner, then it changes them in place. So a snapshot, a
// flushed image and a checkpoint are each one pointer, and a cursor needs no lock. Depth is about 2 log2(n) for every order of
// insertion.
//
// Thread safety: as a value type; different copies may be used by different threads, although they share nodes.
#ifndef CHRONOLITH_PLUGINS_MEMORY_PERSISTENT_MAP_H_
#define CHRONOLITH_PLUGINS_MEMORY_PERSISTENT_MAP_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chronolith {

// An owner of a reference-counted T, which has a member `std::atomic<std::uint32_t> refs`. Unlike std::shared_ptr it can tell
// safely that it is the only owner.
template <typename T>
class RefPtr {
 public:
  RefPtr() = default;
  explicit RefPtr(T* adopted) : p_(adopted) {}  // adopted has refs == 1
  RefPtr(const RefPtr& other) : p_(other.p_) {
    if (p_ != nullptr) p_->refs.fetch_add(1, std::memory_order_relaxed);
  }
  RefPtr(RefPtr&& other) noexcept : p_(std::exchange(other.p_, nullptr)) {}
  RefPtr& operator=(RefPtr other) noexcept {
    std::swap(p_, other.p_);
    return *this;
  }
  ~RefPtr() {
    if (p_ != nullptr && p_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete p_;
  }

  T* get() const { return p_; }
  T* operator->() const { return p_; }
  T& operator*() const { return *p_; }
  explicit operator bool() const { return p_ != nullptr; }
  // Acquire: what other owners did before they let go is visible, so the caller may change the object.
  bool unique() const { return p_->refs.load(std::memory_order_acquire) == 1; }

 private:
  T* p_ = nullptr;
};

// A value, shared between the versions of a map. `damaged`: a merge into it failed, reading it is an error.
struct MapValue {
  std::atomic<std::uint32_t> refs{1};
  std::string bytes;
  bool damaged = false;
};
using MapValuePtr = RefPtr<MapValue>;
MapValuePtr MakeMapValue(std::string bytes, bool damaged = false);

class PersistentMap {
 public:
  struct Node;
  using NodePtr = RefPtr<Node>;

  // Null where the key is absent. Valid until this map changes or dies.
  const MapValue* Find(std::string_view key) const;
  void Set(std::string_view key, MapValuePtr value);
  void Erase(std::string_view key);
  // [begin, end); no end: to the last key.
  void EraseRange(std::string_view begin, std::optional<std::string_view> end);

  std::uint64_t size() const;
  bool empty() const { return !root_; }
  // Keys and values of [begin, end), O(log n).
  std::uint64_t Bytes() const;
  std::uint64_t Bytes(std::string_view begin, std::optional<std::string_view> end) const;

  // A forward cursor over the map as it was; it owns what it walks.
  class Cursor {
   public:
    explicit Cursor(const PersistentMap& map) : root_(map.root_) {}
    void Seek(std::string_view key);  // first key at or after
    void Next();
    bool Valid() const { return !path_.empty(); }
    std::string_view key() const;
    const MapValue& value() const;

   private:
    NodePtr root_;
    std::vector<const Node*> path_;  // the current node on top; below it those whose left subtree it lies in
  };

 private:
  NodePtr root_;
};

struct PersistentMap::Node {
  std::atomic<std::uint32_t> refs{1};
  std::string key;
  MapValuePtr value;
  std::uint64_t priority = 0;
  std::uint64_t count = 1;  // of the subtree
  std::uint64_t bytes = 0;  // of the subtree
  NodePtr left;
  NodePtr right;
};

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_MEMORY_PERSISTENT_MAP_H_
