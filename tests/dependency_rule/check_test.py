#!/usr/bin/env python3
"""The rule's own test: what check.py must let pass and what it must refuse."""
import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check  # noqa: E402  (found through the path above)

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

ALLOWED = [
    ("src/base/hash.cc", '"', "base/hash.h"),
    ("src/base/counters.h", '"', "chronolith/stats.h"),
    ("src/wal/shard.cc", '"', "format/series_id.h"),
    ("src/query/select.h", '"', "head/head_shard.h"),
    ("src/storage/storage.cc", '"', "query/select.h"),
    ("src/metrics/metrics.cc", "<", "prometheus/collectable.h"),
    ("src/ops/verify.cc", '"', "wal/reader.h"),
    ("plugins/rocksdb/engine.cc", "<", "rocksdb/db.h"),
    ("plugins/memory/engine.cc", '"', "base/mutex.h"),
    ("tests/crash/faults.cc", "<", "rocksdb/env.h"),
    ("tools/cli/main.cc", '"', "interop/text.h"),
    ("bench/wal.cc", '"', "wal/shard.h"),
    ("bench/support.h", '"', "tools/cli/measure.h"),
    ("include/chronolith/storage.h", "<", "vector"),
    ("src/interop/remote_write_client.cc", "<", "curl/curl.h"),
    ("src/interop/remote_write_client.cc", "<", "snappy.h"),
    ("src/server/http_server.cc", "<", "boost/asio/ip/tcp.hpp"),
    ("src/server/http_metrics.cc", '"', "metrics/family_parts.h"),
    ("src/server/export_handler.cc", '"', "ops/text_export.h"),
    ("tools/chronolithd/main.cc", '"', "server/http_server.h"),
]

REFUSED = [
    ("src/base/hash.cc", '"', "wal/shard.h"),
    ("src/chunk/xor.h", '"', "format/row.h"),
    ("src/wal/shard.cc", '"', "index/index_shard.h"),
    ("src/head/head.cc", '"', "block/chunk_store.h"),
    ("src/index/index.cc", '"', "query/select.h"),
    ("src/query/select.cc", '"', "storage/storage_impl.h"),
    ("src/storage/storage.cc", '"', "metrics/families.h"),
    ("src/storage/storage.cc", '"', "plugins/rocksdb/engine.h"),
    ("src/storage/storage.cc", "<", "rocksdb/db.h"),
    ("src/interop/openmetrics.cc", "<", "curl/curl.h"),
    ("src/ops/replay.cc", "<", "snappy.h"),
    ("src/storage/storage.cc", "<", "prometheus/counter.h"),
    ("src/wal/shard.cc", '"', "tests/support/clock.h"),
    ("src/wal/shard.cc", "<", "gtest/gtest.h"),
    ("src/wal/shard.cc", '"', "shard.h"),
    ("src/interop/text.cc", '"', "storage/storage_impl.h"),
    ("plugins/rocksdb/engine.cc", '"', "wal/shard.h"),
    ("plugins/memory/engine.cc", '"', "plugins/rocksdb/engine.h"),
    ("tools/cli/main.cc", '"', "storage/storage_impl.h"),
    ("tests/wal/wal_test.cc", "<", "rocksdb/db.h"),
    ("include/chronolith/storage.h", '"', "base/mutex.h"),
    ("include/chronolith/storage.h", "<", "absl/strings/str_cat.h"),
    ("src/server/remote_write_handler.cc", '"', "storage/storage_impl.h"),
    ("src/ops/replay.cc", '"', "server/http_server.h"),
    ("src/interop/text.cc", "<", "boost/asio/buffer.hpp"),
    ("src/newlayer/a.cc", '"', "base/hash.h"),
]


class DependencyRule(unittest.TestCase):
    def test_what_the_rule_allows_passes(self):
        for row in ALLOWED:
            self.assertIsNone(check.complaint(*row, ROOT), row)

    def test_what_the_rule_forbids_is_refused(self):
        for row in REFUSED:
            self.assertIsNotNone(check.complaint(*row, ROOT), row)


if __name__ == "__main__":
    unittest.main()
