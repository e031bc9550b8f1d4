#!/usr/bin/env python3
"""Runs vmdk-dm on small images and compares everything that it prints.

A case is one file, cases/NAME.toml:

    why = "what would go wrong otherwise"

    [files]                                    # made in a directory of their own
    "disk.vmdk" = '''...'''                    # a text
    "data" = {sectors = 8}                     # each sector of it says which it is; or {bytes = 4095}
    "hole" = {hole = 4096}                     # a file of that many zero bytes
    "old.vmdk" = {text = '''...''', encoding = "cp1252"}
    "magic" = {hex = "4b 44 4d 56", padded_to = 512}
    "link" = {symlink = "../elsewhere"}        # also {directory = true}, {fifo = true}, {block_device = [240, 77]}

    [[run]]
    command = "map --json disk.vmdk"           # {dir} is the directory, {id} the id of disk.vmdk, {id X} that of X
    status = 0                                 # the default
    json = '''...'''                           # standard output as JSON; or: stdout = '''...''', the text itself
    stderr = '''...'''                         # whole; nothing is the default
    disk = ["data 0 8", "zero 5"]              # what the disk must hold, in sectors: FILE FIRST COUNT, zero COUNT
                                               # or unreadable COUNT; read through the map that was printed

Exit status: 0 when all is as expected, 1 when not, 77 when the case cannot be run here.
"""

import argparse
import difflib
import json
import os
import pathlib
import re
import shlex
import stat
import subprocess
import sys
import tempfile
import tomllib

SECTOR = 512
SANITIZER_STATUS = 99
DEADLINE_S = 60


class Skip(Exception):
    """The case needs what this machine or user does not have."""


# Files of a case.


def sector_of(name, number):
    """A sector that says which it is."""
    text = f"{name} sector {number}\n".encode()
    return (text * (SECTOR // len(text) + 1))[:SECTOR]


def pattern(name, size):
    sectors = -(-size // SECTOR)
    return b"".join(sector_of(name, number) for number in range(sectors))[:size]


def make_file(directory, name, spec):
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(spec, str):
        spec = {"text": spec}
    if "text" in spec:
        text = spec["text"].replace("{dir}", str(directory)).ljust(spec.get("padded_to", 0), "x")
        path.write_bytes(text.encode(spec.get("encoding", "utf-8")))
    elif "hex" in spec:
        path.write_bytes(bytes.fromhex(spec["hex"]).ljust(spec.get("padded_to", 0), b"\0"))
    elif "sectors" in spec:
        path.write_bytes(pattern(name, spec["sectors"] * SECTOR))
    elif "bytes" in spec:
        path.write_bytes(pattern(name, spec["bytes"]))
    elif "hole" in spec:
        with open(path, "wb") as file:
            file.truncate(spec["hole"])
    elif "symlink" in spec:
        path.symlink_to(spec["symlink"])
    elif "directory" in spec:
        path.mkdir(exist_ok=True)
    elif "fifo" in spec:
        os.mkfifo(path)
    elif "block_device" in spec:
        try:
            os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(*spec["block_device"]))
        except PermissionError as error:
            raise Skip(f"making a device node needs root ({error})") from error
    else:
        raise ValueError(f"{name}: nothing says what it holds")


# Checks. Each returns a list of complaints.


def compare_texts(what, expected, found):
    if expected == found:
        return []
    lines = difflib.unified_diff(expected.splitlines(), found.splitlines(), "expected", "found", lineterm="")
    return [f"{what} differs:", *lines]


def compare_json(expected, found):
    try:
        found = json.loads(found)
    except ValueError as error:
        return [f"standard output is not JSON: {error}"]
    shown = [json.dumps(value, indent=1, sort_keys=True) for value in (json.loads(expected), found)]
    return compare_texts("standard output", *shown)


def expected_runs(disk, directory):
    """The disk as the case describes it: (bytes or None where it is unreadable), piece by piece."""
    for piece in disk:
        kind, *numbers = piece.rsplit(" ", 2) if not piece.startswith(("zero ", "unreadable ")) else piece.split()
        if kind == "zero":
            yield bytes(int(numbers[0]) * SECTOR)
        elif kind == "unreadable":
            yield [None] * (int(numbers[0]) * SECTOR)
        else:
            first, count = map(int, numbers)
            # Not read from the file: made anew, by the rule that made the file.
            yield b"".join(sector_of(kind, number) for number in range(first, first + count))


def read_through(runs):
    """The disk as the printed map says, with plain reads of the files that it names."""
    position = 0
    for run in runs:
        if run["start"] != position or run["length"] <= 0:
            raise ValueError(f"the map has a gap or an empty run at byte {position}: {run}")
        position += run["length"]
        if run["kind"] == "data":
            with open(run["file"], "rb") as file:
                file.seek(run["offset"])
                data = file.read(run["length"])
            if len(data) != run["length"]:
                raise ValueError(f"{run['file']} is shorter than the map says: {run}")
            yield data
        elif run["kind"] == "zero":
            yield bytes(run["length"])
        elif run["kind"] == "unreadable":
            yield [None] * run["length"]
        else:
            raise ValueError(f"unexpected kind of run: {run}")


def compare_disks(disk, printed_map, directory):
    expected = [byte for piece in expected_runs(disk, directory) for byte in piece]
    try:
        found = [byte for piece in read_through(json.loads(printed_map)) for byte in piece]
    except (ValueError, OSError) as error:
        return [str(error)]
    if expected == found:
        return []
    if len(expected) != len(found):
        return [f"the disk has {len(found)} bytes, expected {len(expected)}"]
    first = next(i for i, (a, b) in enumerate(zip(expected, found)) if a != b)
    return [f"the disk differs from sector {first // SECTOR} on (byte {first})"]


def image_id(path):
    status = path.stat()
    return f"{status.st_dev:x}.{status.st_ino:x}"


def run_once(program, run, directory):
    """Runs one command of a case; returns the complaints."""

    def fill_in(text):
        text = text.replace("{dir}", str(directory))
        return re.sub(r"\{id(?: ([^}]+))?\}", lambda match: image_id(directory / (match[1] or "disk.vmdk")), text)

    command = [program, *shlex.split(fill_in(run["command"]))]
    with open(run.get("stdout_to", "/dev/null"), "wb") as elsewhere:
        result = subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=elsewhere if "stdout_to" in run else subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=DEADLINE_S,
            check=False,
        )
    stdout = (result.stdout or b"").decode("utf-8", "backslashreplace")
    stderr = result.stderr.decode("utf-8", "backslashreplace")

    complaints = []
    status = run.get("status", 0)
    if result.returncode != status:
        complaints.append(f"exit status {result.returncode}, expected {status}")
    complaints += compare_texts("standard error", fill_in(run.get("stderr", "")), stderr)
    if "json" in run:
        complaints += compare_json(fill_in(run["json"]), stdout)
    elif "stdout" in run or "disk" not in run:
        complaints += compare_texts("standard output", fill_in(run.get("stdout", "")), stdout)
    if "disk" in run:
        complaints += compare_disks(run["disk"], stdout, directory)
    if complaints:
        complaints = [f"vmdk-dm {run['command']}", *("  " + line for line in complaints)]
    return complaints


def run_case(program, path):
    case = tomllib.loads(path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="vmdkdm-test-") as name:
        directory = pathlib.Path(name).resolve()
        for file_name, spec in case["files"].items():
            make_file(directory, file_name, spec)
        complaints = [line for run in case["run"] for line in run_once(program, run, directory)]
        if complaints:
            print(f"{path.name}: {case['why']}", *complaints, sep="\n")
        return 1 if complaints else 0


def main():
    parser = argparse.ArgumentParser(description="Runs golden cases of vmdk-dm.")
    parser.add_argument("program", type=pathlib.Path, help="the vmdk-dm to test")
    parser.add_argument("cases", type=pathlib.Path, nargs="+", help="cases/NAME.toml")
    arguments = parser.parse_args()
    os.environ["LC_ALL"] = "C.UTF-8"
    status = 0
    for path in arguments.cases:
        try:
            status = max(status, run_case(arguments.program.resolve(), path))
        except Skip as reason:
            print(f"{path.name}: SKIPPED: {reason}", file=sys.stderr)
            status = status or 77
    return status


if __name__ == "__main__":
    sys.exit(main())
