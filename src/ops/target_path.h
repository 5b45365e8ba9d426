// Where a tool may write what it was asked for: no part of a database, and no file that nobody said may go. Thread safety: safe.
#ifndef CHRONOLITH_OPS_TARGET_PATH_H_
#define CHRONOLITH_OPS_TARGET_PATH_H_

#include <string>
#include <string_view>

#include "chronolith/status.h"

namespace chronolith::ops {

// Whether `inner` is `outer` or lies below it. Links are followed; neither needs to exist.
bool LiesWithin(const std::string& inner, const std::string& outer);
// kInvalidArgument where a directory above `path` is a database, or one of its two instances: "FILE lies in the database DIR". The
// path itself may be one. Links are followed; it does not need to exist.
Status CheckOutsideDatabases(const std::string& path);
// The same of a file that is to get this name when it is whole. kAlreadyExists where there is one and `overwrite` is not said;
// kInvalidArgument where it is a directory, a device or a pipe, whose place no file takes.
Status CheckFileTarget(const std::string& path, bool overwrite);
// Checked so, and all of it synced, before it has its name.
Status WriteFileTarget(const std::string& path, bool overwrite, std::string_view bytes);
// The same over any file; but through a link, and into a device or a pipe, as it stands: such as /dev/stdout, whose place no file
// is to take.
Status WriteFileOrThrough(const std::string& path, std::string_view bytes);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_TARGET_PATH_H_
