#include "block/chunk_row_writer.h"

#include <algorithm>

namespace chronolith {

Status ChunkRowWriter::EndGroup(std::string_view atomicity_key) {
  const std::size_t bytes = std::exchange(group_bytes_, 0);
  const std::size_t begin = groups_.empty() ? 0 : groups_.back().ops_end;
  if (ops_.size() == begin) return Status::Ok();
  if (const std::uint64_t most = engine_->limits().batch_bytes_max; bytes > most) {
    ops_.resize(begin);
    return InvalidArgument("rows that belong together take " + std::to_string(bytes) + " bytes; the engine's batches take " +
                           std::to_string(most));
  }
  groups_.push_back({arena_.Copy(atomicity_key), ops_.size(), bytes});
  total_bytes_ += bytes;
  return total_bytes_ < kBatchBytes ? Status::Ok() : Flush();
}

std::vector<Batch> ChunkRowWriter::MakeBatches() const {
  const std::size_t most = std::min<std::size_t>(kBatchBytes, engine_->limits().batch_bytes_max);
  std::vector<Batch> batches;
  std::size_t begin = 0;  // of the current batch in ops_
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    bytes += groups_[i].bytes;
    const bool last =
        i + 1 == groups_.size() || groups_[i + 1].atomicity_key != groups_[i].atomicity_key || bytes + groups_[i + 1].bytes > most;
    if (!last) continue;
    batches.push_back({family_, groups_[i].atomicity_key, epoch_, std::span(ops_).subspan(begin, groups_[i].ops_end - begin)});
    begin = groups_[i].ops_end;
    bytes = 0;
  }
  return batches;
}

Status ChunkRowWriter::Flush() {
  std::vector<Batch> left = MakeBatches();
  Status result;
  for (int i = 0; i < kTries && !left.empty(); ++i) {
    const Outcomes outcomes = engine_->Write(left, {.durability = Durability::kBuffered});
    std::vector<Batch> unknown;
    result = Status::Ok();
    for (std::size_t b = 0; b < left.size(); ++b) {
      if (outcomes[b].ok()) continue;
      if (result.ok() || result.code() == StatusCode::kUnknown) result = outcomes[b];
      if (outcomes[b].code() == StatusCode::kUnknown) unknown.push_back(left[b]);
    }
    if (!result.ok() && result.code() != StatusCode::kUnknown) break;
    left = std::move(unknown);
  }
  arena_.Clear();
  ops_.clear();
  groups_.clear();
  total_bytes_ = 0;
  return result;
}

}  // namespace chronolith
