#include "storage/log_end.h"

#include <algorithm>
#include <cstddef>

#include "format/row_keys.h"

namespace chronolith {

Status LogEnd::ReadStored(KvEngine* stored, FamilyId family) {
  const Status s = ReadWalRows(stored, family, nullptr, &reader_, nullptr);
  if (s.code() != StatusCode::kDataLoss) return s;
  Note({.why = s});
  return Status::Ok();
}

void LogEnd::OnReplayed(std::string_view key, std::string_view value) {
  Status s;
  if (key == kWalStateKey) {
    s = reader_.ReadState(value);
  } else if (Lsn first = 0; ParseWalKey(key, &first) && first > end_.last_lsn) {
    s = reader_.ReadRow(key, value);
  }
  if (!s.ok()) Note({.why = s});
}

Status LogEnd::OnLoss(ShardId, const WalLoss& loss) {
  Note(loss);
  return Status::Ok();
}

void LogEnd::Note(const WalLoss& loss) {
  constexpr std::size_t kHolesMax = 64;  // the last one is as long as all that follow
  const Lsn front = std::max(end_.last_lsn, end_.trimmed_to);
  const Lsn last = std::max({loss.first, loss.last, front + 1});
  if (holes_.size() == kHolesMax) {
    holes_.back().last = std::max(holes_.back().last, last);
  } else {
    holes_.push_back({front, last, loss.why});
  }
}

const LogEnd::Hole* LogEnd::First() const {
  const auto it = std::find_if(holes_.begin(), holes_.end(), [this](const Hole& hole) { return hole.last > end_.trimmed_to; });
  return it == holes_.end() ? nullptr : &*it;
}

Lsn LogEnd::last() const {
  const Hole* const hole = First();
  return std::max(hole != nullptr ? hole->front : end_.last_lsn, end_.trimmed_to);
}

Status LogEnd::hole() const {
  const Hole* const hole = First();
  return hole != nullptr ? hole->why : Status::Ok();
}

}  // namespace chronolith
