// ChunkRowWriter: collects puts and deletes of one family into batches within the engine's limits and writes them.
#ifndef CHRONOLITH_BLOCK_CHUNK_ROW_WRITER_H_
#define CHRONOLITH_BLOCK_CHUNK_ROW_WRITER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "block/chunk_set.h"
#include "chronolith/kv_engine.h"

namespace chronolith {

// Rows are added in groups: a group becomes visible as a whole. Several groups with one atomicity key share a batch up to about
// 1 MiB, and several batches share an engine write. An outcome that is unknown is tried again: rows are idempotent, and the engine
// applies the writes of one epoch in the order of their submission, so a late first try cannot overtake anything.
// Thread safety: one thread at a time.
class ChunkRowWriter {
 public:
  ChunkRowWriter(KvEngine* engine, FamilyId family, Epoch epoch) : engine_(engine), family_(family), epoch_(epoch) {}

  // Copies key and value.
  void Put(std::string_view key, std::string_view value) { Add(Op::Type::kPut, key, value); }
  void Delete(std::string_view key) { Add(Op::Type::kDelete, key, {}); }
  // Ends a group; writes where enough has been collected. kInvalidArgument where the group exceeds the engine's limits.
  Status EndGroup(std::string_view atomicity_key);
  // Writes what is left. Groups that were not ended are lost.
  Status Flush();

 private:
  struct Group {
    std::string_view atomicity_key;
    std::size_t ops_end = 0;
    std::size_t bytes = 0;
  };
  static constexpr std::size_t kBatchBytes = 1U << 20;
  static constexpr int kTries = 10;

  void Add(Op::Type type, std::string_view key, std::string_view value) {
    ops_.push_back({type, arena_.Copy(key), arena_.Copy(value)});
    group_bytes_ += key.size() + value.size() + 32;  // an engine's own overhead a row, generously
  }
  std::vector<Batch> MakeBatches() const;

  KvEngine* const engine_;
  const FamilyId family_;
  const Epoch epoch_;
  ByteArena arena_;
  std::vector<Op> ops_;
  std::vector<Group> groups_;
  std::size_t group_bytes_ = 0;  // of the group that is being filled
  std::size_t total_bytes_ = 0;  // of ended groups
};

}  // namespace chronolith

#endif  // CHRONOLITH_BLOCK_CHUNK_ROW_WRITER_H_
