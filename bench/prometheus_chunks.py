#!/usr/bin/env python3
"""Bytes a sample of the XOR chunks in a Prometheus data directory: payload alone, without headers and checksums.

usage: prometheus_chunks.py DIR        DIR as `promtool tsdb bench write --out=DIR` leaves it (its storage/ is looked for as well)
Reads chunks_head/* (chunks of the head that are full) and */chunks/* (blocks); prints one JSON object.
"""
import json
import pathlib
import struct
import sys

HEAD_MAGIC, BLOCK_MAGIC = 0x0130BC91, 0x85BD40DD


def uvarint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def chunks(path: pathlib.Path):
    """Yields the data of each XOR chunk of one segment file."""
    data = path.read_bytes()
    if len(data) < 8:
        return
    magic = struct.unpack_from(">I", data)[0]
    if magic not in (HEAD_MAGIC, BLOCK_MAGIC):
        sys.exit(f"{path}: not a segment of chunks")
    at = 8
    while at + 4 < len(data):
        if magic == HEAD_MAGIC:
            if data[at : at + 8] == bytes(8):  # series reference 0: preallocated, unused
                return
            encoding = data[at + 24]
            length, at = uvarint(data, at + 25)
        else:
            length, at = uvarint(data, at)
            if length == 0:
                return
            encoding = data[at]
            at += 1
        if encoding == 1:
            yield data[at : at + length]
        at += length + 4  # CRC32C


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    root = pathlib.Path(sys.argv[1])
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.parent.name in ("chunks_head", "chunks"))
    count = samples = payload = 0
    for path in files:
        for data in chunks(path):
            count += 1
            samples += struct.unpack_from(">H", data)[0]
            payload += len(data)
    if samples == 0:
        sys.exit(f"{root}: no chunks")
    print(json.dumps({"chunks": count, "samples": samples, "payload_bytes": payload, "bytes_per_sample": payload / samples}))


main()
