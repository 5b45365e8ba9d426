// The text forms that `import` reads, behind one face: bytes in, samples to an ImportSink.
#ifndef CHRONOLITH_TOOLS_CLI_IMPORT_READER_H_
#define CHRONOLITH_TOOLS_CLI_IMPORT_READER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "interop/csv_text.h"
#include "interop/openmetrics.h"
#include "tools/cli/import_sink.h"
#include "tools/cli/input.h"

namespace chronolith::cli {

// Reads one input after the other. A bad line is reported to the sink and the others are taken; where `strict`, Feed and Finish
// return its reason instead. Thread safety: one thread at a time.
class ImportReader {
 public:
  virtual ~ImportReader();
  // Before the first Feed of an input.
  virtual void Begin(const TextInput& input) = 0;
  virtual Status Feed(std::string_view bytes) = 0;
  // `name`: of the input, for warnings.
  virtual Status Finish(const std::string& name) = 0;
  // Instead, of an input that was cut off: a line that has come in part is not taken.
  virtual void Abandon() = 0;
  virtual std::uint64_t lines() const = 0;  // of all inputs; of CSV: records
};

// `format` other than kAuto: of all inputs. `cache_bytes`: series are remembered up to so many bytes, about. `sink` must outlive
// the reader, as for the others.
std::unique_ptr<ImportReader> NewExpositionReader(const interop::ParserOptions& options, ImportSink* sink);
std::unique_ptr<ImportReader> NewJsonLinesReader(bool strict, std::size_t cache_bytes, ImportSink* sink);
std::unique_ptr<ImportReader> NewCsvReader(const interop::CsvColumns& columns, char delimiter, bool strict, std::size_t cache_bytes,
                                           ImportSink* sink);

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_IMPORT_READER_H_
