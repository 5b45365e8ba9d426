// The public face of chronolith::metrics.
#include "chronolith/metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/text_serializer.h>

#include <memory>
#include <string>
#include <vector>

#include "chronolith/storage.h"
#include "metrics/families.h"

namespace chronolith {
namespace {

// Thread safety: Collect may be called concurrently; it takes one snapshot a call and keeps nothing.
class StorageCollectable : public prometheus::Collectable {
 public:
  explicit StorageCollectable(const Storage* storage) : storage_(storage) {}
  std::vector<prometheus::MetricFamily> Collect() const override { return FamiliesOf(storage_->Stats()); }

 private:
  const Storage* storage_;
};

}  // namespace

std::shared_ptr<prometheus::Collectable> MakeCollectable(const Storage* storage) {
  return std::make_shared<StorageCollectable>(storage);
}

std::string MetricsText(const Storage& storage) { return prometheus::TextSerializer().Serialize(FamiliesOf(storage.Stats())); }

}  // namespace chronolith
