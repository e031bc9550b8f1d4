#!/usr/bin/env python3
"""Random writes to a disk, of which afterwards each sector tells which write it came from.

overlay_writer.py write DEVICE LOG SEED     writes until it is killed; after every few writes it flushes the device and
                                            appends to LOG how many writes are safe
overlay_writer.py check DEVICE LOG SEED BEFORE AFTER
                                            DEVICE holds what was in the file BEFORE, what is safe, and of the later writes
                                            whole sectors only; the disk is then copied to AFTER
"""

import os
import random
import struct
import sys

SECTOR = 512
BLOCK = 4096
MOST = 200_000


def writes(seed, blocks):
    """The place and length, in blocks, of each write, in order."""
    generator = random.Random(seed)
    for number in range(MOST):
        # Half of them near each other: chunks that are written again, and in part.
        place = generator.randrange(blocks) if number % 2 else generator.randrange(blocks // 8)
        yield number, place, min(generator.choice((1, 1, 1, 2, 8)), blocks - place)


def sector_of(seed, number):
    return struct.pack("<QQ", seed, number) * (SECTOR // 16)


def write(device, log, seed):
    disk = os.open(device, os.O_RDWR)
    record = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    pace = random.Random(seed + 1)
    next_flush = 0
    for number, place, length in writes(seed, os.lseek(disk, 0, os.SEEK_END) // BLOCK):
        os.pwrite(disk, sector_of(seed, number) * (length * BLOCK // SECTOR), place * BLOCK)
        if number >= next_flush:
            os.fsync(disk)
            os.write(record, b"%d\n" % (number + 1))
            os.fsync(record)
            next_flush = number + pace.choice((1, 5, 50, 200))
    sys.exit("it was not killed in time")


def check(device, log, seed, before, after):
    with open(log, "rb") as file:
        safe = max([int(line) for line in file.read().split(b"\n")[:-1]], default=0)
    with open(before, "rb") as file:
        old = file.read()
    with open(device, "rb") as file:
        now = file.read()
    if len(now) != len(old):
        sys.exit(f"{len(now)} bytes, expected {len(old)}")
    sectors = len(old) // SECTOR
    allowed = [{old[i * SECTOR:(i + 1) * SECTOR]} for i in range(sectors)]
    for number, place, length in writes(seed, len(old) // BLOCK):
        for i in range(place * BLOCK // SECTOR, (place + length) * BLOCK // SECTOR):
            if number < safe:
                allowed[i] = {sector_of(seed, number)}
            elif number < safe + 5000:
                allowed[i].add(sector_of(seed, number))
    wrong = [i for i in range(sectors) if now[i * SECTOR:(i + 1) * SECTOR] not in allowed[i]]
    if wrong:
        found = now[wrong[0] * SECTOR:][:16]
        sys.exit(f"{len(wrong)} of {sectors} sectors are wrong, the first is {wrong[0]}: {struct.unpack('<QQ', found)},"
                 f" of {safe} writes that were safe")
    changed = sum(old[i * SECTOR:(i + 1) * SECTOR] != now[i * SECTOR:(i + 1) * SECTOR] for i in range(sectors))
    with open(after, "wb") as file:
        file.write(now)
    print(f"{safe} writes were safe, {changed} of {sectors} sectors changed")


def main():
    words = [int(word) if word.isdigit() else word for word in sys.argv[2:]]
    {"write": write, "check": check}[sys.argv[1]](*words)


if __name__ == "__main__":
    main()
