// Any bytes as a remote write message of both versions: nothing is read that is not there, batches stay within their bounds, labels
// that pass are sorted and named, and what was understood reads the same from a message that we write of it.
#include <string>
#include <vector>

#include "interop/remote_write_decode.h"
#include "tests/fuzz/fuzz_check.h"
#include "tests/interop/remote_write_encode.h"

using namespace chronolith;
using namespace chronolith::interop;

namespace {

void CheckLabels(const Labels& labels) {
  std::string_view previous;
  for (const Label& label : labels) {
    FUZZ_CHECK(!label.value.empty());
    FUZZ_CHECK(previous.data() == nullptr || previous < label.name);
    previous = label.name;
  }
}

// The samples of what was understood, series by series.
std::vector<TimeSeries> Read(RemoteWriteVersion version, std::string_view message, bool* whole) {
  std::vector<TimeSeries> all;
  RemoteWriteDecoder decoder(version, message);
  Status status = decoder.Begin();
  for (RemoteWriteBatch batch; status.ok();) {
    status = decoder.Next(&batch);
    if (!status.ok() || batch.empty()) break;
    FUZZ_CHECK(batch.series.size() <= RemoteWriteDecoder::kBatchSeries);
    FUZZ_CHECK(batch.arena.size() <= RemoteWriteDecoder::kBatchBytes + RemoteWriteDecoder::kLabelsBytesMax + message.size());
    std::size_t sample = 0, item = 0;
    for (const RemoteWriteBatch::Series& s : batch.series) {
      std::string encoded;
      const bool good = NormalizeLabels(version, batch.LabelsOf(s), &encoded).ok();
      TimeSeries series;
      series.labels = Labels::FromEncoded(encoded);
      CheckLabels(series.labels);
      FUZZ_CHECK(sample <= s.samples_end && item <= s.items_end);
      for (; sample < s.samples_end; ++sample) series.samples.push_back(batch.samples[sample]);
      for (; item < s.items_end; ++item) {
        const RemoteWriteBatch::Item& i = batch.items[item];
        HistogramSample histogram;
        Exemplar exemplar;
        Metadata metadata;
        (void)DecodeHistogram(i.payload, &histogram);
        if (DecodeExemplar(version, i.payload, decoder.symbols(), &exemplar).ok()) CheckLabels(exemplar.labels);
        (void)DecodeMetadata2(i.payload, decoder.symbols(), &metadata);
      }
      if (good && !series.samples.empty()) all.push_back(std::move(series));
    }
    for (const std::string_view payload : batch.metadata) {
      std::string family;
      Metadata metadata;
      FUZZ_CHECK(!DecodeMetadata1(payload, &family, &metadata).ok() || !family.empty());
    }
  }
  FUZZ_CHECK(status.ok() || (status.code() == StatusCode::kInvalidArgument && status.message().size() < 400));
  *whole = status.ok();
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const RemoteWriteVersion version : {RemoteWriteVersion::k1, RemoteWriteVersion::k2}) {
    bool whole = false;
    const std::vector<TimeSeries> first = Read(version, FuzzBytes(data, size), &whole);
    if (!whole) continue;
    const std::vector<TimeSeries> again = Read(version, testing::EncodeRemoteWrite(version, first), &whole);
    FUZZ_CHECK(whole && again.size() == first.size());
    for (std::size_t i = 0; i < first.size(); ++i) {
      FUZZ_CHECK(again[i].labels == first[i].labels && again[i].samples.size() == first[i].samples.size());
    }
  }
  return 0;
}
