// IndexRowWriter: collects the rows of a checkpoint and writes them in batches within the engine's limits.
#ifndef CHRONOLITH_INDEX_ROW_WRITER_H_
#define CHRONOLITH_INDEX_ROW_WRITER_H_

#include <string>
#include <string_view>
#include <vector>

#include "chronolith/kv_engine.h"
#include "format/index_rows.h"

namespace chronolith {

// Rows go into one buffer; Begin*/End* build a value in place. After an error every call returns it, nothing more is written.
// Thread safety: one thread at a time.
class IndexRowWriter {
 public:
  IndexRowWriter(KvEngine* engine, FamilyId family, Epoch epoch);

  // buffer() then ends with the version byte of the new value; append its payload.
  void BeginRow(Op::Type type, std::string_view key);
  std::string* buffer() { return &buffer_; }
  std::string_view key() const;  // of the row begun
  // Seals the value. Writes the batch where it has grown enough; long rows end together: see EndPart.
  Status EndRow();
  Status Put(std::string_view key, std::string_view sealed_value);
  Status Merge(std::string_view key, std::string_view sealed_value);
  Status Delete(std::string_view key);
  // A row that needs parts: all in one batch.
  Status PutLong(char prefix, Ordinal ordinal, const index_rows::LongRow& row, std::string_view bytes);

  Status Finish();  // writes what is left
  std::uint64_t rows() const { return rows_; }

 private:
  struct Row {
    Op::Type type;
    std::size_t key;  // offsets in buffer_
    std::size_t value;
    std::size_t end;
  };

  Status FlushIfLarge();
  Status Flush();
  // For engines that cannot merge: reads, folds, and makes puts of the merges.
  Status FoldMerges(std::vector<Op>* ops, std::vector<std::string>* folded);

  KvEngine* const engine_;
  const FamilyId family_;
  const Epoch epoch_;
  const std::size_t batch_bytes_;
  const bool merges_;
  std::string buffer_;
  std::vector<Row> pending_;
  std::uint64_t rows_ = 0;
  Status status_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_ROW_WRITER_H_
