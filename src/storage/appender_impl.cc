#include "storage/appender_impl.h"

namespace chronolith {

Result<SeriesRef> AppenderImpl::Ref(const Labels& labels) {
  std::vector<SeriesRef> refs;
  const WriteResult result = Refs({&labels, 1}, &refs);
  if (refs[0].id == 0) return result.status;
  return refs[0];
}

WriteResult AppenderImpl::Refs(std::span<const Labels> labels, std::vector<SeriesRef>* refs) {
  refs->assign(labels.size(), SeriesRef{});
  if (store_->fork_.InChild()) return RefusedAfterFork();
  WriteResult result;
  ReaderMutexLock lock(&store_->life_mu_);
  Core& core = store_->core();
  if (core.options().read_only) {
    result.status = FailedPrecondition("the store is open read-only");
    return result;
  }
  if (core.wal().failed()) {
    result.status = core.wal().failure();
    return result;
  }
  if (result.status = core.Admit(kNoDeadline); !result.status.ok()) {
    for (std::size_t i = 0; i < labels.size(); ++i) result.refused.push_back({i, Refusal::What::kSeries, 0, result.status});
    return result;
  }
  writer_.Resolve(&core, labels, kNoDeadline, refs, &result.refused);
  core.wal().NotifyQueued();
  result.accepted = labels.size() - result.refused.size();
  result.token = store_->ToPublic(core.wal().Ticket());
  if (!result.refused.empty()) result.status = result.refused.front().reason;
  return result;
}

WriteResult AppenderImpl::Commit(const WriteOptions& options) {
  if (store_->fork_.InChild()) return RefusedAfterFork();
  ReaderMutexLock lock(&store_->life_mu_);
  next_ = 0;
  Core& core = store_->core();
  WriteResult result = writer_.Commit(&core, options, core.Admit(options.deadline));
  result.token = store_->ToPublic(result.token);
  return result;
}

}  // namespace chronolith
