// An ExpositionSink that keeps everything it is given.
#ifndef CHRONOLITH_TESTS_INTEROP_RECORDING_SINK_H_
#define CHRONOLITH_TESTS_INTEROP_RECORDING_SINK_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "interop/openmetrics.h"

namespace chronolith::interop {

class RecordingSink : public ExpositionSink {
 public:
  struct Line {
    std::string series;
    std::uint64_t line = 0;
    Timestamp timestamp = 0;
    double value = 0;
  };

  Result<std::uint64_t> OnSeries(const Labels& labels) override {
    ++announced;
    names_.push_back(labels.ToString());
    return base_ + names_.size() - 1;
  }
  Status OnMetadata(std::uint64_t series, std::uint64_t line, const Metadata& metadata) override {
    (void)line;
    ++metadata_told;
    metadata_of[names_.at(series - base_)] = metadata;
    return Status::Ok();
  }
  Status OnSample(std::uint64_t series, std::uint64_t line, Sample sample) override {
    samples.push_back({names_.at(series - base_), line, sample.timestamp, sample.value});
    return Status::Ok();
  }
  Status OnExemplar(std::uint64_t series, std::uint64_t line, Exemplar exemplar) override {
    (void)line;
    exemplars.emplace_back(names_.at(series - base_), std::move(exemplar));
    return Status::Ok();
  }
  void OnForgetSeries() override {
    base_ += 1'000'000'000;  // an old handle must not come again
    names_.clear();
    ++forgotten;
  }
  void OnRefused(std::uint64_t line, const Status& reason) override { refused.emplace_back(line, reason.message()); }

  std::vector<Line> samples;
  std::vector<std::pair<std::string, Exemplar>> exemplars;
  std::vector<std::pair<std::uint64_t, std::string>> refused;
  std::map<std::string, Metadata> metadata_of;
  int announced = 0;
  int metadata_told = 0;
  int forgotten = 0;

 private:
  std::vector<std::string> names_;
  std::uint64_t base_ = 0;
};

}  // namespace chronolith::interop

#endif  // CHRONOLITH_TESTS_INTEROP_RECORDING_SINK_H_
