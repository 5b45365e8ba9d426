// What is given up of an instance as damaged or torn is kept as it was, in a directory of its own beside the rest.
#ifndef CHRONOLITH_PLUGINS_ROCKSDB_EVIDENCE_H_
#define CHRONOLITH_PLUGINS_ROCKSDB_EVIDENCE_H_

#include <rocksdb/env.h>

#include <string>

#include "chronolith/result.h"

namespace chronolith {

// `format`: of the directory's name, with the time (strftime), such as "/damaged-%Y%m%dT%H%M%SZ".
Result<std::string> MakeEvidenceDirectory(const std::string& path, const char* format);

// A link, or a copy, of the file `name` of `path` in the directory `kept`. Who replaces the file writes under another name first.
Status KeepFile(rocksdb::Env* env, const std::string& path, const std::string& name, const std::string& kept);

}  // namespace chronolith

#endif  // CHRONOLITH_PLUGINS_ROCKSDB_EVIDENCE_H_
