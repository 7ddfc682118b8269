#!/usr/bin/python3
"""Prints messages of VIOLATIONS, VERDICTS and RESPONSES as JSON (Debian: python3-avro).

usage: read_avro.py <directory written by `bailiff schemas export`>
Reads one hexadecimal message per line from stdin; writes {"name": ..., "value": ...} per line.
A message that cannot be read is skipped and reported on stderr: nodes can store any bytes.
"""
import datetime
import io
import json
import pathlib
import sys

import avro.io
import avro.schema

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def plain(value):
    """Types without a JSON form: times in microseconds, bytes in hexadecimal."""
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // datetime.timedelta(microseconds=1)
    return value.hex()


directory = pathlib.Path(sys.argv[1])
index = json.loads((directory / "index.json").read_text())
readers = {
    fingerprint: (entry["name"], avro.io.DatumReader(avro.schema.parse((directory / entry["file"]).read_text())))
    for fingerprint, entry in index.items()
}
for line in sys.stdin:
    try:
        message = bytes.fromhex(line.strip())
        assert message[:2] == b"\xc3\x01", "not a single-object encoding"
        name, reader = readers[message[2:10][::-1].hex()]
        value = reader.read(avro.io.BinaryDecoder(io.BytesIO(message[10:])))
    except Exception as error:  # of any type: avro raises many
        print(f"skipped {len(line) // 2} bytes: {error!r}", file=sys.stderr)
        continue
    print(json.dumps({"name": name, "value": value}, default=plain), flush=True)
