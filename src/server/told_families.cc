#include "server/told_families.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "interop/family_metadata.h"
#include "interop/family_names.h"

namespace chronolith::server {
namespace {

bool ById(SeriesRef a, SeriesRef b) { return a.id < b.id; }

}  // namespace

Status ToldFamilies::Untold(const std::string& family, const Metadata& metadata, std::vector<SeriesRef>* untold) {
  std::vector<SeriesRef> ids;
  for (const std::string& name : interop::SeriesNamesOf(family, metadata.type)) {
    Result<std::vector<SeriesRef>> found = storage_->SeriesIds({Matcher::Equal(std::string(kMetricName), name)});
    if (!found.ok()) return found.status();
    ids.insert(ids.end(), found->begin(), found->end());
  }
  std::sort(ids.begin(), ids.end(), ById);
  const std::uint64_t fingerprint = interop::FingerprintOf(metadata);
  untold->clear();
  MutexLock lock(&mu_);
  if (ids.empty()) {  // names that nobody writes to must not fill the table
    families_.erase(family);
    return Status::Ok();
  }
  if (families_.size() >= kFamiliesMax && !families_.contains(family)) families_.clear();
  Family& known = families_[family];
  if (known.metadata != fingerprint) known.told.clear();
  std::set_difference(ids.begin(), ids.end(), known.told.begin(), known.told.end(), std::back_inserter(*untold), ById);
  known = {fingerprint, std::move(ids)};
  return Status::Ok();
}

void ToldFamilies::Forget() {
  MutexLock lock(&mu_);
  families_.clear();
}

}  // namespace chronolith::server
