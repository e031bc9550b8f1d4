"""Writes what the kernel's dm-snapshot writes to its COW device (drivers/md/dm-snap-persistent.c, version 1).

Made from the kernel's source, and shares nothing with src/.
"""

import struct

SECTOR = 512
MAGIC = 0x70416E53  # "SnAp"


def areas(chunk, count):
    """The chunk numbers of the areas for so many exceptions; the list ends inside the last one."""
    per_area = chunk * SECTOR // 16
    return [1 + area * (per_area + 1) for area in range(count // per_area + 1)]


def data_chunks(chunk):
    """The numbers of the chunks that data go to, in the order in which the kernel takes them."""
    per_area = chunk * SECTOR // 16
    number = 2
    while True:
        if (number - 1) % (per_area + 1):
            yield number
        number += 1


def write_store(file, start, chunk, changes, valid=1, numbers=None):
    """`changes`: (old chunk, its bytes), in the order in which they were written. `numbers`: where they go, if not one
    after another. The file is written at its places only, so that holes stay."""
    size = chunk * SECTOR
    file.seek(start)
    file.write(struct.pack("<4I", MAGIC, valid, 1, chunk).ljust(size, b"\0"))
    numbers = iter(numbers) if numbers is not None else data_chunks(chunk)
    entries = []
    for old, data in changes:
        number = next(numbers)
        entries.append(struct.pack("<QQ", old, number))
        if any(data):
            file.seek(start + number * size)
            file.write(data.ljust(size, b"\0"))
    per_area = size // 16
    for index, number in enumerate(areas(chunk, len(entries))):
        file.seek(start + number * size)
        file.write(b"".join(entries[index * per_area : (index + 1) * per_area]).ljust(size, b"\0"))
    file.seek(0, 2)
