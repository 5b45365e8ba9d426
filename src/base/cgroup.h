// What the control groups of this process allow it.
#ifndef CHRONOLITH_BASE_CGROUP_H_
#define CHRONOLITH_BASE_CGROUP_H_

#include <cstdint>
#include <optional>
#include <string>

namespace chronolith {

// The memory, in bytes, that the control group of this process and those around it may take; none: there is no limit, or it cannot
// be told. Version 2 (memory.max) and version 1 (memory.limit_in_bytes), where systemd and container runtimes mount them. Source:
// the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. Thread safety: safe.
std::optional<std::uint64_t> CgroupMemoryLimit();

// The same for other files: `membership` has the form of /proc/self/cgroup, `root` that of /sys/fs/cgroup.
std::optional<std::uint64_t> CgroupMemoryLimit(const std::string& membership, const std::string& root);

}  // namespace chronolith

#endif  // CHRONOLITH_BASE_CGROUP_H_
