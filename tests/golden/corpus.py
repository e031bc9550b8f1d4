#!/usr/bin/env python3
"""Runs vmdk-dm over a corpus of real images, if there is one beside the repository.

INDEX.tsv says for each file what it is and, where it is a whole image, what SHA-256 its contents have. Those must give
exactly that through `map --json`; of every other file (pieces, damaged ones, descriptors without their extents) a clean
error is asked for: one of the documented statuses, and no crash.

Exit status: 0, 1 when something is wrong, 77 when there is no corpus.
"""

import argparse
import csv
import hashlib
import json
import pathlib
import struct
import subprocess
import sys
import zlib

ERRORS = range(1, 7)


def contents(runs):
    position = 0
    for run in runs:
        assert run["start"] == position, f"gap at {position}"
        position += run["length"]
        if run["kind"] == "zero":
            yield bytes(run["length"])
            continue
        with open(run["file"], "rb") as file:
            file.seek(run["offset"])
            if run["kind"] == "data":
                yield file.read(run["length"])
                continue
            assert run["kind"] == "compressed", run
            _, size = struct.unpack("<QI", file.read(12))
            yield zlib.decompress(file.read(size))[run["skip"] : run["skip"] + run["length"]]


def check(program, path, expected_sha256):
    result = subprocess.run([program, "map", "--json", path], capture_output=True, timeout=60, check=False)
    if expected_sha256:
        if result.returncode != 0:
            return f"status {result.returncode}: {result.stderr.decode(errors='replace')}"
        digest = hashlib.sha256()
        for piece in contents(json.loads(result.stdout)):
            digest.update(piece)
        return None if digest.hexdigest() == expected_sha256 else "the contents have another SHA-256"
    message = result.stderr.decode(errors="replace")
    if result.returncode not in ERRORS or not message.strip():
        return f"status {result.returncode} and the message '{message}', expected a clean error"
    if "Sanitizer" in message or "runtime error" in message:
        return message
    return None


def main():
    parser = argparse.ArgumentParser(description="Runs vmdk-dm over a corpus of real images.")
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("corpus", type=pathlib.Path)
    arguments = parser.parse_args()
    index = arguments.corpus / "INDEX.tsv"
    if not index.exists():
        print(f"SKIPPED: no corpus of real images at {arguments.corpus}", file=sys.stderr)
        return 77

    failures = 0
    compared = 0
    with open(index, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            sha256 = next((value for key, value in row.items() if key.startswith("sha256 of contents")), "") or ""
            note = row["subformat / note"]
            complaint = check(arguments.program.resolve(), arguments.corpus / row["file"], sha256)
            compared += bool(sha256)
            if complaint:
                failures += 1
                print(f"{row['file']} ({note}): {complaint}")
    if compared == 0:
        print("the index gives no contents: nothing was compared")
        failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
