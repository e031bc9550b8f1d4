#!/usr/bin/env python3
"""Bad sectors below the files of an image: where they are on the device, and what of the image's disk must fail for it.

    bad_sectors.py plan IMAGE-DIRECTORY DISK SEED COUNT DEVICE START BLOCK TABLE BAD

chooses COUNT sectors of data in the files of a directory, on a file system whose device is DEVICE from sector START on, and
writes TABLE, a device-mapper table that is that device with errors in those places, and BAD, the sectors of DISK (a raw disk
in which no two sectors are alike) that cannot be read then, one a line. BLOCK is how many sectors of a file are read, and
fail, together: 1 past the page cache, else those of a block of the file system.

    bad_sectors.py chosen FILE FIRST COUNT DEVICE SECTORS

prints the table of a device of so many sectors in which COUNT sectors of the file from FIRST on are bad.

    bad_sectors.py compare DEVICE DISK BAD

reads DEVICE past the page cache, in large pieces and then, where one fails, sector by sector: exactly the sectors of BAD
must give EIO, and the others are DISK's.

    bad_sectors.py alignments DEVICE DISK FIRST BAD

reads DEVICE, which shows DISK from sector FIRST on, around some of the places in BAD: from each sector, so many sectors that
some reads begin before the place and end behind it, into memory that begins at several sectors of a page, past the page
cache; and through it. Nothing but DISK's bytes or EIO may come of it; without a sector of BAD, past the page cache, nothing but DISK's bytes.
"""
import array
import errno
import fcntl
import mmap
import os
import pathlib
import random
import struct
import sys

SECTOR = 512
PIECE = 128  # sectors
FS_IOC_FIEMAP = 0xC020660B
FIEMAP_FLAG_SYNC = 1


def extents_of(path):
    """(first sector in the file, first sector on the device, sectors) of what the file has on its device."""
    most = 200
    request = struct.pack("=QQIIII", 0, 2**64 - 1, FIEMAP_FLAG_SYNC, 0, most, 0)
    buffer = array.array("B", request + bytes(56 * most))
    with open(path, "rb") as file:
        fcntl.ioctl(file, FS_IOC_FIEMAP, buffer)
    data = buffer.tobytes()
    count = struct.unpack_from("=I", data, 20)[0]
    assert count < most, f"{path} is in {most} pieces or more"
    for number in range(count):
        logical, physical, length = struct.unpack_from("=QQQ", data, 32 + 56 * number)
        yield logical // SECTOR, physical // SECTOR, length // SECTOR


def sectors_of(data):
    return [bytes(data[at:at + SECTOR]) for at in range(0, len(data), SECTOR)]


def plan(directory, disk, seed, count, device, start, block, table, bad):
    places = {}  # content: sectors of the disk
    for number, sector in enumerate(sectors_of(pathlib.Path(disk).read_bytes())):
        if any(sector):
            places.setdefault(sector, []).append(number)
    # Each sector of data: (file, sector in it, on the device).
    data, content = [], {}
    for path in sorted(pathlib.Path(directory).iterdir()):
        lines = sectors_of(path.read_bytes())
        is_flat = path.name.endswith(("-flat.vmdk", ".bin"))
        for first, physical, length in extents_of(path):
            for at in range(length):
                if first + at < len(lines):
                    content[path, first + at] = lines[first + at]
                    # What is hidden by a child counts: nobody may notice when it is bad.
                    if is_flat or lines[first + at] in places:
                        data.append((path, first + at, physical + at))
    # What is looked at to find a partition table is tested by itself.
    edge = {content_of for content_of, numbers in places.items() if min(numbers) < 64}
    data = [entry for entry in data if content[entry[:2]] not in edge]
    assert len(data) >= count, f"{directory} has {len(data)} sectors of data"
    chosen = random.Random(seed).sample(data, count)
    chosen += [(path, at + 1, physical + 1) for path, at, physical in chosen[: count // 4] if (path, at + 1) in content
               and content[path, at + 1] not in edge]
    failing = set()
    for path, at, _ in chosen:
        first = at // block * block
        for sector in range(first, first + block):
            failing.update(places.get(content.get((path, sector), b""), []))
    pathlib.Path(bad).write_text("".join(f"{number}\n" for number in sorted(failing)), encoding="ascii")

    device_sectors = int(pathlib.Path(f"/sys/class/block/{os.path.basename(device)}/size").read_text(encoding="ascii"))
    lines, at = [], 0
    places_on_device = sorted({physical for _, _, physical in chosen})
    for sector in places_on_device:
        if sector > at:
            lines.append(f"{at} {sector - at} linear {device} {start + at}")
        lines.append(f"{sector} 1 error")
        at = sector + 1
    lines.append(f"{at} {device_sectors - at} linear {device} {start + at}")
    pathlib.Path(table).write_text("\n".join(lines) + "\n", encoding="ascii")
    hidden = sum(content[path, at] not in places for path, at, _ in chosen)
    print(f"  {len(places_on_device)} bad sectors, {hidden} of them hidden; {len(failing)} sectors of the disk fail")


def chosen(path, first, count, device, total):
    """Prints the table of `device` in which these sectors of a file are bad."""
    places = sorted(physical + sector - start for sector in range(first, first + count)
                    for start, physical, length in extents_of(path) if start <= sector < start + length)
    assert len(places) == count, (places, count)
    at = 0
    for place in places:
        if place > at:
            print(at, place - at, "linear", device, at)
        print(place, 1, "error")
        at = place + 1
    print(at, total - at, "linear", device, at)


def compare(device, disk, bad):
    expected = pathlib.Path(disk).read_bytes()
    failing = {int(line) for line in pathlib.Path(bad).read_text(encoding="ascii").split()}
    fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, PIECE * SECTOR)
    if os.lseek(fd, 0, os.SEEK_END) != len(expected):
        sys.exit("the device has another size")

    def read(first, count):
        """False when it fails."""
        with memoryview(buffer) as view:
            try:
                got = os.preadv(fd, [view[: count * SECTOR]], first * SECTOR)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                return False
        if got < count * SECTOR:
            return False
        if buffer[:got] != expected[first * SECTOR:first * SECTOR + got]:
            sys.exit(f"a read of {count} sectors from {first} on: other bytes than the disk's")
        return True

    total = len(expected) // SECTOR
    for first in range(0, total, PIECE):
        count = min(PIECE, total - first)
        here = [sector for sector in range(first, first + count) if sector in failing]
        if read(first, count):
            if here:
                sys.exit(f"{count} sectors from {first} on can be read, but {here} are bad")
            continue
        if not here:
            sys.exit(f"{count} sectors from {first} on cannot be read, and none is bad")
        for sector in range(first, first + count):
            if read(sector, 1) == (sector in failing):
                sys.exit(f"sector {sector} {'can' if sector in failing else 'cannot'} be read")


def alignments(device, disk, first, bad):
    failing = {int(line) - first for line in pathlib.Path(bad).read_text(encoding="ascii").split()}
    direct, cached = os.open(device, os.O_RDONLY | os.O_DIRECT), os.open(device, os.O_RDONLY)
    total = os.lseek(cached, 0, os.SEEK_END) // SECTOR
    expected = pathlib.Path(disk).read_bytes()[first * SECTOR:][: total * SECTOR]
    buffer = mmap.mmap(-1, 32 * SECTOR)
    right = failed = 0

    def read(fd, start, count, place):
        """False when it fails."""
        with memoryview(buffer) as view:
            try:
                got = os.preadv(fd, [view[place * SECTOR:(place + count) * SECTOR]], start * SECTOR)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                return False
            if view[place * SECTOR:place * SECTOR + got] != expected[start * SECTOR:start * SECTOR + got]:
                kind = "zeros" if not any(view[place * SECTOR:place * SECTOR + got]) else "other bytes than the disk's"
                sys.exit(f"{count} sectors of {device} from {start} on, at {place} in memory: {kind}")
            return got == count * SECTOR

    places = [sector for sector in sorted(failing) if 0 <= sector < total and sector - 1 not in failing]
    assert places, f"no bad sector lies on {device}"
    starts = sorted({start for sector in random.Random(first).sample(places, min(3, len(places)))
                     for start in range(max(sector - 9, 0), min(sector + 9, total))})
    for start in starts:
        for count in (1, 3, 9, 16):
            if start + count > total:
                continue
            well = [read(direct, start, count, place) for place in (0, 1, 5)] + [read(cached, start, count, 0)]
            right, failed = right + sum(well), failed + len(well) - sum(well)
            is_bad = not failing.isdisjoint(range(start, start + count))
            if is_bad and any(well) or not is_bad and not all(well[:3]):
                sys.exit(f"{count} sectors of {device} from {start} on: {well}")
    print(f"  {right} reads were right, {failed} failed")


if __name__ == "__main__":
    words = [int(word) if word.isdigit() else word for word in sys.argv[2:]]
    {"plan": plan, "chosen": chosen, "compare": compare, "alignments": alignments}[sys.argv[1]](*words)
