"""Writes sparse extents (KDMV) for the benchmarks: ten million grains in seconds.

What is not allocated and data that nobody reads are holes, so a disk of 60 TiB takes as much room as its grain tables.
"""

import array
import random
import struct
import sys

SECTOR = 512
GRAIN = 128  # sectors
GRAIN_BYTES = GRAIN * SECTOR
ENTRIES_PER_TABLE = 512
DESCRIPTOR_SECTORS = 20
PIECE = 1 << 20  # entries written with one call


def shuffled_runs(grains, runs, seed=20):
    """For each grain of the disk which grain of the file it is, from 1: `runs` stretches of equal length in random order,
    none of which continues its neighbour, so that there are `runs` runs exactly."""
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
        return array.array("I", (place + 1 for place in order))
    bounds = [grains * i // runs for i in range(runs + 1)]
    lengths = [bounds[i + 1] - bounds[i] for i in range(runs)]
    # A stretch keeps its length wherever it goes, so places follow from the order in the file.
    start, next_place = [0] * runs, 1
    for stretch in sorted(range(runs), key=order.__getitem__):
        start[stretch] = next_place
        next_place += lengths[stretch]
    places = array.array("I")
    for stretch in range(runs):
        places.extend(range(start[stretch], start[stretch] + lengths[stretch]))
    return places


def scattered_runs(runs, length):
    """`runs` runs, by turns of `length` grains and of as many that are not allocated, in the order of the disk."""
    places = array.array("I")
    empty = array.array("I", bytes(4 * length))
    for run in range(0, runs, 2):
        first = run // 2 * length + 1
        places.extend(range(first, first + length))
        places.extend(empty)
    return places


def write(path, places, capacity=None, descriptor="", grain_at=None):
    """An extent of `capacity` sectors. `places`: for each grain of the disk which grain of the file it is, from 1, or 0
    where nothing is allocated, as beyond their end. `grain_at(number)` gives the bytes of that grain of the disk; without
    it the data is a hole. Every grain table exists, as VMware makes them."""
    capacity = capacity or len(places) * GRAIN
    tables = -(-capacity // (ENTRIES_PER_TABLE * GRAIN))
    table_sectors = ENTRIES_PER_TABLE * 4 // SECTOR
    directory_at = 1 + DESCRIPTOR_SECTORS
    tables_at = directory_at + -(-tables * 4 // SECTOR)
    overhead = -(-(tables_at + tables * table_sectors) // GRAIN) * GRAIN
    allocated = max(places, default=0)
    described = (1, DESCRIPTOR_SECTORS) if descriptor else (0, 0)
    header = struct.pack("<IIIQQQQIQQQB4sH", 0x564D444B, 1, 1, capacity, GRAIN, *described, ENTRIES_PER_TABLE, 0, directory_at,
                         overhead, 0, b"\n \r\n", 0)
    with open(path, "wb") as out:
        out.write(header.ljust(SECTOR, b"\0") + descriptor.encode())
        out.seek(directory_at * SECTOR)
        out.write(little_endian(array.array("I", range(tables_at, tables_at + tables * table_sectors, table_sectors))))
        for first in range(0, len(places), PIECE):
            part = array.array("I", (overhead + (place - 1) * GRAIN if place else 0 for place in places[first:first + PIECE]))
            if part.count(0) < len(part):
                out.seek(tables_at * SECTOR + 4 * first)
                out.write(little_endian(part))
        out.truncate((overhead + allocated * GRAIN) * SECTOR)
        if grain_at:
            guest = {place: grain for grain, place in enumerate(places) if place}
            out.seek(overhead * SECTOR)
            for place in range(1, allocated + 1):
                out.write(grain_at(guest[place]))


def little_endian(values):
    if sys.byteorder == "big":
        values.byteswap()
    return values
