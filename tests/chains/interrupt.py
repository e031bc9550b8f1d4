#!/usr/bin/env python3
"""Interrupts vmdk-dm compact at many moments and looks for what it leaves.

    interrupt.py COUNT PROGRAM

With each of SIGTERM, SIGINT, SIGHUP and SIGKILL, COUNT times: the file is there and whole, or not there at all; nothing
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

SIZE = 96 << 20
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)
DEADLINE_S = 60


def has_tmpfile(directory):
    try:
        os.close(os.open(directory, os.O_TMPFILE | os.O_RDWR))
        return True
    except OSError:
        return False


def one_turn(program, directory, data, number, delay):
    """Returns a complaint or None, and whether the signal came in time."""
    before = set(os.listdir(directory))
    process = subprocess.Popen([program, "compact", "disk.vmdk", "out.raw"], cwd=directory,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(delay)  # no event to wait for: any moment is as good as another
    process.send_signal(number)
    process.communicate(timeout=DEADLINE_S)
    left = set(os.listdir(directory)) - before
    output = directory / "out.raw"
    whole = left == {"out.raw"} and output.read_bytes() == data
    output.unlink(missing_ok=True)
    if process.returncode == 0:
        return (None if whole else f"it succeeded, but left {left}"), False
    # A kill may come between the naming of the file and the exit.
    if left and not (whole and number == signal.SIGKILL):
        return f"left {left}, whole: {whole}, status {process.returncode}", True
    if process.returncode != -number:
        return f"status {process.returncode}, expected {-number}", True
    return None, True


def main():
    parser = argparse.ArgumentParser(description="Interrupts vmdk-dm compact and looks for what it leaves.")
    parser.add_argument("count", type=int, help="times with each signal")
    parser.add_argument("program", type=pathlib.Path, help="the vmdk-dm to test")
    arguments = parser.parse_args()
    program = arguments.program.resolve()
    rng = random.Random(1)
    in_time = 0
    with tempfile.TemporaryDirectory(prefix="vmdkdm-test-") as name:
        directory = pathlib.Path(name)
        data = rng.randbytes(1 << 20) * (SIZE >> 20)
        (directory / "data").write_bytes(data)
        (directory / "disk.vmdk").write_text(f'version=1\nRW {SIZE // 512} FLAT "data" 0\n')
        start = time.monotonic()
        subprocess.run([program, "compact", "disk.vmdk", "out.raw"], cwd=directory, check=True, capture_output=True)
        whole_run = time.monotonic() - start
        (directory / "out.raw").unlink()
        signals = SIGNALS if has_tmpfile(directory) else SIGNALS[:3]
        for number in signals:
            for _ in range(arguments.count):
                delay = rng.uniform(0, whole_run)
                complaint, was_in_time = one_turn(program, directory, data, number, delay)
                in_time += was_in_time
                if complaint:
                    print(f"{number.name} after {delay:.3f} s: {complaint}")
                    return 1
    print(f"{len(signals) * arguments.count} signals, {in_time} of them in time")
    return 0 if in_time else 1


if __name__ == "__main__":
    sys.exit(main())
