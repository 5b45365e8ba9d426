// Targets of a replay that need no other program: none at all, and files of text.
#ifndef CHRONOLITH_OPS_SINK_TEXT_H_
#define CHRONOLITH_OPS_SINK_TEXT_H_

#include <memory>
#include <string>

#include "chronolith/result.h"
#include "ops/record_sink.h"
#include "ops/text_export.h"

namespace chronolith::ops {

// Counts, and asks for no labels: that everything can be read and decodes is all that is wanted to be known.
std::unique_ptr<RecordTarget> NewNullTarget();

struct TextTargetOptions {
  TextForm form = TextForm::kJsonLines;  // or kOpenMetrics
  std::string path;                      // "-": stdout
  bool overwrite = false;                // a file that is there; else it is refused
  // The replay keeps a cursor: the file has its name from the beginning, and another run goes on where Sync was called last. False:
  // it is written beside its place and gets its name in Close.
  bool resumable = false;
};

// Batches of all shards as they come; what a series has stands in the order of the log. So `import jsonl` makes of lines what the
// log did, but for deletes. OpenMetrics has no place for native histograms, stale markers and exemplars without a sample: skipped;
// a series that it cannot name is refused. Errors: kAlreadyExists, kInvalidArgument (stdout is not resumable), those of the file.
// Memory: labels, one batch, its text. Metadata of OpenMetrics is written with the batch that sets it.
std::unique_ptr<RecordTarget> NewTextTarget(TextTargetOptions options);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SINK_TEXT_H_
