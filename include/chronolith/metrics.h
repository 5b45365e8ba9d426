// Attaches a store to a Prometheus registry. Link chronolith::metrics.
#ifndef CHRONOLITH_METRICS_H_
#define CHRONOLITH_METRICS_H_

#include <memory>
#include <string>

#include "chronolith/export.h"

namespace prometheus {
class Collectable;
}

namespace chronolith {

class Storage;

// A Collectable for prometheus::Exposer::RegisterCollectable (which keeps a weak_ptr: hold on to it). Each collection takes one
// Storage::Stats snapshot. `storage` must outlive the last collection.
CHRONOLITH_EXPORT std::shared_ptr<prometheus::Collectable> MakeCollectable(const Storage* storage);

// The same metrics in the Prometheus text format (version 0.0.4).
CHRONOLITH_EXPORT std::string MetricsText(const Storage& storage);

}  // namespace chronolith

#endif  // CHRONOLITH_METRICS_H_
