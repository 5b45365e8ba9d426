// DamagePolicy: what a query does about shards that it cannot read.
#ifndef CHRONOLITH_QUERY_DAMAGE_POLICY_H_
#define CHRONOLITH_QUERY_DAMAGE_POLICY_H_

#include <string>

#include "chronolith/status.h"
#include "format/series_id.h"

namespace chronolith {

// Whether a read of one shard's rows met damage: bytes that are wrong, or a device that does not give them.
inline bool IsDamage(const Status& read) { return read.code() == StatusCode::kDataLoss || read.code() == StatusCode::kIoError; }

// Damage is an error that names the shard, or is left out and remembered. Thread safety: one thread at a time.
class DamagePolicy {
 public:
  explicit DamagePolicy(bool skip) : skip_(skip) {}

  // `quarantine`, `partial`: of the QueryContext.
  Status Begin(const Status& quarantine, bool partial) {
    skipped_ = skipped_ || partial;
    return Decide(quarantine);
  }
  // `status` is of a read of the shard. ok for damage that is left out: then the caller goes on without what it has read.
  Status Filter(ShardId shard, const Status& status) {
    if (!IsDamage(status)) [[likely]]
      return status;
    return Decide(status.WithContext("shard " + std::to_string(shard)));
  }
  bool skipped() const { return skipped_; }

 private:
  Status Decide(const Status& damage) {
    if (damage.ok() || !skip_) return damage;
    skipped_ = true;
    return Status::Ok();
  }

  const bool skip_;
  bool skipped_ = false;
};

}  // namespace chronolith

#endif  // CHRONOLITH_QUERY_DAMAGE_POLICY_H_
