#include "index/row_writer.h"

#include <algorithm>
#include <map>

#include "base/coding.h"
#include "index/postings_merge.h"

namespace chronolith {
namespace {

// Large enough to spread the cost of a write, small enough not to count as memory. An engine adds some bytes a row.
constexpr std::uint64_t kBatchBytes = 512 << 10;
// All rows of an index family have one placement.
constexpr std::string_view kAtomicityKey = "index";

}  // namespace

IndexRowWriter::IndexRowWriter(KvEngine* engine, FamilyId family, Epoch epoch)
    : engine_(engine),
      family_(family),
      epoch_(epoch),
      batch_bytes_(std::min(kBatchBytes, engine->limits().batch_bytes_max / 4)),
      merges_(engine->Has(Capability::kMerge)) {
  buffer_.reserve(batch_bytes_ + (64 << 10));
}

void IndexRowWriter::BeginRow(Op::Type type, std::string_view key) {
  Row row{type, buffer_.size(), 0, 0};
  buffer_.append(key);
  row.value = buffer_.size();
  pending_.push_back(row);
  index_rows::BeginValue(&buffer_);
}

std::string_view IndexRowWriter::key() const {
  const Row& row = pending_.back();
  return {buffer_.data() + row.key, row.value - row.key};
}

Status IndexRowWriter::EndRow() {
  Row& row = pending_.back();
  index_rows::SealValue(key(), &buffer_, row.value);
  row.end = buffer_.size();
  return FlushIfLarge();
}

Status IndexRowWriter::Put(std::string_view key, std::string_view sealed_value) {
  const std::size_t at = buffer_.size();
  buffer_.append(key).append(sealed_value);
  pending_.push_back({Op::Type::kPut, at, at + key.size(), buffer_.size()});
  return FlushIfLarge();
}

Status IndexRowWriter::Merge(std::string_view key, std::string_view sealed_value) {
  const std::size_t at = buffer_.size();
  buffer_.append(key).append(sealed_value);
  pending_.push_back({Op::Type::kMerge, at, at + key.size(), buffer_.size()});
  return FlushIfLarge();
}

Status IndexRowWriter::Delete(std::string_view key) {
  const std::size_t at = buffer_.size();
  buffer_.append(key);
  pending_.push_back({Op::Type::kDelete, at, buffer_.size(), buffer_.size()});
  return FlushIfLarge();
}

Status IndexRowWriter::PutLong(char prefix, Ordinal ordinal, const index_rows::LongRow& row, std::string_view bytes) {
  if (bytes.size() <= index_rows::kPartBytesMax) {
    char key[1 + sizeof(Ordinal)] = {prefix};
    StoreBigEndian(key + 1, ordinal);
    BeginRow(Op::Type::kPut, {key, sizeof(key)});
    index_rows::AppendLongHead(row, bytes.size(), 1, &buffer_);
    buffer_.append(bytes);
    return EndRow();
  }
  std::vector<std::pair<std::string, std::string>> rows;
  index_rows::EncodeLongRow(prefix, ordinal, row, bytes, &rows);
  for (const auto& [key, value] : rows) {
    const std::size_t at = buffer_.size();
    buffer_.append(key).append(value);
    pending_.push_back({Op::Type::kPut, at, at + key.size(), buffer_.size()});
  }
  return FlushIfLarge();
}

Status IndexRowWriter::Finish() { return status_.ok() && !pending_.empty() ? Flush() : status_; }

Status IndexRowWriter::FlushIfLarge() { return buffer_.size() < batch_bytes_ ? status_ : Flush(); }

Status IndexRowWriter::Flush() {
  if (status_.ok()) {
    std::vector<Op> ops;
    ops.reserve(pending_.size());
    for (const Row& row : pending_) {
      ops.push_back({row.type, {buffer_.data() + row.key, row.value - row.key}, {buffer_.data() + row.value, row.end - row.value}});
    }
    std::vector<std::string> folded;
    if (!merges_) status_ = FoldMerges(&ops, &folded);
    if (status_.ok()) {
      const Batch batch{.family = family_, .atomicity_key = kAtomicityKey, .epoch = epoch_, .ops = ops};
      status_ = engine_->Write({&batch, 1}, {.durability = Durability::kBuffered}).front();
      rows_ += pending_.size();
    }
  }
  pending_.clear();
  buffer_.clear();
  return status_;
}

Status IndexRowWriter::FoldMerges(std::vector<Op>* ops, std::vector<std::string>* folded) {
  std::map<std::string_view, std::vector<std::string_view>> operands;  // by key, oldest first
  for (const Op& op : *ops) {
    if (op.type == Op::Type::kMerge) operands[op.key].push_back(op.value);
  }
  if (operands.empty()) return Status::Ok();
  std::erase_if(*ops, [](const Op& op) { return op.type == Op::Type::kMerge; });
  std::vector<std::string_view> keys;
  for (const auto& [key, values] : operands) keys.push_back(key);
  std::vector<std::string> values;
  std::vector<Status> statuses;
  engine_->MultiGet(family_, keys, &values, &statuses);
  folded->resize(keys.size());
  const PostingsMergeFunction merge;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const bool found = statuses[i].ok();
    if (!found && statuses[i].code() != StatusCode::kNotFound) return statuses[i];
    const std::string_view existing = values[i];
    if (!merge.Merge(keys[i], found ? &existing : nullptr, operands[keys[i]], &(*folded)[i])) {
      return index_rows::Damaged(keys[i], "cannot be merged into");
    }
    const bool empty = EmptyPostingsFilter().ShouldDrop(keys[i], (*folded)[i]);
    ops->push_back({empty ? Op::Type::kDelete : Op::Type::kPut, keys[i], empty ? std::string_view() : (*folded)[i]});
  }
  return Status::Ok();
}

}  // namespace chronolith
