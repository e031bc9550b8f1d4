"""Sparse images for the benchmarks: a million grains in seconds.

Run as a program it makes one image and prints where in it the data begins. The data of an image of this many gigabytes can be a hole, where only its grain map
matters.
"""

import argparse
import array
import mmap
import os
import random
import struct
import sys

SECTOR = 512
ENTRIES_PER_TABLE = 512
SEED = 20
PIECE = 64 << 20  # bytes written with one call

DESCRIPTOR = """# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=5a3b1e70
parentCID=ffffffff
createType="monolithicSparse"

# Extent description
RW {sectors} SPARSE "{name}"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
"""


def placement(grains, runs, seed=SEED):
    """Which grain of the file each grain of the disk is: `runs` stretches of equal length, shuffled; none of them
    continues its neighbour, so that there are `runs` runs exactly."""
    order = list(range(runs))
    random.Random(seed).shuffle(order)
    # Swapped with the next, a stretch that continues the one before it does so no more.
    for _ in range(runs):
        bad = [i for i in range(1, runs) if order[i] == order[i - 1] + 1]
        if not bad:
            break
        for i in bad:
            j = (i + 1) % runs
            order[i], order[j] = order[j], order[i]
    if runs == grains:
        return array.array("I", order)
    bounds = [grains * i // runs for i in range(runs + 1)]
    lengths = [bounds[i + 1] - bounds[i] for i in range(runs)]
    # A stretch keeps its length wherever it goes, so places follow from the order in the file.
    by_place = sorted(range(runs), key=order.__getitem__)
    start, next_place = [0] * runs, 0
    for stretch in by_place:
        start[stretch] = next_place
        next_place += lengths[stretch]
    places = array.array("I")
    for stretch in range(runs):
        places.extend(range(start[stretch], start[stretch] + lengths[stretch]))
    return places


def make(path, places, grain_sectors, capacity=None, flat=None):
    """A monolithicSparse image at `path`. `places`: see placement(), any sequence. Beyond them, up to `capacity` sectors,
    nothing is allocated, but all grain tables exist. The data is that of the file `flat`, or a hole. Returns the byte
    where the data begins, and so the metadata ends."""
    capacity = capacity or len(places) * grain_sectors
    coverage = ENTRIES_PER_TABLE * grain_sectors
    tables = -(-capacity // coverage)
    directory_sectors = -(-tables * 4 // SECTOR)
    table_sectors = ENTRIES_PER_TABLE * 4 // SECTOR
    directory_at = 1 + 20
    tables_at = directory_at + directory_sectors
    overhead = -(-(tables_at + tables * table_sectors) // grain_sectors) * grain_sectors
    descriptor = DESCRIPTOR.format(sectors=capacity, name=os.path.basename(path)).encode()
    header = struct.pack("<IIIQQQQIQQQB4sH", 0x564D444B, 1, 1, capacity, grain_sectors, 1, 20, ENTRIES_PER_TABLE, 0,
                         directory_at, overhead, 0, b"\n \r\n", 0)
    with open(path, "wb") as out:
        out.write(header.ljust(SECTOR, b"\0") + descriptor)
        out.seek(directory_at * SECTOR)
        out.write(little_endian(array.array("I", range(tables_at, tables_at + tables * table_sectors, table_sectors))))
        out.seek(tables_at * SECTOR)
        for first in range(0, len(places), 1 << 20):
            out.write(little_endian(array.array("I", [overhead + grain_sectors * place
                                                      for place in places[first:first + (1 << 20)]])))
        out.write(bytes((tables * ENTRIES_PER_TABLE - len(places)) * 4))
        out.truncate((overhead + len(places) * grain_sectors) * SECTOR)
        if flat:
            write_data(out, overhead * SECTOR, flat, places, grain_sectors * SECTOR)
    return overhead * SECTOR


def capacity_of(path):
    """Sectors of the disk."""
    with open(path, "rb") as image:
        return struct.unpack_from("<Q", image.read(20), 12)[0]


def write_data(out, offset, flat, places, grain_bytes):
    guest = array.array("I", bytes(4 * len(places)))  # which grain of the disk each grain of the file is
    for grain, place in enumerate(places):
        guest[place] = grain
    out.seek(offset)
    with open(flat, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        each = PIECE // grain_bytes
        for first in range(0, len(guest), each):
            out.write(b"".join(data[grain * grain_bytes:(grain + 1) * grain_bytes]
                               for grain in guest[first:first + each]))


def make_flat(path, size):
    """Bytes of which no page is like another."""
    block = bytearray(os.urandom(1 << 20))
    with open(path, "wb") as out:
        for number in range(-(-size >> 20)):
            for page in range(0, 1 << 20, 4096):
                struct.pack_into("<Q", block, page, number << 20 | page)
            out.write(block)
        out.truncate(size)


def little_endian(values):
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", help="file to write")
    parser.add_argument("--grains", type=int, default=1_000_000, help="grains with data (1,000,000)")
    parser.add_argument("--runs", type=int, help="stretches that follow each other in the file (as many as grains)")
    parser.add_argument("--grain-sectors", type=int, default=128, help="size of a grain (128)")
    parser.add_argument("--capacity-gib", type=int, help="size of the disk (what the grains need)")
    parser.add_argument("--stamps", type=int, default=0, help="grains that get their own number as data (none)")
    parser.add_argument("--flat", help="file with the disk's bytes; made if it is not there (default: data is a hole)")
    options = parser.parse_args()
    size = options.grains * options.grain_sectors * SECTOR
    if options.flat and not os.path.exists(options.flat):
        make_flat(options.flat, size)
    places = placement(options.grains, options.runs or options.grains)
    begin = make(options.image, places, options.grain_sectors, options.capacity_gib and options.capacity_gib << 21,
                 options.flat)
    grain_bytes = options.grain_sectors * SECTOR
    with open(options.image, "r+b") as image:
        for grain in stamped(options.grains, options.stamps):
            image.seek(begin + places[grain] * grain_bytes)
            image.write(grain.to_bytes(8, "little"))
    print(begin)


def stamped(grains, count):
    """Which grains of so many carry a stamp: their number in their first eight bytes."""
    return random.Random(SEED).sample(range(grains), count)


if __name__ == "__main__":
    main()
