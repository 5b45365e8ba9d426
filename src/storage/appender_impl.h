// AppenderImpl: the public Appender over a Writer of its own.
#ifndef CHRONOLITH_STORAGE_APPENDER_IMPL_H_
#define CHRONOLITH_STORAGE_APPENDER_IMPL_H_

#include <vector>

#include "chronolith/storage.h"
#include "storage/storage_impl.h"
#include "storage/writer.h"

namespace chronolith {

// Thread safety: one thread at a time.
class AppenderImpl : public Appender {
 public:
  explicit AppenderImpl(StorageImpl* store) : store_(store) {}

  Result<SeriesRef> Ref(const Labels& labels) override;
  WriteResult Refs(std::span<const Labels> labels, std::vector<SeriesRef>* refs) override;
  void Append(SeriesRef ref, Timestamp t, double value) override { writer_.AddSample(ref, t, value, next_++); }
  void AppendHistogram(SeriesRef ref, Timestamp t, Histogram histogram) override {
    writer_.AddItem(ref, HistogramSample{t, std::move(histogram)}, next_++);
  }
  void AppendExemplar(SeriesRef ref, Exemplar exemplar) override { writer_.AddItem(ref, std::move(exemplar), next_++); }
  void SetMetadata(SeriesRef ref, Metadata metadata) override { writer_.AddItem(ref, std::move(metadata), next_++); }
  WriteResult Commit(const WriteOptions& options) override;
  void Rollback() override {
    writer_.Clear();
    next_ = 0;
  }

 private:
  StorageImpl* const store_;
  Writer writer_;
  std::uint32_t next_ = 0;  // counts the calls since the last Commit
};

}  // namespace chronolith

#endif  // CHRONOLITH_STORAGE_APPENDER_IMPL_H_
