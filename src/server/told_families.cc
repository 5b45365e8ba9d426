#include "server/told_families.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "interop/family_metadata.h"
#include "interop/family_names.h"

namespace chronolith::server {
namespace {

bool ById(SeriesRef a, SeriesRef b) { return a.id < b.id; }

std::uint64_t BytesOf(const std::string& family, const Metadata& metadata) {
  return 256 + 2 * family.size() + metadata.unit.size() + metadata.help.size();
}

}  // namespace

Status ToldFamilies::IdsOf(const std::string& family, MetricType type, std::vector<SeriesRef>* ids) const {
  for (const std::string& name : interop::SeriesNamesOf(family, type)) {
    Result<std::vector<SeriesRef>> found = storage_->SeriesIds({Matcher::Equal(std::string(kMetricName), name)});
    if (!found.ok()) return found.status();
    ids->insert(ids->end(), found->begin(), found->end());
  }
  std::sort(ids->begin(), ids->end(), ById);
  return Status::Ok();
}

Status ToldFamilies::Untold(const std::string& family, const Metadata& metadata, std::vector<SeriesRef>* untold) {
  std::vector<SeriesRef> ids;
  untold->clear();
  if (Status s = IdsOf(family, metadata.type, &ids); !s.ok()) return s;
  if (ids.empty()) {
    const Result<bool> kept = Keep(family, metadata);
    if (!kept.ok()) return kept.status();
    if (!*kept) return Status::Ok();
    // A series that was made meanwhile is found here, or its writer finds what waits.
    if (Status s = IdsOf(family, metadata.type, &ids); !s.ok() || ids.empty()) return s;
  }
  const std::uint64_t fingerprint = interop::FingerprintOf(metadata);
  MutexLock lock(&mu_);
  Drop(family);
  if (families_.size() >= kFamiliesMax && !families_.contains(family)) families_.clear();
  Family& known = families_[family];
  if (known.metadata != fingerprint) known.told.clear();
  std::set_difference(ids.begin(), ids.end(), known.told.begin(), known.told.end(), std::back_inserter(*untold), ById);
  known = {fingerprint, std::move(ids)};
  return Status::Ok();
}

Result<bool> ToldFamilies::Keep(const std::string& family, const Metadata& metadata) {
  MutexLock lock(&mu_);
  families_.erase(family);  // names that nobody writes to must not fill the table
  const auto known = awaited_.find(family);
  if (known != awaited_.end() && *known->second.metadata == metadata) {
    auto place = by_age_.extract(known->second.sent);
    place.key() = known->second.sent = ++sent_;
    by_age_.insert(std::move(place));
    return false;
  }
  Drop(family);
  const std::uint64_t bytes = BytesOf(family, metadata);
  if (bytes > kAwaitedBytesMax) return InvalidArgument("it has no series yet, and is too large to wait for one");
  while (awaited_bytes_ + bytes > kAwaitedBytesMax) Drop(std::string(by_age_.begin()->second));
  awaited_.emplace(family, Waiting{std::make_shared<const Metadata>(metadata), ++sent_});
  by_age_.emplace(sent_, family);
  awaited_bytes_ += bytes;
  awaited_count_.store(awaited_.size());
  return true;
}

void ToldFamilies::Drop(const std::string& family) {
  const auto known = awaited_.find(family);
  if (known == awaited_.end()) return;
  awaited_bytes_ -= BytesOf(family, *known->second.metadata);
  by_age_.erase(known->second.sent);
  awaited_.erase(known);
  awaited_count_.store(awaited_.size());
}

void ToldFamilies::Await(std::span<const Labels> series, Awaited* awaited) const {
  if (awaited_count_.load() == 0) return;
  MutexLock lock(&mu_);
  std::string_view last;
  for (const Labels& labels : series) {
    const std::string_view name = labels.Get(kMetricName);
    if (name == std::exchange(last, name)) continue;
    std::vector<std::string_view> families = {name};
    for (const std::string_view suffix : interop::AllSampleSuffixes()) {
      if (name.ends_with(suffix)) families.push_back(name.substr(0, name.size() - suffix.size()));
    }
    for (const std::string_view family : families) {
      const auto found = awaited_.find(absl::string_view(family.data(), family.size()));  // Debian's is not std::
      if (found == awaited_.end()) continue;
      const std::vector<std::string> names = interop::SeriesNamesOf(family, found->second.metadata->type);
      if (std::find(names.begin(), names.end(), name) != names.end()) awaited->emplace(found->first, found->second.metadata);
    }
  }
}

void ToldFamilies::Forget() {
  MutexLock lock(&mu_);
  families_.clear();
}

}  // namespace chronolith::server
