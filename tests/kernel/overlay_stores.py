#!/usr/bin/env python3
"""What the test of reading overlays needs, in few programs: each start of one takes 50 ms in the embedded kernel.

    overlay_stores.py make DIRECTORY CHUNK      # image, and an overlay of it that nothing was written to
    overlay_stores.py list DIRECTORY CHUNK KIND # the same with a store that no kernel would write
    overlay_stores.py write DEVICE SEED         # random pieces to random places, past the page cache
"""

import mmap
import os
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "generate"))
# pylint: disable=wrong-import-position
import cow_store  # noqa: E402
import random_overlay  # noqa: E402
import vmdk_writer as vw  # noqa: E402

CAPACITY = 16003  # sectors: neither whole grains nor whole chunks

# (old chunk, new chunk); data chunks are filled below.
STORES = {
    "twice": [(5, 20), (5, 30), (6, 31), (9, 40), (9, 50), (8, 49), (12, 60), (13, 70), (13, 61), (300, 80), (300, 81)],
    "beyond": [(0, 2), (CAPACITY, 3), (1 << 62, 4), (1, 5)],
    "shared": [(0, 2), (1, 2), (7, 3)],
    "tables": [(3, 1), (7, 2)],
    "later-tables": [(5, 258), (7, 2)],
    "outside": [(3, 5000), (4, 6000), (7, 2)],
    "descending": [(number, 100 - number) for number in range(60, -1, -1)],
    "many": [(number * 7 % 250, 2 + number) for number in range(250)],
    "invalid": [(0, 2), (3, 3)],
}


def make(directory, chunk, kind=None):
    rng = random.Random(3)
    directory = pathlib.Path(directory)
    data = directory / "disk-flat.vmdk"
    image = directory / "disk.vmdk"
    if not data.exists():
        data.write_bytes(rng.randbytes(CAPACITY * 512))
        image.write_text(
            "# Disk DescriptorFile\nversion=1\nCID=1234abcd\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n"
            f'RW {CAPACITY} FLAT "disk-flat.vmdk" 0\nddb.adapterType = "ide"\n'
        )
    overlay = random_overlay.Overlay(rng, vw.Disk(bytearray(CAPACITY * 512), bytearray(CAPACITY), b""))
    overlay.chunk = chunk
    overlay.changes = []
    path = directory.parent / "overlay"
    overlay.write(path, [(0x1234ABCD, 0xFFFFFFFF)], [image, data])
    if kind:
        store = STORES[kind]
        with open(path, "r+b") as file:
            numbers = [new for _, new in store]
            changes = [(old, rng.randbytes(chunk * 512)) for old, _ in store]
            cow_store.write_store(file, random_overlay.COW_OFFSET, chunk, changes, int(kind != "invalid"), numbers)
    print(CAPACITY, overlay.limit())


def write(device, seed):
    rng = random.Random(int(seed))
    fd = os.open(device, os.O_RDWR | os.O_DIRECT)
    size = os.lseek(fd, 0, os.SEEK_END)
    for _ in range(60):
        length = rng.choice([512, 512, 1024, 4096, 65536])
        at = rng.randrange(size // 512) * 512
        length = min(length, size - at)
        buffer = mmap.mmap(-1, length)
        if rng.random() > 0.2:
            buffer.write(rng.randbytes(length))
        os.pwritev(fd, [buffer], at)
    os.fsync(fd)
    os.close(fd)


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(*sys.argv[2:])
    else:
        make(sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
