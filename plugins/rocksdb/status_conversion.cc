#include "plugins/rocksdb/status_conversion.h"

#include <string>

namespace chronolith {

std::string Words(const rocksdb::Status& s) {
  return s.IsNoSpace() && s.getState() != nullptr ? "the disk is full: " + std::string(s.getState()) : s.ToString();
}

Status FromRocks(const rocksdb::Status& s) {
  if (s.ok()) return Status::Ok();
  std::string text = Words(s);
  if (s.IsNoSpace()) return ResourceExhausted(std::move(text));
  if (s.IsCompactionTooLarge()) return ResourceExhausted("the disk has too little room for a compaction: " + text);
  switch (s.code()) {
    case rocksdb::Status::kNotFound:
      return NotFound(std::move(text));
    case rocksdb::Status::kCorruption:
      return DataLoss(std::move(text));
    case rocksdb::Status::kNotSupported:
      return Unimplemented(std::move(text));
    case rocksdb::Status::kInvalidArgument:
      return InvalidArgument(std::move(text));
    case rocksdb::Status::kIncomplete:
      return ResourceExhausted("the engine throttles writers: " + text);
    case rocksdb::Status::kTimedOut:
      return DeadlineExceeded(std::move(text));
    case rocksdb::Status::kShutdownInProgress:
    case rocksdb::Status::kAborted:
      return Cancelled(std::move(text));
    case rocksdb::Status::kBusy:
    case rocksdb::Status::kTryAgain:
      return Unavailable(std::move(text));
    default:
      break;
  }
  if (s.IsPathNotFound()) return NotFound(std::move(text));
  return IoError(std::move(text));
}

bool NamesLogFile(const rocksdb::Status& s) {
  const std::string text = s.ToString();
  return text.find(".log:") != std::string::npos || text.ends_with(".log");
}

}  // namespace chronolith
