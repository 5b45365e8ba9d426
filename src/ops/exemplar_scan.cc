#include "ops/exemplar_scan.h"

#include <algorithm>
#include <cstdint>

#include "query/label_order.h"
#include "query/poll.h"
#include "storage/storage_impl.h"

namespace chronolith::ops {
namespace {

constexpr std::size_t kAtOnce = 8192;

}  // namespace

Status ScanExemplars(Storage* storage, std::span<const SeriesRef> ids, TimeRange range, Deadline deadline,
                     const std::atomic<bool>* cancelled,
                     const std::function<Status(const Labels&, const std::vector<Exemplar>&)>& visit) {
  StorageImpl* const store = StorageImpl::Of(storage);
  const Poll poll(deadline, cancelled);
  std::vector<bool> may;
  std::vector<SeriesRef> refs;
  std::vector<Labels> labels;
  for (std::size_t begin = 0; begin < ids.size(); begin += kAtOnce) {
    if (Status s = poll.Check(); !s.ok()) return s;
    const auto some = ids.subspan(begin, std::min(kAtOnce, ids.size() - begin));
    if (Status s = store->MayHaveExemplars(some, range, cancelled, &may); !s.ok()) return s;
    refs.clear();
    for (std::size_t i = 0; i < some.size(); ++i) {
      if (may[i]) refs.push_back(some[i]);
    }
    if (Status s = store->LabelsOf(refs, &labels); !s.ok()) return s;
    for (const std::uint32_t i : SortedByLabels(labels)) {
      if (labels[i].empty()) continue;  // it is gone
      if (Status s = poll.Check(); !s.ok()) return s;
      const Result<std::vector<Exemplar>> exemplars = store->ExemplarsOf(refs[i], range);
      if (!exemplars.ok()) return exemplars.status();
      if (exemplars->empty()) continue;
      if (Status s = visit(labels[i], *exemplars); !s.ok()) return s;
    }
  }
  return Status::Ok();
}

}  // namespace chronolith::ops
