#!/usr/bin/env python3
"""Checks who includes whom: check.py ROOT. Prints every include that breaks the rule; exit code 1 where there is one.

The order is include <- base <- {chunk, partition} <- format <- {wal, index, head, block} <- query <- storage <- {metrics, interop} <- ops <-
server; a folder includes only what stands to its left, and siblings in braces do not include each other. Plugins and interop see
include and base only, server sees metrics, interop and ops besides. Tests and benchmarks may look at everything (benchmarks also at what the tools measure with); nothing looks
at them.
"""
import os
import re
import sys

_LEFT = ["include", "base"]
_PURE = ["chunk", "partition", "format"]
_SHARDED = ["wal", "index", "head", "block"]
_INSIDE = _LEFT + _PURE + _SHARDED + ["query", "storage"]
_ALL = _INSIDE + ["metrics", "interop", "ops", "server", "cluster", "plugins", "plugins/common",
                  "plugins/memory", "plugins/rocksdb"]

# Folder -> the folders of this project that it may include, itself left out.
ALLOWED = {
    "include": [],
    "base": ["include"],
    "query": _LEFT + _PURE + _SHARDED,
    # The one place that knows the engines of this build by name.
    "plugins": ["include", "base", "plugins/common", "plugins/memory", "plugins/rocksdb"],
    "storage": _LEFT + _PURE + _SHARDED + ["query"],
    "metrics": _INSIDE,
    "interop": _LEFT,
    "ops": _INSIDE + ["metrics", "interop"],
    "server": _LEFT + ["metrics", "interop", "ops"],
    "cluster": _LEFT,
    "plugins/common": _LEFT,
    "plugins/memory": _LEFT + ["plugins/common"],
    "plugins/rocksdb": _LEFT + ["plugins/common"],
    "tools": ["include", "ops", "interop", "server"],
    "bench": _ALL + ["tools"],
    "tests": _ALL + ["bench"],
}
ALLOWED.update({folder: _LEFT for folder in _PURE})
ALLOWED["format"] = _LEFT + ["chunk"]
ALLOWED.update({folder: _LEFT + _PURE for folder in _SHARDED})

# Third-party headers that only some places may include: prefix of the header -> prefixes of the paths.
CONFINED = {
    "rocksdb/": ["plugins/rocksdb/", "tests/crash/", "tests/fuzz/rocksdb_"],
    "prometheus/": ["src/metrics/", "src/server/", "tools/", "tests/metrics/", "tests/server/"],
    "boost/": ["src/server/", "tests/server/"],
    "gtest/": ["tests/"],
    "gmock/": ["tests/"],
    "benchmark/": ["bench/"],
    "CLI/": ["tools/", "bench/"],
    "google/protobuf/": ["src/interop/otlp/", "src/server/otlp_", "tests/", "bench/"],
    "grpcpp/": ["src/server/otlp_", "tests/server/otlp_", "tests/server/chronolithd_", "tests/e2e/abuse_", "bench/otlp_bench"],
    "curl/": ["src/interop/remote_"],
    "snappy": ["src/interop/prometheus_wal", "src/interop/remote_", "src/server/remote_", "bench/remote_", "tests/server/remote_", "tests/interop/remote_", "tests/ops/remote_", "tests/support/prometheus_"],
}

_INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def folder_of_file(path):
    """The folder, in the words of ALLOWED, that a path from the root lies in; None where the rule says nothing about it."""
    parts = path.split("/")
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    if parts[0] == "plugins":
        return "/".join(parts[:2]) if len(parts) > 2 else "plugins"
    return parts[0] if parts[0] in ("include", "tools", "bench", "tests") else None


def folder_of_include(target, root):
    """The folder that an include in quotes leads to: its paths start at include/, src/ or the root."""
    if target.startswith("chronolith/"):
        return "include"
    first = target.split("/")[0]
    if first in ("plugins", "tools", "bench", "tests"):
        return folder_of_file(target)
    if os.path.isdir(os.path.join(root, "src", first)) or first in ALLOWED:
        return first
    return None


def complaint(path, bracket, target, root):
    """Why the file `path` must not include `target`; None where it may."""
    for prefix, places in CONFINED.items():
        if target.startswith(prefix) and not any(path.startswith(place) for place in places):
            return "<%s...> is included only by %s" % (prefix, ", ".join(places))
    source = folder_of_file(path)
    if bracket == "<" and not target.startswith("chronolith/"):
        if source == "include" and "/" in target:
            return "public headers include only the standard library and each other"
        return None
    if source is None:
        return None
    goal = folder_of_include(target, root)
    if goal is None:
        if "/" not in target and source not in ("tests", "bench"):
            return "includes start at include/, src/ or the root, not at the file's own folder"
        return None
    if source not in ALLOWED:
        return "the folder %s has no place in the rule yet" % source
    if goal == source or goal in ALLOWED[source]:
        return None
    return "%s must not include %s" % (source, goal)


def files_of(root):
    for top in ("include", "src", "plugins", "tools", "bench", "tests"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith((".h", ".cc", ".cpp", ".inc")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def check(root):
    found, files = [], 0
    for path in files_of(root):
        files += 1
        with open(os.path.join(root, path), encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                match = _INCLUDE.match(line)
                why = match and complaint(path, match.group(1), match.group(2), root)
                if why:
                    found.append("%s:%d: includes %s: %s" % (path, number, match.group(2), why))
    return found, files


def main():
    found, files = check(sys.argv[1])
    print("\n".join(found))
    print("%d files, %d includes against the rule" % (files, len(found)))
    sys.exit(1 if found or files == 0 else 0)


if __name__ == "__main__":
    main()
