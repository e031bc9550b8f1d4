#!/usr/bin/env python3
"""Makes images out of grains for the kernel tests, and beside each the disk that it must become.

    grain_images.py KIND IMAGES EXPECTED

writes IMAGES/NAME/vmdkdm-test-NAME.vmdk with its files and EXPECTED/NAME, the raw disk. KIND:

    inner   a snapshot over a flat base that, attached with --strategy exceptions, has all three inner devices: short runs
            of both, and a long one. The disk has a partition.
    ext4    the same; the disk is an ext4 and has no partition table
    stream  compressed grains that deflate does not make smaller, and "damaged", the same with one grain that does not
            inflate (its first sector and number of sectors are in EXPECTED/damaged.bad)
    large   600,000 runs of 4 KiB, in files that are mostly holes; EXPECTED/large is a list of "byte sector" (see
            compare_large) and not a disk

What is expected comes from tests/generate.

    grain_images.py compare DEVICE EXPECTED/large

compares the sectors of a list with the device's.
"""
import array
import os
import pathlib
import random
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "generate"))
# pylint: disable=wrong-import-position
import images  # noqa: E402
import vmdk_writer as vw  # noqa: E402
from vmdk_writer import SECTOR, Extent, Link, Placement  # noqa: E402

GRAIN = 8  # sectors


def write(name, directory, expected, disk, *links):
    (directory / name).mkdir(exist_ok=True)
    for link in links:
        link.write(directory / name)
    (expected / name).write_bytes(disk)


def make_snapshot(name, disk, directory, expected):
    """Every other grain of the disk's start lies in the snapshot, in another order than on the disk."""
    grain_bytes = GRAIN * SECTOR
    base = bytearray(disk)
    grains = {}
    for number in [*range(3, 64, 2), *range(400, 420)]:
        at = number * grain_bytes
        grains[number] = disk[at : at + grain_bytes]
        base[at : at + grain_bytes] = vw.content(b"hidden", number * GRAIN, GRAIN)
    size = len(disk) // SECTOR
    top, below = f"vmdkdm-test-{name}.vmdk", "base.vmdk"
    # The base begins inside its file, so that nothing is found on its loop device.
    flat = Extent("flat", size, "base-flat.vmdk", data=bytes(base), offset=GRAIN)
    sparse = Extent("sparse", size, top, grains, GRAIN, options={"placement": Placement(order="shuffled")})
    child = Link(top, "monolithicSparse", [sparse], cid=2, parent_cid=1, hint=below)
    write(name, directory, expected, disk, child, Link(below, "monolithicFlat", [flat], cid=1))


def make_inner(directory, expected):
    disk = images.content("inner", 4096)
    make_snapshot("inner", images.with_sectors(disk, {0: images.mbr_table([(0x83, 64, 2048)])}), directory, expected)


def make_ext4(directory, expected):
    workshop = expected / "grains"
    workshop.mkdir()
    make_snapshot("ext4", images.ext4(2 << 20, workshop), directory, expected)


def make_stream(directory, expected):
    rng = random.Random(1)
    size = 128
    grains = {number: rng.randbytes(size * SECTOR) for number in range(16)}
    for name in ("stream", "damaged"):
        file = f"vmdkdm-test-{name}.vmdk"
        extent = Extent("stream", size * 17, file, grains, size)
        link = Link(file, "streamOptimized", [extent])
        write(name, directory, expected, vw.disk_of([link]).data, link)
    damaged = 5
    with open(directory / "damaged" / file, "r+b") as out:
        out.seek(extent.places.grains[damaged] * SECTOR + 1000)
        out.write(bytes(100))
    with open(expected / "damaged", "r+b") as out:
        out.seek(damaged * size * SECTOR)
        out.write(bytes(size * SECTOR))
    (expected / "damaged.bad").write_text(f"{damaged * size} {size}\n", encoding="ascii")


RUNS = 600_000
STORED = RUNS // 3 * 2  # every third grain is a hole
STEP = 7919  # grains beside each other on the disk are so far apart in the file


def make_large(directory, expected):
    name = "vmdkdm-test-large.vmdk"
    (directory / "large").mkdir()
    entries = 512
    tables = vw.ceil_div(RUNS, entries)
    descriptor = Link(name, "monolithicSparse", [Extent("sparse", RUNS * GRAIN, name)]).descriptor()
    directory_at = 21
    tables_at = directory_at + vw.ceil_div(tables * 4, SECTOR)
    grains_at = vw.round_up(tables_at + tables * 4, 128)

    entry = array.array("I", bytes(4 * tables * entries))
    for index in range(STORED):
        entry[index // 2 * 3 + index % 2] = grains_at + index * STEP % STORED * GRAIN
    with open(directory / "large" / name, "wb") as out:
        vw.put(out, 0, vw.sparse_header(RUNS * GRAIN, GRAIN, entries, 1, 1, (1, 20), 0, directory_at, grains_at))
        vw.put(out, 1, vw.pad_descriptor(descriptor, 20))
        vw.put(out, directory_at, array.array("I", range(tables_at, tables_at + tables * 4, 4)).tobytes())
        vw.put(out, tables_at, entry.tobytes())
        # What lies together in the file is scattered over the whole disk.
        checked = []
        back = pow(STEP, -1, STORED)
        for first in random.Random(2).sample(range(0, STORED, 100), 12):
            numbers = [slot * back % STORED for slot in range(first, first + 100)]
            places = [index // 2 * 3 + index % 2 for index in numbers]
            vw.put(out, grains_at + first * GRAIN, b"".join(vw.content(b"large", n * GRAIN, GRAIN) for n in places))
            checked += places
        out.truncate((grains_at + STORED * GRAIN) * SECTOR)
    (expected / "large").write_text("".join(f"{number}\n" for number in sorted(checked)), encoding="ascii")


def compare_large(device, expected):
    """Whole grains, and the holes behind them or before them."""
    fd = os.open(device, os.O_RDONLY)
    numbers = [int(line) for line in open(expected, encoding="ascii")]
    assert len(numbers) == 1200
    size = GRAIN * SECTOR
    for number in numbers:
        if os.pread(fd, size, number * size) != vw.content(b"large", number * GRAIN, GRAIN):
            sys.exit(f"grain {number} is not what it should be")
        hole = number // 3 * 3 + 2
        if os.pread(fd, size, hole * size) != bytes(size):
            sys.exit(f"the hole {hole} holds something")
    if os.lseek(fd, 0, os.SEEK_END) != RUNS * size:
        sys.exit("the device has another size")


def main():
    kind, first, second = sys.argv[1:4]
    if kind == "compare":
        compare_large(first, second)
    else:
        globals()["make_" + kind](pathlib.Path(first), pathlib.Path(second))


main()
