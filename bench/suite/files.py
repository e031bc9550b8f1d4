"""How long until a file out of the image is there, for those who give files and no block device: guestmount, and vmdk-dm run.
Both start a kernel of their own, and need no device mapper in the running one."""

import os
import subprocess
import time
from pathlib import Path

from suite.images import LARGE_FILE
from suite.peers import Refused, processes, resident, run, wait_for

OURS, GUESTMOUNT = "vmdk-dm run", "guestmount"
KEYS = ("flat", "stream")


def measure(pictures, directory, tool, rounds):
    """{title: {contestant: [row]}}, or {"refused": why} in the place of the rows."""
    os.environ["LIBGUESTFS_BACKEND"] = "direct"
    os.environ["LIBGUESTFS_CACHEDIR"] = str(directory)  # its appliance is made in the first round, which does not count
    found = {}
    for image in (pictures[key] for key in KEYS if key in pictures):
        found[image.title] = {}
        for title, measured in ((OURS, lambda: with_run(image, tool)), (GUESTMOUNT, lambda: with_guestmount(image, directory))):
            print(f"first byte of a file: {image.title}, {title}", flush=True)
            try:
                found[image.title][title] = [measured() for _ in range(rounds + 1)][1:]
            except Refused as refused:
                found[image.title][title] = {"refused": str(refused)}
    return found


def with_run(image, tool):
    start = time.monotonic()
    run(tool, "run", image.path, "--", "head", "-c", "4096", f"1/{LARGE_FILE}")
    return {"open": time.monotonic() - start}


def with_guestmount(image, directory):
    mounted = directory / "guest"
    mounted.mkdir(exist_ok=True)
    before = processes()
    start = time.monotonic()
    run("guestmount", "-a", image.path, "-m", "/dev/sda1", "--ro", mounted)
    try:
        with open(mounted / LARGE_FILE, "rb", buffering=0) as file:
            file.read(4096)
            opened = time.monotonic() - start
            memory = resident(processes() - before)
    finally:
        run("guestunmount", mounted)
        wait_for("the end of guestmount", lambda: not any(is_qemu(pid) for pid in processes() - before))
    return {"open": opened, "memory": memory}


def is_qemu(pid):
    try:
        return "qemu" in Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return False


def version():
    try:
        return subprocess.run(["guestmount", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
