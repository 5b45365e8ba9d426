// The rows of a store's column families: how many there are of each kind, and their keys, taken apart.
#ifndef CHRONOLITH_OPS_KEY_LIST_H_
#define CHRONOLITH_OPS_KEY_LIST_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "chronolith/result.h"
#include "ops/context.h"
#include "ops/offline_store.h"

namespace chronolith::ops {

// In the order in which they are told.
enum class RowKind : std::uint8_t {
  kChunk,
  kPackedChunk,
  kTombstone,
  kLabels,
  kHash,
  kPostings,
  kMetadata,
  kLogRow,
  kState,
  kMeta,
  kUnknown,  // its key is none that this build knows
};
std::string_view NameOf(RowKind kind);  // "packed chunk", ...

struct KeyTime {
  Timestamp ms = 0;
};
struct KeyField {
  std::string_view name;
  std::variant<std::uint64_t, KeyTime, std::string> value;
};

struct ListedKey {
  RowKind kind = RowKind::kUnknown;
  std::vector<KeyField> fields;  // in the key's order
  std::uint64_t value_bytes = 0;
};

struct RowUse {
  std::uint64_t rows = 0;
  std::uint64_t key_bytes = 0;  // as the engine is given them, before it shortens and compresses
  std::uint64_t value_bytes = 0;
};

struct FamilyKeys {
  std::string family;             // "chunk.3"
  std::string instance;           // "log", "data"
  std::optional<ShardId> shard;   // none: meta
  std::map<RowKind, RowUse> use;  // of all rows that were read
  std::uint64_t listed = 0;
  std::string problem;  // why not all of it could be read, and figures are lower bounds; or what is wrong with its keys

  std::uint64_t rows() const;
};

// Told of one family after the other, from the thread that lists. An error ends the listing and is returned.
class KeyVisitor {
 public:
  virtual ~KeyVisitor() = default;
  virtual Status OnFamily(const FamilyKeys& family) = 0;  // its name only; its keys follow
  virtual Status OnKey(const ListedKey& key) = 0;
  virtual Status OnFamilyEnd(const FamilyKeys& family) = 0;
};

struct KeyListOptions {
  std::vector<std::string> families;  // by name; none: all
  std::vector<ShardId> shards;        // the families of these only; none: all
  std::uint64_t limit = 20;           // keys a family; 0: all
};

// Reads every row that is wanted, to count it, and decodes keys only: whether values are sound is for Verify to say. A family that
// cannot be read, or not to its end, is told with its problem, and the others follow. Returns the problems, an instance that could
// not be opened first. Memory: the engine's, and a row. kInvalidArgument: there is no such family or shard; kCancelled.
Result<std::vector<std::string>> ListKeys(const OfflineStore& store, const KeyListOptions& options, const OpsContext& context,
                                          KeyVisitor* visitor);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_KEY_LIST_H_
