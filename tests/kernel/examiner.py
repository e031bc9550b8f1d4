#!/usr/bin/env python3
"""Runs the commands of docs/examiner.md, one after another, and compares what they print with what stands there.

    examiner.py DOCUMENT NAME             compares
    examiner.py --record DOCUMENT NAME    writes what was printed into the document

In the working directory lies the evidence, NAME.vmdk and NAME-000001.vmdk; the document calls it desk and the directory
/evidence. A command stands behind "    # ", its output below it, both streams as they come. Hashes, times and the numbers of
loop devices differ each time and are not compared; nor is how columns are aligned.
"""
import argparse
import difflib
import os
import pathlib
import re
import subprocess
import sys

PROMPT = "    # "
INDENT = "    "
DEADLINE_S = 300


def sessions(lines):
    """(first line, command, lines of output), in the order of the document."""
    found = []
    for number, line in enumerate(lines):
        if line.startswith(PROMPT):
            found.append((number, line[len(PROMPT):], []))
        elif line.startswith(INDENT) and found and number == found[-1][0] + len(found[-1][2]) + 1:
            found[-1][2].append(line[len(INDENT):])
    return found


def run(command, name):
    there = re.sub(r"\bdesk\b", name, command)
    done = subprocess.run(["bash", "-c", there], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, timeout=DEADLINE_S, check=False)
    printed = done.stdout.replace(os.getcwd(), "/evidence").replace(name, "desk")
    # ntfs-3g asks for a module that the embedded kernel has already.
    return [line for line in printed.splitlines() if not line.startswith("modprobe: ")]


def comparable(lines):
    text = "\n".join(lines)
    text = re.sub(r"\b[0-9a-f]{64}\b", "HASH", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*Z?", "TIME", text)
    text = re.sub(r"/dev/loop\d+", "/dev/loopN", text)
    return [re.sub(r" +", " ", line).strip() for line in text.split("\n")]


def main():
    parser = argparse.ArgumentParser(description="Runs the commands of the examiner's walk-through.")
    parser.add_argument("--record", action="store_true", help="write what is printed into the document")
    parser.add_argument("document", type=pathlib.Path)
    parser.add_argument("name", help="what the evidence is called here")
    options = parser.parse_args()
    lines = options.document.read_text(encoding="utf-8").split("\n")
    found = sessions(lines)
    if len(found) < 10:
        sys.exit(f"{options.document}: only {len(found)} commands found")
    complaints = 0
    for number, command, expected in found:
        printed = run(command, options.name)
        if options.record:
            lines[number] = (PROMPT + command, printed, len(expected))
        elif comparable(printed) != comparable(expected):
            complaints += 1
            print(f"line {number + 1}: {command}")
            print(*difflib.unified_diff(comparable(expected), comparable(printed), "document", "printed", lineterm=""),
                  sep="\n")
    if options.record:
        options.document.write_text("\n".join(recorded(lines)), encoding="utf-8")
    elif complaints:
        sys.exit(f"{complaints} of {len(found)} commands do not print what {options.document.name} says")
    else:
        print(f"{len(found)} commands print what {options.document.name} says")


def recorded(lines):
    skip = 0
    for line in lines:
        if skip > 0:
            skip -= 1
        elif isinstance(line, tuple):
            text, printed, skip = line
            yield text
            yield from (INDENT + one for one in printed)
        else:
            yield line


main()
