// Status: the outcome of an operation. The code says what the caller should do next, the message names the culprit.
//
// Errors of the world (bad input, full disk, a damaged file) are Status values. Errors of the programmer (a null pointer, a use
// after Close) abort. No exception crosses this library's API.
#ifndef CHRONOLITH_STATUS_H_
#define CHRONOLITH_STATUS_H_

#include <string>
#include <string_view>
#include <utility>

#include "chronolith/export.h"

namespace chronolith {

enum class StatusCode : unsigned char {
  kOk = 0,
  kInvalidArgument,     // the input is wrong: fix it, do not retry
  kNotFound,            // the named thing does not exist
  kAlreadyExists,       // the named thing exists and must not
  kFailedPrecondition,  // the store is in the wrong state or mode (closed, read-only, locked by another process)
  kPermissionDenied,    // the operating system refused access
  kResourceExhausted,   // a bound was reached (ring, memory, limit, disk), or a shard is still replayed: retry later, or raise the bound
  kDeadlineExceeded,    // the caller's deadline passed; a write may still happen
  kCancelled,           // the caller cancelled
  kUnavailable,         // the log failed: nothing is acknowledged until Storage::Reopen succeeds
  kUnknown,             // the outcome cannot be told: the operation may or may not have happened; it is idempotent, retry it
  kFenced,              // another writer took over this family; stop writing
  kDataLoss,            // damage was found: the message names file or family, place and what is affected
  kUnimplemented,       // this engine lacks the capability; the message names it
  kIoError,             // the operating system failed a read or a write
};

// "OK", "INVALID_ARGUMENT", ...
CHRONOLITH_EXPORT std::string_view StatusCodeName(StatusCode code);

// Thread safety: as a value type; const access from several threads is safe. An OK status does not allocate.
class [[nodiscard, gnu::visibility("default")]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status Ok() { return Status(); }

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // "INVALID_ARGUMENT: label name is empty", or "OK".
  std::string ToString() const;

  // The same code with `context` and ": " put before the message.
  Status WithContext(std::string_view context) const;

  friend bool operator==(const Status& a, const Status& b) { return a.code_ == b.code_ && a.message_ == b.message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status InvalidArgument(std::string m) { return {StatusCode::kInvalidArgument, std::move(m)}; }
inline Status NotFound(std::string m) { return {StatusCode::kNotFound, std::move(m)}; }
inline Status AlreadyExists(std::string m) { return {StatusCode::kAlreadyExists, std::move(m)}; }
inline Status FailedPrecondition(std::string m) { return {StatusCode::kFailedPrecondition, std::move(m)}; }
inline Status PermissionDenied(std::string m) { return {StatusCode::kPermissionDenied, std::move(m)}; }
inline Status ResourceExhausted(std::string m) { return {StatusCode::kResourceExhausted, std::move(m)}; }
inline Status DeadlineExceeded(std::string m) { return {StatusCode::kDeadlineExceeded, std::move(m)}; }
inline Status Cancelled(std::string m) { return {StatusCode::kCancelled, std::move(m)}; }
inline Status Unavailable(std::string m) { return {StatusCode::kUnavailable, std::move(m)}; }
inline Status UnknownOutcome(std::string m) { return {StatusCode::kUnknown, std::move(m)}; }
inline Status Fenced(std::string m) { return {StatusCode::kFenced, std::move(m)}; }
inline Status DataLoss(std::string m) { return {StatusCode::kDataLoss, std::move(m)}; }
inline Status Unimplemented(std::string m) { return {StatusCode::kUnimplemented, std::move(m)}; }
inline Status IoError(std::string m) { return {StatusCode::kIoError, std::move(m)}; }

}  // namespace chronolith

#endif  // CHRONOLITH_STATUS_H_
