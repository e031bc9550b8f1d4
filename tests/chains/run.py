#!/usr/bin/env python3
"""Compares random chains of snapshots with what vmdk-dm makes of them, byte for byte.

    run.py SEED COUNT PROGRAM        # the chains of the seeds SEED to SEED + COUNT - 1

For each chain and each of its layers (--layer N): the generator's truth is compared with the disk that is read through
`PROGRAM map --json`, run by run: bytes, kind, depth. Compressed grains are inflated here. Then with the raw file that
`PROGRAM compact` writes, and with what `PROGRAM hash` says. `check` must find no fault. Where qemu-img is installed and
reads the chain correctly, its raw disk is compared with the truth too. Nothing here shares code with vmdk-dm.

Exit status: 0, or 1 when something differed; the directory of the first chain that did is kept.
"""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "generate"))
# pylint: disable=wrong-import-position
import random_chain  # noqa: E402
import vmdk_writer as vw  # noqa: E402
from vmdk_writer import SECTOR  # noqa: E402

DEADLINE_S = 60
KINDS = {"data": vw.DATA, "compressed": vw.DATA, "zero": vw.ZEROS, "unreadable": vw.UNREADABLE}


class Difference(Exception):
    pass


def workshop():
    """A directory for a chain's files. In memory where there is room: a disk may take 10 ms for each file that goes."""
    try:
        memory = os.statvfs("/dev/shm")
        roomy = memory.f_bavail * memory.f_frsize >= 1 << 30 and os.access("/dev/shm", os.W_OK)
    except OSError:
        roomy = False
    parent = "/dev/shm" if roomy and "TMPDIR" not in os.environ else None
    return pathlib.Path(tempfile.mkdtemp(prefix="vmdkdm-test-chain-", dir=parent)).resolve()


class Files:
    """Open files and inflated grains, by path."""

    def __init__(self):
        self.open_files = {}
        self.grains = collections.OrderedDict()  # the latest few

    def read(self, path, offset, count):
        if path not in self.open_files:
            if not os.path.isabs(path):
                raise Difference(f"'{path}' is not absolute")
            self.open_files[path] = os.open(path, os.O_RDONLY)
        data = os.pread(self.open_files[path], count, offset)
        if len(data) != count:
            raise Difference(f"{path} ends {count - len(data)} bytes before the {count} at byte {offset} do")
        return data

    def grain(self, path, offset):
        """The first sector on its extent and the contents of the compressed grain whose header is there."""
        key = (path, offset)
        if key not in self.grains:
            lba, size = struct.unpack("<QI", self.read(path, offset, 12))
            self.grains[key] = lba, zlib.decompressobj().decompress(self.read(path, offset + 12, size))
            if len(self.grains) > 8:
                self.grains.popitem(last=False)
        return self.grains[key]

    def close(self):
        for fd in self.open_files.values():
            os.close(fd)


def bytes_of(run, files, extent_starts):
    """What the run says is there; None where it says nothing of bytes."""
    if run["kind"] == "data":
        return files.read(run["file"], run["offset"], run["length"])
    if run["kind"] == "compressed":
        lba, grain = files.grain(run["file"], run["offset"])
        skip = run["start"] - (extent_starts[run["file"]] + lba) * SECTOR
        if skip < 0 or skip + run["length"] > len(grain):
            raise Difference(f"the grain for sector {lba} of the extent, {len(grain)} bytes, holds no such run: {run}")
        return grain[skip : skip + run["length"]]
    return None


def check_shape(runs, capacity):
    """In guest order, without gaps, in as few runs as can be."""
    position = 0
    before = {"kind": None}
    for run in runs:
        if run["start"] != position or run["length"] <= 0 or run["length"] % SECTOR:
            raise Difference(f"expected a run from byte {position}, found {run}")
        stored = run["kind"] in ("data", "compressed")
        if stored != ("file" in run) or stored != ("offset" in run) or (run["kind"] == "unreadable") != ("why" in run):
            raise Difference(f"a run with too many or too few keys: {run}")
        alike = all(before.get(key) == run.get(key) for key in ("kind", "depth", "file", "why"))
        goes_on = run["kind"] != "data" or before.get("offset", 0) + before.get("length", 0) == run["offset"]
        if alike and goes_on and run["kind"] != "compressed":
            raise Difference(f"two runs that are one: {before}, {run}")
        position += run["length"]
        before = run
    if position != capacity:
        raise Difference(f"the disk has {position} bytes, expected {capacity}")


def check_map(runs, disk, directory, links):
    check_shape(runs, len(disk.data))
    extent_starts = {str(directory / extent.file_name): extent.start for link in links for extent in link.extents}
    files = Files()
    try:
        for run in runs:
            first, count = run["start"] // SECTOR, run["length"] // SECTOR
            for what, truth, found in (
                ("kind", disk.kinds, KINDS[run["kind"]]),
                ("depth", disk.depths, run["depth"]),
            ):
                expected = truth[first : first + count]
                if expected.count(found) != count:
                    wrong = next(i for i, value in enumerate(expected) if value != found)
                    raise Difference(f"at sector {first + wrong} the {what} should be {expected[wrong]}: {run}")
            found = bytes_of(run, files, extent_starts)
            if found is not None and found != disk.data[run["start"] : run["start"] + run["length"]]:
                raise Difference(f"other bytes in the run {run}")
    finally:
        files.close()


def run_program(command, directory):
    try:
        result = subprocess.run(command, cwd=directory, capture_output=True, timeout=DEADLINE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Difference(str(error)) from error
    message = result.stderr.decode(errors="replace")
    if result.returncode != 0 or "Sanitizer" in message or "runtime error" in message:
        raise Difference(f"{' '.join(map(str, command))}: status {result.returncode}: {message}")
    return result.stdout


def check_qemu(directory, link, disk):
    raw = directory / "qemu.raw"
    command = ["qemu-img", "convert", "-f", "vmdk", "-O", "raw", link.name, raw]
    run_program(command, directory)
    if raw.read_bytes() != disk.data:
        raise Difference(f"qemu-img reads {link.name} differently from what the generator wrote")
    raw.unlink()


def check_compact(directory, program, options, disk):
    """The raw file, what compact says of it, and the hashes of both commands."""
    raw = directory / "compact.raw"
    damaged = vw.UNREADABLE in disk.kinds
    options = [*options, *(["--allow-damaged"] if damaged else [])]
    # Hashing takes the disk in its own order, everything else the files in theirs.
    for with_hash in ([], ["--hash", "sha256,md5"]):
        command = [program, "compact", "--json", "--no-sync", "--force", *with_hash, *options, raw]
        said = json.loads(run_program(command, directory))
        if raw.read_bytes() != disk.data:
            raise Difference(f"{' '.join(map(str, command))}: other bytes")
        parts = ("bytesCopied", "bytesReflinked", "bytesInflated", "bytesZero")
        if sum(said[part] for part in parts) != len(disk.data) or said["capacity"] != len(disk.data):
            raise Difference(f"the parts do not make the whole: {said}")
        listed = sum(damage["length"] for damage in said["damaged"])
        if listed != disk.kinds.count(vw.UNREADABLE) * SECTOR:
            raise Difference(f"other damage: {said}")
        for name, digest in said["hashes"].items():
            if hashlib.new(name, disk.data).hexdigest() != digest:
                raise Difference(f"another {name}: {said}")
    raw.unlink()
    expected = f"sha1  {hashlib.sha1(disk.data).hexdigest()}\n"
    if run_program([program, "hash", "--algorithm=sha1", *options], directory).decode() != expected:
        raise Difference(f"hash does not say {expected}")
    left = [path.name for path in directory.iterdir() if not path.name.startswith("link")]
    if left:
        raise Difference(f"files are left: {left}")


def check_chain(seed, program, directory, has_qemu):
    """Returns how many layers qemu-img confirmed."""
    links = random_chain.make_chain(seed)
    random_chain.write_chain(links, directory)
    run_program([program, "check", links[0].name], directory)  # its status is 0 only for what is sound
    confirmed = 0
    for layer in range(len(links)):
        disk = vw.disk_of(links[layer:])
        options = [*(["--layer", str(layer)] if layer else []), links[0].name]
        try:
            check_map(json.loads(run_program([program, "map", "--json", *options], directory)), disk, directory, links)
            check_compact(directory, program, options, disk)
            if has_qemu and random_chain.qemu_reads(links[layer:]):
                check_qemu(directory, links[layer], disk)
                confirmed += 1
        except Difference as difference:
            raise Difference(f"layer {layer}: {difference}") from difference
    return confirmed


def main():
    parser = argparse.ArgumentParser(description="Compares random chains of snapshots with what vmdk-dm makes of them.")
    parser.add_argument("seed", type=int, help="of the first chain")
    parser.add_argument("count", type=int, help="how many chains, each with the next seed")
    parser.add_argument("program", type=pathlib.Path, help="the vmdk-dm to test")
    parser.add_argument("--no-qemu", action="store_true", help="do not compare with qemu-img")
    arguments = parser.parse_args()
    os.environ["LC_ALL"] = "C.UTF-8"
    has_qemu = not arguments.no_qemu and shutil.which("qemu-img") is not None

    failures = confirmed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        directory = workshop()
        keep = False
        try:
            confirmed += check_chain(seed, arguments.program.resolve(), directory, has_qemu)
        except Difference as difference:
            failures += 1
            keep = failures == 1
            print(f"seed {seed}: {difference}", f"(see {directory})" if keep else "")
        finally:
            if not keep:
                shutil.rmtree(directory)
    print(f"{arguments.count} chains, {failures} wrong; qemu-img confirmed {confirmed} disks")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
