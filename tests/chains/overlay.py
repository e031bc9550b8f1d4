#!/usr/bin/env python3
"""Lays random overlays over random chains of snapshots and compares what vmdk-dm makes of them, byte for byte.

    overlay.py SEED COUNT PROGRAM

For each seed: `map`, `hash` and `compact` with --overlay, `overlay info`, and both forms of `overlay merge-to`, against
what the generators know. The delta is read back by PROGRAM, which must find it sound, and where qemu-img is installed and
reads the chain correctly, by that. No file of the chain may change. At last `overlay discard`. Nothing here shares code
with vmdk-dm.

Exit status: 0, or 1 when something differed; the directory of the first chain that did is kept.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import run as chains
from run import Difference, run_program

# pylint: disable=wrong-import-order
import random_chain
import random_overlay
import vmdk_writer as vw
from vmdk_writer import SECTOR

OVERLAY = "link-overlay"
DELTA = "link-delta.vmdk"
IMAGE = "link0.vmdk"


def said(command, directory):
    return json.loads(run_program(command, directory))


def refuses(status, text, command, directory):
    result = subprocess.run(command, cwd=directory, capture_output=True, timeout=chains.DEADLINE_S, check=False)
    message = result.stderr.decode(errors="replace")
    if result.returncode != status or text not in message or result.stdout:
        raise Difference(f"{' '.join(map(str, command))}: status {result.returncode}, expected {status}: {message}")


def facts(directory, but=()):
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in directory.iterdir()
        if path.name not in but
    }


def files_of(program, directory):
    """Links as (CID, parent CID), and the files: descriptors from the image down, then those of the map, each once."""
    images = said([program, "info", "--chain", "--json", IMAGE], directory)
    links = [(int(image["CID"], 16), int(image["parentCID"] or "ffffffff", 16)) for image in images]
    runs = said([program, "map", "--json", IMAGE], directory)
    paths = [image["image"] for image in images] + [run["file"] for run in runs if "file" in run]
    return links, list(dict.fromkeys(paths))


def ranges_of(flags):
    """Stretches of sectors that are set, in bytes."""
    ranges = []
    for sector, flag in enumerate(flags):
        if flag and sector and flags[sector - 1]:
            ranges[-1]["length"] += SECTOR
        elif flag:
            ranges.append({"start": sector * SECTOR, "length": SECTOR})
    return ranges


def check_info(program, directory, overlay, valid):
    info = said([program, "overlay", "info", "--json", OVERLAY], directory)
    ranges = ranges_of(overlay.written)
    state = "untouched" if not overlay.changes else "valid" if valid else "invalid"
    expected = {
        "overlay": str(directory / OVERLAY),
        "image": str(directory / IMAGE),
        "capacity": len(overlay.data),
        "chunk": overlay.chunk * SECTOR,
        "limit": overlay.limit(),
        "state": state,
        "bytesChanged": sum(overlay.written) * SECTOR,
        "changes": ranges,
    }
    for key, value in expected.items():
        if info[key] != value:
            raise Difference(f"overlay info: {key} is {info[key]}, expected {value}")
    if not 0 <= info["used"] <= info["limit"]:
        raise Difference(f"overlay info: used {info['used']} of {info['limit']}")
    run_program([program, "overlay", "info", OVERLAY], directory)


def check_raw(program, directory, damaged, overlay):
    raw = directory / "merged.raw"
    command = [program, "overlay", "merge-to", *damaged, "--json", "--no-sync", "--hash=sha256", "--overlay", OVERLAY,
               IMAGE, raw.name]
    result = said(command, directory)
    if raw.read_bytes() != overlay.data:
        raise Difference("merge-to --format raw: other bytes")
    if result["hashes"]["sha256"] != hashlib.sha256(overlay.data).hexdigest():
        raise Difference("merge-to --format raw: another hash")
    raw.unlink()


def check_delta(program, directory, damaged, overlay, unreadable, qemu_reads):
    command = [program, "overlay", "merge-to", *damaged, "--json", "--no-sync", "--format=vmdk-delta", "--overlay",
               OVERLAY, IMAGE, DELTA]
    result = said(command, directory)
    grains = overlay.changed_grains()
    if result["grains"] != len(grains):
        raise Difference(f"a delta of {result['grains']} grains, expected {len(grains)}")
    run_program([program, "check", DELTA], directory)  # its status is 0 only for what is sound
    held = set()
    for run in said([program, "map", "--json", DELTA], directory):
        if run["depth"] == 0:
            first, end = run["start"] // SECTOR, (run["start"] + run["length"]) // SECTOR
            held.update(range(first // 128, vw.ceil_div(end, 128)))
    if held != grains:
        raise Difference(f"the delta holds other grains: {sorted(held ^ grains)}")
    raw = directory / "delta.raw"
    run_program([program, "compact", *damaged, "--no-sync", DELTA, raw.name], directory)
    if raw.read_bytes() != overlay.data:
        raise Difference("the delta gives other bytes")
    raw.unlink()
    if qemu_reads and not unreadable:
        run_program(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", DELTA, raw.name], directory)
        if raw.read_bytes() != overlay.data:
            raise Difference("qemu-img reads other bytes from the delta")
        raw.unlink()
    (directory / DELTA).unlink()
    return qemu_reads and not unreadable


def check_refusals(program, directory, files):
    both = [program, "hash", "--overlay", OVERLAY, IMAGE]
    status = os.stat(files[-1])
    os.utime(files[-1], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    refuses(4, "(if only its time has changed, as by a copy without -p, see --accept-touched)", both, directory)
    run_program([*both, "--accept-touched", "--allow-damaged"], directory)
    os.utime(files[-1], ns=(status.st_atime_ns, status.st_mtime_ns))
    merge = [program, "overlay", "merge-to", "--force", "--allow-damaged", "--overlay", OVERLAY, IMAGE]
    refuses(4, "is the overlay itself", [*merge, OVERLAY], directory)
    refuses(4, "is a file of the image itself", [*merge, IMAGE], directory)
    refuses(2, "--hash goes with --format raw", [*merge, DELTA, "--format=vmdk-delta", "--hash=md5"], directory)


def check_discard(program, directory, damaged, disk):
    said([program, "overlay", "discard", "--json", OVERLAY], directory)
    digest = run_program([program, "hash", *damaged, "--overlay", OVERLAY, IMAGE], directory).decode().split()[1]
    if digest != hashlib.sha256(disk.data).hexdigest():
        raise Difference("the discarded overlay changes the disk")
    if (directory / OVERLAY).stat().st_blocks * 512 > 64 << 10:
        raise Difference("the discarded overlay takes room")


def check_overlay(seed, program, directory, has_qemu):
    """Returns whether qemu-img confirmed the delta."""
    links = random_chain.make_chain(seed)
    random_chain.write_chain(links, directory)
    disk = vw.disk_of(links)
    overlay = random_overlay.random_overlay(seed, disk)
    cids, files = files_of(program, directory)
    valid = int(seed % 4 != 0)
    overlay.write(directory / OVERLAY, cids, files, valid)
    before = facts(directory)

    depths = bytes(0 if written else depth + 1 for written, depth in zip(overlay.written, disk.depths))
    merged = vw.Disk(overlay.data, overlay.kinds, bytearray(depths))
    options = ["--overlay", OVERLAY, IMAGE]
    chains.check_map(said([program, "map", "--json", *options], directory), merged, directory, links)
    chains.check_compact(directory, program, options, merged)
    damaged = ["--allow-damaged"] if vw.UNREADABLE in disk.kinds else []
    check_info(program, directory, overlay, valid)
    check_raw(program, directory, damaged, overlay)
    confirmed = check_delta(program, directory, damaged, overlay, bool(damaged),
                            has_qemu and random_chain.qemu_reads(links))
    if seed % 5 == 0:
        check_refusals(program, directory, files)
    if facts(directory) != before:
        raise Difference("image or overlay have changed")
    check_discard(program, directory, damaged, disk)
    if facts(directory, [OVERLAY]) != {name: fact for name, fact in before.items() if name != OVERLAY}:
        raise Difference("discard has changed the image")
    return confirmed


def main():
    parser = argparse.ArgumentParser(description="Compares random overlays with what vmdk-dm makes of them.")
    parser.add_argument("seed", type=int, help="of the first chain")
    parser.add_argument("count", type=int, help="how many chains, each with the next seed")
    parser.add_argument("program", type=pathlib.Path, help="the vmdk-dm to test")
    arguments = parser.parse_args()
    os.environ["LC_ALL"] = "C.UTF-8"
    has_qemu = shutil.which("qemu-img") is not None

    failures = confirmed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        directory = chains.workshop()
        keep = False
        try:
            confirmed += check_overlay(seed, arguments.program.resolve(), directory, has_qemu)
        except Difference as difference:
            failures += 1
            keep = failures == 1
            print(f"seed {seed}: {difference}", f"(see {directory})" if keep else "")
        finally:
            if not keep:
                shutil.rmtree(directory)
    print(f"{arguments.count} overlays, {failures} wrong; qemu-img confirmed {confirmed} deltas")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
