"""Writes VMDK files of every kind that vmdk-dm reads, and keeps what disk they must become.

Written from the description of the format, and shares nothing with the readers under test. Two halves:

- `write_sparse`, `write_stream`, `write_cowd`, `write_se_sparse` and `write_raw` each write one extent file out of
  grains. They return `Places`: where everything was put, for tests that then damage it.
- `Extent` and `Link` join extents into an image, or into one link of a chain of snapshots. Each remembers what was
  written where, and `disk_of` lays the links over one another.

Everything counts sectors of 512 bytes. A grain is bytes (a whole grain, whatever the extent's end) or ZERO.
"""

import dataclasses
import random
import struct
import zlib

SECTOR = 512
ZERO = "zero"  # what a grain, or a range, holds: explicit zeros that hide the parent
BAD = "unreadable"

# Sectors of a disk, as `disk_of` tells them.
DATA, ZEROS, UNREADABLE = 0, 1, 2

NOT_WRITTEN = b"\xee"  # fills what no reader may take for the disk's bytes


def content(tag, first, count):
    """`count` sectors, each of which says whose it is and which."""
    numbers = range(first, first + count)
    return b"".join((b"%s:%d. " % (tag, number) * 64).ljust(SECTOR, b".")[:SECTOR] for number in numbers)


def ceil_div(a, b):
    return -(-a // b)


def round_up(value, unit):
    return ceil_div(value, unit) * unit


# Where things go in a file.


@dataclasses.dataclass(frozen=True)
class Placement:
    """How grains lie in the file."""

    order: str = "ascending"  # as on the disk; or "shuffled", or "alternating": every other one first
    residues: tuple = (0,)  # sectors beyond a multiple of the grain size at which grains start, taken in turn
    tables: str = "front"  # together before the grains; or "shuffled" there, or "scattered" among the grains
    cut_last: bool = False  # the file ends with the last sector of the disk, inside the last grain
    seed: int = 0

    def arrange(self, numbers, last):
        """The grains in the order of the file; `last` at its end when it is to be cut."""
        numbers = sorted(numbers)
        if self.order == "shuffled":
            random.Random(self.seed).shuffle(numbers)
        elif self.order == "alternating":
            numbers = numbers[::2] + numbers[1::2]
        if self.cut_last and last in numbers:
            numbers.remove(last)
            numbers.append(last)
        return numbers


@dataclasses.dataclass
class Places:
    """Sectors of the file."""

    directory: int = 0
    redundant_directory: int = 0
    tables: dict = dataclasses.field(default_factory=dict)  # by index in the directory
    redundant_tables: dict = dataclasses.field(default_factory=dict)
    grains: dict = dataclasses.field(default_factory=dict)
    end: int = 0


class Allocator:
    def __init__(self, start):
        self.next = start

    def take(self, count):
        place = self.next
        self.next += count
        return place

    def take_grain(self, grain_size, residue):
        """The next place that is `residue` sectors beyond a multiple of the grain size."""
        residue %= grain_size
        place = self.next // grain_size * grain_size + residue
        if place < self.next:
            place += grain_size
        self.next = place + grain_size
        return place


def place_tables(places, allocator, indexes, table_sectors, placement):
    """Places the tables that lie together; scattered ones wait for `place_grains`."""
    if placement.tables == "scattered":
        return
    order = list(indexes)
    if placement.tables == "shuffled":
        random.Random(placement.seed + 1).shuffle(order)
    for index in order:
        places.tables[index] = allocator.take(table_sectors)


def place_grains(places, allocator, indexes, table_sectors, grains, grain_size, last_grain, placement):
    """Places the grains, and those of the tables that have no place yet somewhere among them."""
    rng = random.Random(placement.seed + 2)
    tables = [index for index in indexes if index not in places.tables]
    order = placement.arrange(grains, last_grain)
    for turn, number in enumerate(order):
        while tables and rng.randrange(len(order) + 1) <= len(tables):
            places.tables[tables.pop(rng.randrange(len(tables)))] = allocator.take(table_sectors)
        places.grains[number] = allocator.take_grain(grain_size, placement.residues[turn % len(placement.residues)])
    for index in tables:
        places.tables[index] = allocator.take(table_sectors)
    places.end = allocator.next


def whole_grain(data, grain_size):
    """The grain as a writer stores it: what lies beyond the extent's end is nobody's."""
    assert len(data) <= grain_size * SECTOR
    return data.ljust(grain_size * SECTOR, NOT_WRITTEN)


def put(file, sector, data):
    file.seek(sector * SECTOR)
    file.write(data)


def finish_file(file, places, capacity, grain_size, placement):
    """The file is as long as its parts, or ends where the disk does."""
    last, inside = (capacity - 1) // grain_size, capacity % grain_size
    if placement.cut_last and inside and places.grains.get(last, -1) + grain_size == places.end:
        places.end -= grain_size - inside
    file.truncate(places.end * SECTOR)


# Hosted sparse extents (KDMV).

REDUNDANT_TABLES, ZERO_GRAINS, COMPRESSED, MARKERS = 0x2, 0x4, 0x10000, 0x20000
GD_AT_END = 0xFFFFFFFFFFFFFFFF


def sparse_header(
    capacity,
    grain_size=128,
    entries=512,
    version=1,
    flags=0x3,
    descriptor=(0, 0),
    redundant_directory=0,
    directory=0,
    overhead=0,
    unclean=False,
    algorithm=0,
):
    fields = (version, flags, capacity, grain_size, *descriptor, entries, redundant_directory, directory, overhead)
    packed = b"KDMV" + struct.pack("<IIQQQQIQQQ", *fields) + bytes([unclean]) + b"\n \r\n"
    return (packed + struct.pack("<H", algorithm)).ljust(SECTOR, b"\0")


def pad_descriptor(text, sectors):
    encoded = text.encode()
    assert len(encoded) <= sectors * SECTOR
    return encoded.ljust(sectors * SECTOR, b"\0")


def write_table(entries, first, places, grains):
    """One table of 32-bit entries, the first for grain `first`."""
    numbers = range(first, first + entries)
    values = [1 if grains.get(n) is ZERO else places.get(n, 0) for n in numbers]
    return struct.pack(f"<{entries}I", *values)


def write_sparse(
    path,
    capacity,
    grains,
    grain_size=128,
    entries=512,
    version=None,
    redundant=True,
    preallocated=True,
    unclean=False,
    descriptor=None,
    descriptor_sectors=20,
    placement=Placement(),
):
    """monolithicSparse when there is a descriptor to embed, else a piece of a split disk. Zero grains make it version
    2, unless told otherwise."""
    has_zeros = ZERO in grains.values()
    version = version or (2 if has_zeros else 1)
    table_bytes = entries * 4
    table_sectors = ceil_div(table_bytes, SECTOR)
    count = ceil_div(capacity, entries * grain_size)
    directory_sectors = ceil_div(count * 4, SECTOR)
    used = set(range(count)) if preallocated else {number // entries for number in grains}

    places = Places()
    metadata = Allocator(1 + (descriptor_sectors if descriptor else 0))
    if redundant:
        places.redundant_directory = metadata.take(directory_sectors)
        for index in sorted(used):
            places.redundant_tables[index] = metadata.take(table_sectors)
    places.directory = metadata.take(directory_sectors)
    place_tables(places, metadata, sorted(used), table_sectors, placement)
    overhead = round_up(metadata.next, min(grain_size, 128))
    stored = [number for number, data in grains.items() if data is not ZERO]
    last_grain = (capacity - 1) // grain_size
    data = Allocator(overhead)
    place_grains(places, data, sorted(used), table_sectors, stored, grain_size, last_grain, placement)

    header = sparse_header(
        capacity,
        grain_size,
        entries,
        version,
        0x1 | (REDUNDANT_TABLES if redundant else 0) | (ZERO_GRAINS if has_zeros else 0),
        (1, descriptor_sectors) if descriptor else (0, 0),
        places.redundant_directory,
        places.directory,
        overhead,
        unclean,
    )
    with open(path, "wb") as file:
        put(file, 0, header)
        if descriptor:
            put(file, 1, pad_descriptor(descriptor, descriptor_sectors))
        for where, tables in ((places.redundant_directory, places.redundant_tables), (places.directory, places.tables)):
            if where:
                put(file, where, struct.pack(f"<{count}I", *(tables.get(index, 0) for index in range(count))))
            for index, sector in tables.items():
                put(file, sector, write_table(entries, index * entries, places.grains, grains))
        for number, sector in places.grains.items():
            put(file, sector, whole_grain(grains[number], grain_size))
        finish_file(file, places, capacity, grain_size, placement)
    return places


# streamOptimized.


def marker(sectors, kind):
    return struct.pack("<QII", sectors, 0, kind).ljust(SECTOR, b"\0")


END_OF_STREAM, GRAIN_TABLE, GRAIN_DIRECTORY, FOOTER = range(4)


def compressed_grain(lba, data, level=6, tail=b""):
    """Header, zlib stream, what follows it, padded to a sector."""
    stream = zlib.compress(data, level) + tail
    block = struct.pack("<QI", lba, len(stream)) + stream
    return block.ljust(round_up(len(block), SECTOR), b"\0")


def write_stream(
    path,
    capacity,
    grains,
    grain_size=128,
    entries=512,
    layout="footer",
    preallocated=False,
    level=6,
    short_last=False,
    junk_after_grains=False,
    descriptor=None,
    descriptor_sectors=20,
    placement=Placement(),
):
    """Layouts: "footer" as ovftool writes (the directory at the end, markers, a footer); "known-directory", the same
    with the directory's place in the header too; "front" as VDDK writes (directory and tables first, no markers, no
    footer); "redundant-front" as qemu does (and two of each)."""
    front = layout in ("front", "redundant-front")
    table_sectors = ceil_div(entries * 4, SECTOR)
    count = ceil_div(capacity, entries * grain_size)
    directory_sectors = ceil_div(count * 4, SECTOR)
    used = sorted(set(range(count)) if preallocated else {number // entries for number in grains})
    has_zeros = ZERO in grains.values()
    flags = 0x1 | COMPRESSED | MARKERS | (ZERO_GRAINS if has_zeros else 0)

    places = Places()
    metadata = Allocator(1 + (descriptor_sectors if descriptor else 0))
    if layout == "redundant-front":
        flags |= REDUNDANT_TABLES
        places.redundant_directory = metadata.take(directory_sectors)
        places.redundant_tables = {index: metadata.take(table_sectors) for index in used}
    if front:
        places.directory = metadata.take(directory_sectors)
        places.tables = {index: metadata.take(table_sectors) for index in used}
    overhead = round_up(metadata.next, 128)
    blocks = {}
    stream = Allocator(overhead)

    def add(data):
        sector = stream.take(len(data) // SECTOR)
        blocks[sector] = data
        return sector

    def add_grain(number):
        data = grains[number]
        if short_last and (number + 1) * grain_size > capacity:
            data = data[: (capacity - number * grain_size) * SECTOR]
        else:
            data = whole_grain(data, grain_size)
        tail = b"after the stream" if junk_after_grains else b""
        places.grains[number] = add(compressed_grain(number * grain_size, data, level, tail))

    stored = [number for number, data in grains.items() if data is not ZERO]
    if front:
        for number in placement.arrange(stored, None):
            add_grain(number)
    else:
        for index in used:
            for number in placement.arrange([n for n in stored if n // entries == index], None):
                add_grain(number)
            table = write_table(entries, index * entries, places.grains, grains)
            add(marker(table_sectors, GRAIN_TABLE))
            places.tables[index] = add(table.ljust(table_sectors * SECTOR, b"\0"))
        directory = struct.pack(f"<{count}I", *(places.tables.get(index, 0) for index in range(count)))
        add(marker(directory_sectors, GRAIN_DIRECTORY))
        places.directory = add(directory.ljust(directory_sectors * SECTOR, b"\0"))

    def header(directory):
        return sparse_header(
            capacity,
            grain_size,
            entries,
            3,
            flags,
            (1, descriptor_sectors) if descriptor else (0, 0),
            places.redundant_directory,
            directory,
            overhead,
            algorithm=1,
        )

    if not front:
        add(marker(1, FOOTER))
        add(header(places.directory))
        add(marker(0, END_OF_STREAM))
    places.end = stream.next
    with open(path, "wb") as file:
        put(file, 0, header(GD_AT_END if layout == "footer" else places.directory))
        if descriptor:
            put(file, 1, pad_descriptor(descriptor, descriptor_sectors))
        if front:
            for where, tables in (
                (places.redundant_directory, places.redundant_tables),
                (places.directory, places.tables),
            ):
                if where:
                    put(file, where, struct.pack(f"<{count}I", *(tables.get(index, 0) for index in range(count))))
                for index, sector in tables.items():
                    put(file, sector, write_table(entries, index * entries, places.grains, grains))
        for sector, data in blocks.items():
            put(file, sector, data)
        file.truncate(places.end * SECTOR)
    return places


# ESX sparse extents.

COWD_ENTRIES = 4096


def write_cowd(path, capacity, grains, grain_size=1, placement=Placement(tables="scattered"), spare_directory=0):
    """Tables come into being with their first grain. `spare_directory`: entries beyond those that the disk needs."""
    count = ceil_div(capacity, COWD_ENTRIES * grain_size) + spare_directory
    directory_sectors = ceil_div(count * 4, SECTOR)
    used = sorted({number // COWD_ENTRIES for number in grains})
    places = Places(directory=4)
    stored = [number for number, data in grains.items() if data is not ZERO]
    last_grain = (capacity - 1) // grain_size
    data = Allocator(4 + directory_sectors)
    place_tables(places, data, used, 32, placement)
    place_grains(places, data, used, 32, stored, grain_size, last_grain, placement)
    with open(path, "wb") as file:
        for index, sector in places.tables.items():
            put(file, sector, write_table(COWD_ENTRIES, index * COWD_ENTRIES, places.grains, grains))
        put(file, 4, struct.pack(f"<{count}I", *(places.tables.get(index, 0) for index in range(count))))
        for number, sector in places.grains.items():
            put(file, sector, whole_grain(grains[number], grain_size))
        finish_file(file, places, capacity, grain_size, placement)
        words = (1, 3, capacity, grain_size, 4, count, places.end)
        put(file, 0, (b"COWD" + struct.pack("<7I", *words)).ljust(2048, b"\0"))
    return places


# seSparse extents.

SE_GRAIN, SE_ENTRIES, SE_TABLE_SECTORS = 8, 4096, 64


def se_entry(number):
    """An allocated grain's entry: the number's low 12 bits on top."""
    return 0x3 << 60 | (number & 0xFFF) << 48 | number >> 12


def write_se_sparse(
    path, capacity, grains, first_number=0, unmapped=(), placement=Placement(), journal=0, gap=0, skip_tables=0
):
    """`unmapped`: zero grains that still name the place of an old one. `first_number`, `gap` and `skip_tables` make the
    numbers of grains larger, the regions farther apart and the tables' numbers begin later."""
    count = ceil_div(capacity, SE_ENTRIES * SE_GRAIN)
    directory_sectors = ceil_div(count * 8, SECTOR)
    used = sorted({number // SE_ENTRIES for number in grains})
    table_order = list(used)
    if placement.tables != "front":
        random.Random(placement.seed + 1).shuffle(table_order)
    table_numbers = {index: turn + skip_tables for turn, index in enumerate(table_order)}
    stored = placement.arrange([n for n, data in grains.items() if data is not ZERO], (capacity - 1) // SE_GRAIN)
    grain_numbers = {number: turn + first_number for turn, number in enumerate(stored)}

    regions = Allocator(8 + gap)
    directory = regions.take(directory_sectors)
    regions.take(gap)
    tables_size = (len(used) + skip_tables) * SE_TABLE_SECTORS
    tables = regions.take(tables_size)
    regions.take(gap)
    grains_start = regions.next
    grains_size = (first_number + len(stored)) * SE_GRAIN
    places = Places(
        directory=directory,
        tables={index: tables + number * SE_TABLE_SECTORS for index, number in table_numbers.items()},
        grains={number: grains_start + place * SE_GRAIN for number, place in grain_numbers.items()},
        end=grains_start + grains_size,
    )

    def entry(number):
        if number not in grains:
            return 0
        if grains[number] is ZERO:
            return 0x1 << 60 | number if number in unmapped else 0x2 << 60
        return se_entry(grain_numbers[number])

    header = [0] * 26
    header[0:5] = 0xCAFEBABE, 0x0000000200000001, capacity, SE_GRAIN, SE_TABLE_SECTORS
    header[10:16] = 1, 1, 2, 2, 4, 4
    header[16:20] = directory, directory_sectors, tables, tables_size
    header[24:26] = grains_start, grains_size
    with open(path, "wb") as file:
        put(file, 0, struct.pack("<26Q", *header).ljust(SECTOR, b"\0"))
        put(file, 1, struct.pack("<4Q", 0xCAFECAFE, 0, 0, journal).ljust(SECTOR, b"\0"))
        entries = (0x10000000 << 32 | table_numbers[index] if index in table_numbers else 0 for index in range(count))
        put(file, directory, struct.pack(f"<{count}Q", *entries))
        for index, sector in places.tables.items():
            numbers = range(index * SE_ENTRIES, (index + 1) * SE_ENTRIES)
            put(file, sector, struct.pack(f"<{SE_ENTRIES}Q", *map(entry, numbers)))
        for number, sector in places.grains.items():
            put(file, sector, whole_grain(grains[number], SE_GRAIN))
        finish_file(file, places, capacity, SE_GRAIN, placement)
    return places


def write_raw(path, offset, data, tail=b""):
    """The data of a FLAT or VMFS extent that starts at sector `offset`."""
    with open(path, "wb") as file:
        file.write(NOT_WRITTEN * (offset * SECTOR) + data + tail)


# Images and chains.

SPARSE_WORDS = {"sparse": "SPARSE", "stream": "SPARSE", "cowd": "VMFSSPARSE", "sesparse": "SESPARSE"}


@dataclasses.dataclass
class Extent:
    """`size` sectors of a link's disk. Exactly one of the three says what is in it."""

    kind: str  # flat, vmfs, zero, noaccess, or one of SPARSE_WORDS
    size: int
    file_name: str = ""
    grains: dict = dataclasses.field(default_factory=dict)
    grain_size: int = 0
    data: bytes = b""
    offset: int = 0  # of flat data in its file
    options: dict = dataclasses.field(default_factory=dict)  # of its writer
    access: str = "RW"
    start: int = 0  # on the disk; the link sets it
    places: Places = None

    def written(self):
        """What the extent says about its own sectors: (first, count, bytes or ZERO or BAD)."""
        if self.kind == "noaccess":
            yield 0, self.size, BAD
        elif self.kind == "zero":
            yield 0, self.size, ZERO
        elif self.kind in ("flat", "vmfs"):
            yield 0, self.size, self.data
        else:
            for number, data in self.grains.items():
                first = number * self.grain_size
                count = min(self.grain_size, self.size - first)
                if count > 0:
                    yield first, count, ZERO if data is ZERO else data[: count * SECTOR]

    def line(self, stale_name=None):
        words = [self.access, str(self.size), SPARSE_WORDS.get(self.kind, self.kind.upper())]
        if self.kind == "noaccess":
            words = ["NOACCESS", str(self.size), "ZERO"]
        elif self.kind != "zero":
            words.append(f'"{stale_name or self.file_name}"')
        if self.kind == "flat" or self.offset:
            words.append(str(self.offset))
        return " ".join(words)

    def write(self, directory, descriptor=None):
        path = directory / self.file_name
        options = dict(self.options)
        if self.kind in ("sparse", "stream"):
            # A header may say more than the extent line; the extent still ends where the line says.
            capacity = self.size + options.pop("capacity_beyond", 0)
            writer = write_sparse if self.kind == "sparse" else write_stream
            self.places = writer(
                path, capacity, self.grains, grain_size=self.grain_size, descriptor=descriptor, **options
            )
        elif self.kind == "cowd":
            self.places = write_cowd(path, self.size, self.grains, grain_size=self.grain_size, **options)
        elif self.kind == "sesparse":
            self.places = write_se_sparse(path, self.size, self.grains, **options)
        elif self.kind in ("flat", "vmfs"):
            write_raw(path, self.offset, self.data, **options)


@dataclasses.dataclass
class Link:
    """An image, or a link of a chain."""

    name: str
    create_type: str
    extents: list
    cid: int = 0xFFFFFFFE
    parent_cid: int = 0xFFFFFFFF
    hint: str = ""
    stale_name: str = None  # stands in an embedded descriptor instead of the file's name
    ddb: tuple = ('ddb.adapterType = "lsilogic"',)

    def __post_init__(self):
        start = 0
        for extent in self.extents:
            extent.start = start
            start += extent.size
        self.capacity = start

    @property
    def embedded(self):
        return self.create_type in ("monolithicSparse", "streamOptimized")

    def descriptor(self):
        lines = [
            "# Disk DescriptorFile",
            "version=1",
            f"CID={self.cid:x}",
            f"parentCID={self.parent_cid:08x}",
            f'createType="{self.create_type}"',
        ]
        if self.hint:
            lines.append(f'parentFileNameHint="{self.hint}"')
        lines.append("# Extent description")
        lines += [extent.line(self.stale_name if self.embedded else None) for extent in self.extents]
        lines += ["", "# The Disk Data Base", "#DDB", "", *self.ddb]
        return "\n".join(lines) + "\n"

    def write(self, directory):
        text = self.descriptor()
        for extent in self.extents:
            extent.write(directory, text if self.embedded else None)
        if not self.embedded:
            (directory / self.name).write_bytes(text.encode())

    def written(self):
        for extent in self.extents:
            for first, count, data in extent.written():
                yield extent.start + first, count, data


@dataclasses.dataclass
class Disk:
    """What a chain must become: its bytes, and for each sector what it is and which link (0 the top) says so."""

    data: bytearray
    kinds: bytearray
    depths: bytearray


def disk_of(links):
    """The disk of a chain, given from the top down to the base."""
    disk = Disk(bytearray(), bytearray(), bytearray())
    for depth in range(len(links) - 1, -1, -1):
        link = links[depth]
        # What lies beyond a smaller parent was never written, and the parent is the one that says so.
        missing = max(0, link.capacity - len(disk.kinds))
        disk.data = disk.data[: link.capacity * SECTOR] + bytes(missing * SECTOR)
        disk.kinds = disk.kinds[: link.capacity] + bytes([ZEROS]) * missing
        disk.depths = disk.depths[: link.capacity] + bytes([min(depth + 1, len(links) - 1)]) * missing
        for first, count, data in link.written():
            end = first + count
            has_bytes = isinstance(data, bytes)
            disk.data[first * SECTOR : end * SECTOR] = data if has_bytes else bytes(count * SECTOR)
            kind = DATA if has_bytes else ZEROS if data is ZERO else UNREADABLE
            disk.kinds[first:end] = bytes([kind]) * count
            disk.depths[first:end] = bytes([depth]) * count
    return disk
