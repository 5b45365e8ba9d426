// gzip and zlib bodies, decoded within bounds.
#ifndef CHRONOLITH_SERVER_INFLATE_H_
#define CHRONOLITH_SERVER_INFLATE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "chronolith/env.h"
#include "chronolith/result.h"

namespace chronolith::server {

// What a request decoded, and its share of the memory that there is for requests. Thread safety: one thread at a time.
class DecodedBody {
 public:
  explicit DecodedBody(MemoryBudget* budget) : budget_(budget) {}
  ~DecodedBody() { budget_->Release(reserved_); }
  DecodedBody(const DecodedBody&) = delete;
  DecodedBody& operator=(const DecodedBody&) = delete;

  // False where there is no more.
  bool Reserve(std::uint64_t bytes) {
    if (!budget_->TryReserve(bytes)) return false;
    reserved_ += bytes;
    return true;
  }
  std::string bytes;

 private:
  MemoryBudget* const budget_;
  std::uint64_t reserved_ = 0;
};

// Both formats, told apart by their first bytes. Memory is reserved before it is used, twice as much each time, so that what the
// lengths inside say does not matter. kInvalidArgument: not whole, or more than one stream; kFailedPrecondition: more than
// `bytes_max` when decoded; kResourceExhausted: no memory left.
Status Inflate(std::string_view compressed, std::uint64_t bytes_max, DecodedBody* body);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_INFLATE_H_
