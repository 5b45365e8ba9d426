// WriteOutcome: what became of what a request brought, and how it is answered, whatever the protocol.
#ifndef CHRONOLITH_SERVER_WRITE_OUTCOME_H_
#define CHRONOLITH_SERVER_WRITE_OUTCOME_H_

#include <cstdint>
#include <string>
#include <vector>

#include "chronolith/storage.h"

namespace chronolith::server {

// What the sender should do with what was refused.
enum class RefusalKind : std::uint8_t {
  kDrop,         // nobody will ever take it: 400
  kLater,        // a bound was reached: 429
  kUnavailable,  // the log failed, or the outcome is not known: 503
};

// Of one request, which may take several commits. Thread safety: one thread.
class WriteOutcome {
 public:
  // `what` names the culprit: "series {...}", or "" where the reason does.
  void Refuse(std::uint64_t items, RefusalKind kind, const Status& reason, const std::string& what = {});

  // Whether more of them would be told.
  bool wants_reasons() const { return reasons_.size() < kReasonsMax; }

  std::uint64_t samples = 0;  // written, as are the others
  std::uint64_t histograms = 0;
  std::uint64_t exemplars = 0;
  std::uint64_t metadata = 0;
  std::uint64_t written() const { return samples + histograms + exemplars; }
  std::uint64_t refused() const { return refused_; }

  // 204; 503 before 429 before 400 where something was refused: the sender sends all of it again, which is harmless.
  int HttpStatus() const;
  // "" where nothing was refused.
  std::string Text() const;

 private:
  static constexpr std::size_t kReasonsMax = 5;
  std::uint64_t refused_ = 0;
  std::uint64_t of_kind_[3] = {};
  std::vector<std::string> reasons_;  // the first few that differ
};

// A new series beyond Options::max_series is dropped: it will not be taken later either.
RefusalKind KindOf(const Status& reason);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_WRITE_OUTCOME_H_
