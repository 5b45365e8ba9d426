#include "plugins/memory/persistent_map.h"

#include "base/hash.h"

namespace chronolith {
namespace {

using Node = PersistentMap::Node;
using NodePtr = PersistentMap::NodePtr;

void Update(Node* n) {
  n->count = 1;
  n->bytes = n->key.size() + n->value->bytes.size();
  for (const NodePtr* child : {&n->left, &n->right}) {
    if (!*child) continue;
    n->count += (*child)->count;
    n->bytes += (*child)->bytes;
  }
}

// The node itself where `n` is its only owner, else a copy. Since a copy shares the children, they are then not unique either:
// walking down by moves copies exactly the shared nodes.
NodePtr Own(NodePtr n) {
  if (n.unique()) return n;
  auto copy = NodePtr(new Node);
  copy->key = n->key;
  copy->value = n->value;
  copy->priority = n->priority;
  copy->count = n->count;
  copy->bytes = n->bytes;
  copy->left = n->left;
  copy->right = n->right;
  return copy;
}

// Splits into keys < key and keys >= key.
std::pair<NodePtr, NodePtr> Split(NodePtr n, std::string_view key) {
  if (!n) return {};
  n = Own(std::move(n));
  if (n->key < key) {
    auto [low, high] = Split(std::move(n->right), key);
    n->right = std::move(low);
    Update(n.get());
    return {std::move(n), std::move(high)};
  }
  auto [low, high] = Split(std::move(n->left), key);
  n->left = std::move(high);
  Update(n.get());
  return {std::move(low), std::move(n)};
}

// All keys of `low` are smaller than all of `high`.
NodePtr Join(NodePtr low, NodePtr high) {
  if (!low) return high;
  if (!high) return low;
  if (low->priority >= high->priority) {
    low = Own(std::move(low));
    low->right = Join(std::move(low->right), std::move(high));
    Update(low.get());
    return low;
  }
  high = Own(std::move(high));
  high->left = Join(std::move(low), std::move(high->left));
  Update(high.get());
  return high;
}

NodePtr Insert(NodePtr n, std::string_view key, std::uint64_t priority, MapValuePtr value) {
  if (n && n->key == key) {
    n = Own(std::move(n));
    n->value = std::move(value);
  } else if (n && n->priority >= priority) {
    n = Own(std::move(n));
    NodePtr& child = key < n->key ? n->left : n->right;
    child = Insert(std::move(child), key, priority, std::move(value));
  } else {
    // Below here all priorities are smaller, so the key, whose priority is a function of it, cannot occur.
    auto [low, high] = Split(std::move(n), key);
    n = NodePtr(new Node);
    n->key = key;
    n->value = std::move(value);
    n->priority = priority;
    n->left = std::move(low);
    n->right = std::move(high);
  }
  Update(n.get());
  return n;
}

NodePtr Remove(NodePtr n, std::string_view key) {  // the key is there
  n = Own(std::move(n));
  if (n->key == key) return Join(std::move(n->left), std::move(n->right));
  NodePtr& child = key < n->key ? n->left : n->right;
  child = Remove(std::move(child), key);
  Update(n.get());
  return n;
}

std::uint64_t BytesBelow(const Node* n, std::string_view key) {
  std::uint64_t bytes = 0;
  while (n != nullptr) {
    if (n->key < key) {
      bytes += n->key.size() + n->value->bytes.size() + (n->left ? n->left->bytes : 0);
      n = n->right.get();
    } else {
      n = n->left.get();
    }
  }
  return bytes;
}

}  // namespace

MapValuePtr MakeMapValue(std::string bytes, bool damaged) {
  auto value = MapValuePtr(new MapValue);
  value->bytes = std::move(bytes);
  value->damaged = damaged;
  return value;
}

const MapValue* PersistentMap::Find(std::string_view key) const {
  const Node* n = root_.get();
  while (n != nullptr) {
    const int order = key.compare(n->key);
    if (order == 0) return n->value.get();
    n = order < 0 ? n->left.get() : n->right.get();
  }
  return nullptr;
}

void PersistentMap::Set(std::string_view key, MapValuePtr value) {
  root_ = Insert(std::move(root_), key, StableHash(key), std::move(value));
}

void PersistentMap::Erase(std::string_view key) {
  if (Find(key) != nullptr) root_ = Remove(std::move(root_), key);
}

void PersistentMap::EraseRange(std::string_view begin, std::optional<std::string_view> end) {
  if (!root_ || (end && *end <= begin)) return;
  auto [low, rest] = Split(std::move(root_), begin);
  NodePtr high;
  if (end) high = Split(std::move(rest), *end).second;
  root_ = Join(std::move(low), std::move(high));
}

std::uint64_t PersistentMap::size() const { return root_ ? root_->count : 0; }
std::uint64_t PersistentMap::Bytes() const { return root_ ? root_->bytes : 0; }

std::uint64_t PersistentMap::Bytes(std::string_view begin, std::optional<std::string_view> end) const {
  if (end && *end <= begin) return 0;
  return (end ? BytesBelow(root_.get(), *end) : Bytes()) - BytesBelow(root_.get(), begin);
}

void PersistentMap::Cursor::Seek(std::string_view key) {
  path_.clear();
  for (const Node* n = root_.get(); n != nullptr;) {
    if (n->key < key) {
      n = n->right.get();
    } else {
      path_.push_back(n);
      n = n->left.get();
    }
  }
}

void PersistentMap::Cursor::Next() {
  const Node* n = path_.back()->right.get();
  path_.pop_back();
  for (; n != nullptr; n = n->left.get()) path_.push_back(n);
}

std::string_view PersistentMap::Cursor::key() const { return path_.back()->key; }
const MapValue& PersistentMap::Cursor::value() const { return *path_.back()->value; }

}  // namespace chronolith
