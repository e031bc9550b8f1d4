#!/usr/bin/env python3
"""Interrupts vmdk-dm compact and overlay merge-to at many moments and looks for what they leave.

    interrupt.py COUNT PROGRAM

For each of them, with each of SIGTERM, SIGINT, SIGHUP and SIGKILL, COUNT times: the file is there and whole, or not there at all; nothing
else is left; and the status tells of the signal, unless it came too late. Needs a file system with O_TMPFILE for
SIGKILL, which most have.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "generate"))
# pylint: disable=wrong-import-position
import random_overlay  # noqa: E402
import vmdk_writer as vw  # noqa: E402

SIZE = 96 << 20
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)
DEADLINE_S = 60


def has_tmpfile(directory):
    try:
        os.close(os.open(directory, os.O_TMPFILE | os.O_RDWR))
        return True
    except OSError:
        return False


def content(path, skip):
    return path.read_bytes()[skip:]


def one_turn(command, skip, directory, data, number, delay):
    """Returns a complaint or None, and whether the signal came in time. The first `skip` bytes may differ."""
    before = set(os.listdir(directory))
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(delay)  # no event to wait for: any moment is as good as another
    process.send_signal(number)
    process.communicate(timeout=DEADLINE_S)
    left = set(os.listdir(directory)) - before
    output = directory / "out"
    whole = left == {"out"} and content(output, skip) == data
    output.unlink(missing_ok=True)
    if process.returncode == 0:
        return (None if whole else f"it succeeded, but left {left}"), False
    # A kill may come between the naming of the file and the exit.
    if left and not (whole and number == signal.SIGKILL):
        return f"left {left}, whole: {whole}, status {process.returncode}", True
    if process.returncode != -number:
        return f"status {process.returncode}, expected {-number}", True
    return None, True


def make_overlay(path, disk, capacity, rng):
    """Of which every other 64 KiB are changed."""
    overlay = random_overlay.Overlay(random.Random(0), vw.Disk(bytearray(capacity * 512), bytearray(capacity), b""))
    overlay.chunk = 128
    overlay.changes = [(number, rng.randbytes(65536)) for number in range(0, capacity // 128, 2)]
    overlay.write(path, [(0, 0xFFFFFFFF)], [disk, disk.parent / "data"])


def interrupt(command, skip, directory, count, rng):
    """How many signals came in time, or a complaint."""
    start = time.monotonic()
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    whole_run = time.monotonic() - start
    output = directory / "out"
    data = content(output, skip)
    output.unlink()
    in_time = 0
    for number in SIGNALS if has_tmpfile(directory) else SIGNALS[:3]:
        for _ in range(count):
            delay = rng.uniform(0, whole_run)
            complaint, was_in_time = one_turn(command, skip, directory, data, number, delay)
            in_time += was_in_time
            if complaint:
                return 0, f"{command[1:]}: {number.name} after {delay:.3f} s: {complaint}"
    return in_time, None


def main():
    parser = argparse.ArgumentParser(description="Interrupts vmdk-dm compact and merge-to and looks for what they leave.")
    parser.add_argument("count", type=int, help="times with each signal")
    parser.add_argument("program", type=pathlib.Path, help="the vmdk-dm to test")
    arguments = parser.parse_args()
    program = arguments.program.resolve()
    rng = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="vmdkdm-test-") as name:
        directory = pathlib.Path(name).resolve()
        (directory / "data").write_bytes(rng.randbytes(1 << 20) * (SIZE >> 20))
        disk = directory / "disk.vmdk"
        disk.write_text(f'version=1\nCID=0\nparentCID=ffffffff\nRW {SIZE // 512} FLAT "data" 0\n')
        make_overlay(directory / "overlay", disk, SIZE // 512, rng)
        merge = [program, "overlay", "merge-to", "--overlay", "overlay", "disk.vmdk", "out"]
        for command, skip in (
            ([program, "compact", "disk.vmdk", "out"], 0),
            (merge, 0),
            ([*merge, "--format=vmdk-delta"], 21 * 512),  # its CID is another every time
        ):
            in_time, complaint = interrupt(command, skip, directory, arguments.count, rng)
            if complaint or not in_time:
                print(complaint or f"{command[1:]}: no signal came in time")
                return 1
            print(f"{command[1]} {command[-1]}: {in_time} signals in time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
