// What Prometheus' client libraries tell of their process, by the same names.
#ifndef CHRONOLITH_SERVER_PROCESS_METRICS_H_
#define CHRONOLITH_SERVER_PROCESS_METRICS_H_

#include <prometheus/metric_family.h>

#include <vector>

namespace chronolith::server {

// process_cpu_seconds_total, process_resident_memory_bytes, process_virtual_memory_bytes, process_open_fds, process_max_fds and
// process_start_time_seconds; without what /proc does not tell. Thread safety: safe.
void AddProcessMetrics(std::vector<prometheus::MetricFamily>* families);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_PROCESS_METRICS_H_
