// What the parts of ImportPrometheus share.
#ifndef CHRONOLITH_OPS_PROMETHEUS_IMPORT_PARTS_H_
#define CHRONOLITH_OPS_PROMETHEUS_IMPORT_PARTS_H_

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "index/compiled_matcher.h"
#include "ops/prometheus_import.h"

namespace chronolith::ops {

// Thread safety: one thread.
class PrometheusImportState {
 public:
  PrometheusImportState(const OpsContext& context, Storage* storage, const PrometheusImportOptions& options,
                        PrometheusImportReport* report)
      : context_(context), options_(options), report_(report), writer_(storage, options.level) {}

  // kInvalidArgument names the selector's matcher.
  Status Compile() {
    for (const std::vector<Matcher>& matchers : options_.selectors) {
      if (Status s = CompiledMatcher::CompileAll(matchers, &selectors_.emplace_back()); !s.ok()) return s;
    }
    return Status::Ok();
  }
  bool Matches(const Labels& labels) const {
    const auto all = [&labels](const std::vector<CompiledMatcher>& matchers) {
      return std::all_of(matchers.begin(), matchers.end(),
                         [&labels](const CompiledMatcher& m) { return m.Matches(labels.Get(m.name())); });
    };
    return selectors_.empty() || std::any_of(selectors_.begin(), selectors_.end(), all);
  }
  bool InRange(Timestamp t) const { return options_.range.Contains(t); }

  void Problem(const Status& problem) { Problem(problem.message()); }
  void Problem(const std::string& problem) {
    constexpr std::size_t kKept = 100;
    if (report_->problems.size() < kKept) report_->problems.push_back(problem);
    ++report_->problems_total;
  }

  const OpsContext& context() const { return context_; }
  const PrometheusImportOptions& options() const { return options_; }
  PrometheusImportReport* report() { return report_; }
  BulkWriter* writer() { return &writer_; }

 private:
  const OpsContext& context_;
  const PrometheusImportOptions& options_;
  PrometheusImportReport* const report_;
  std::vector<std::vector<CompiledMatcher>> selectors_;
  BulkWriter writer_;
};

inline bool Hides(std::span<const TimeRange> deleted, Timestamp t) {
  return std::any_of(deleted.begin(), deleted.end(), [t](const TimeRange& range) { return range.Contains(t); });
}

// The write-ahead log in `directory`/wal, and that of late samples in `directory`/wbl. Of the first only what is not before
// `min_time`, the end of the newest block. kNotFound: there is none.
Status ImportPrometheusLog(PrometheusImportState* state, const std::string& directory, Timestamp min_time);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_PROMETHEUS_IMPORT_PARTS_H_
