#include "server/write_outcome.h"

#include <algorithm>

#include "interop/series_limit.h"
#include "interop/text_scan.h"

namespace chronolith::server {
void WriteOutcome::Refuse(std::uint64_t items, RefusalKind kind, const Status& reason, const std::string& what) {
  refused_ += items;
  of_kind_[static_cast<std::size_t>(kind)] += std::max<std::uint64_t>(items, 1);  // a series without items is refused, too
  if (reasons_.size() >= kReasonsMax) return;
  std::string text = interop::AsUtf8(what.empty() ? reason.message() : what + ": " + reason.message());
  if (std::find(reasons_.begin(), reasons_.end(), text) == reasons_.end()) reasons_.push_back(std::move(text));
}

int WriteOutcome::HttpStatus() const {
  if (of_kind_[static_cast<std::size_t>(RefusalKind::kUnavailable)] > 0) return 503;
  if (of_kind_[static_cast<std::size_t>(RefusalKind::kLater)] > 0) return 429;
  return of_kind_[static_cast<std::size_t>(RefusalKind::kDrop)] > 0 ? 400 : 204;
}

std::string WriteOutcome::Text() const {
  if (HttpStatus() == 204) return {};
  std::string text = std::to_string(refused_) + " refused, " + std::to_string(written()) + " written";
  for (const std::string& reason : reasons_) text.append("\n").append(reason);
  return text;
}

RefusalKind KindOf(const Status& reason) {
  switch (reason.code()) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kAlreadyExists:
    case StatusCode::kDataLoss:  // a quarantined shard: an operator must act, and what goes to the others must not wait for that
      return RefusalKind::kDrop;
    case StatusCode::kResourceExhausted:
      return interop::IsSeriesLimit(reason) ? RefusalKind::kDrop : RefusalKind::kLater;
    default:
      return RefusalKind::kUnavailable;
  }
}

}  // namespace chronolith::server
