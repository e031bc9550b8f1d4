#!/usr/bin/env python3
"""Makes the images of the kernel tests, and beside each the disk that it must become.

    images.py KIND IMAGES EXPECTED [ARGUMENT...]

writes IMAGES/NAME/vmdkdm-test-NAME.vmdk with its files, EXPECTED/NAME (the raw disk), EXPECTED/NAME.bad (unreadable
sectors, "start count" per line; zeros in the raw disk) and EXPECTED/NAME.options (one option of attach per line).
What is expected is put together here from the bytes of the files, and shares no code with vmdk-dm.
"""
import os
import struct
import subprocess
import sys
import uuid
import zlib

SECTOR = 512


def content(seed, count):
    """`count` sectors, each different from every other sector of every file."""
    return b"".join((b"%s sector %d. " % (seed.encode(), n) * 60)[:SECTOR] for n in range(count))


class Image:
    made = []

    def __init__(self, name, create_type="custom", head=(), ddb=(), options=()):
        self.name, self.create_type = name, create_type
        self.head, self.ddb, self.options = list(head), list(ddb), list(options)
        self.files, self.lines, self.disk, self.bad = {}, [], bytearray(), []
        Image.made.append(self)

    def file(self, name, data):
        self.files[name] = data
        return self

    def line(self, text, data, bad=False):
        if bad:
            self.bad.append((len(self.disk) // SECTOR, len(data) // SECTOR))
        self.lines.append(text)
        self.disk += data
        return self

    def extent(self, file, size, offset=0, kind="FLAT", access="RW", show_offset=True):
        """An extent on a file, which is made with just enough sectors unless it is there."""
        if file not in self.files:
            self.file(file, content(f"{self.name}/{file}", offset + size))
        text = f'{access} {size} {kind} "{file}"' + (f" {offset}" if show_offset else "")
        data = self.files[file][offset * SECTOR:(offset + size) * SECTOR]
        present = len(data) // SECTOR * SECTOR
        self.line(text, data[:present])
        if present < size * SECTOR:
            self.bad.append((len(self.disk) // SECTOR, size - present // SECTOR))
            self.disk += bytes(size * SECTOR - present)
        return self

    def zero(self, size):
        return self.line(f"RW {size} ZERO", bytes(size * SECTOR))

    def no_access(self, size):
        return self.line(f"NOACCESS {size} ZERO", bytes(size * SECTOR), bad=True)

    def cut(self, disk, sizes, suffix="f{:03}"):
        """The given raw disk, in flat files of these sizes; what they leave goes into a last one."""
        sizes = list(sizes) + [len(disk) // SECTOR - sum(sizes)]
        at = 0
        for number, size in enumerate(sizes, 1):
            file = f"{self.name}-{suffix.format(number)}.vmdk"
            self.file(file, disk[at:at + size * SECTOR])
            self.extent(file, size)
            at += size * SECTOR
        return self

    def descriptor(self):
        head = ["# Disk DescriptorFile", "version=1", "CID=fffffffe", "parentCID=ffffffff"]
        head = [line for line in head if not any(own.startswith(line.split("=")[0] + "=") for own in self.head)]
        return "\n".join(head + self.head + [f'createType="{self.create_type}"', "", "# Extent description"]
                         + self.lines + ["", "# The Disk Data Base", "#DDB", ""] + self.ddb) + "\n"

    def write(self, images, expected):
        directory = os.path.join(images, self.name)
        os.makedirs(directory, exist_ok=True)
        for name, data in self.files.items():
            with open(os.path.join(directory, name), "wb") as out:
                out.write(data)
        with open(os.path.join(directory, f"vmdkdm-test-{self.name}.vmdk"), "w", encoding="utf-8") as out:
            out.write(self.descriptor())
        with open(os.path.join(expected, self.name), "wb") as out:
            out.write(self.disk)
        for suffix, lines in (("bad", [f"{start} {count}" for start, count in self.bad]), ("options", self.options)):
            with open(os.path.join(expected, f"{self.name}.{suffix}"), "w", encoding="utf-8") as out:
                out.writelines(line + "\n" for line in lines)


# Partition tables.

LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"


def gpt(disk, partitions, sector=SECTOR):
    """Puts a GPT on the disk: {number: (first, count, name)}, counted in sectors of `sector` bytes."""
    disk = bytearray(disk)
    last = len(disk) // sector - 1
    slots = 128
    entries = bytearray(slots * 128)
    for number, (first, count, name) in partitions.items():
        entry = struct.pack("<16s16sQQQ72s", uuid.UUID(LINUX).bytes_le,
                            uuid.UUID(int=0x11110000 + number).bytes_le, first, first + count - 1, 0,
                            name.encode("utf-16-le"))
        entries[(number - 1) * 128:number * 128] = entry
    table_sectors = len(entries) // sector

    def header(own, other, table):
        fields = [b"EFI PART", 0x10000, 92, 0, 0, own, other, 2 + table_sectors, last - table_sectors - 1,
                  uuid.UUID(int=0x2222).bytes_le, table, slots, 128, zlib.crc32(entries)]
        form = "<8sIIIIQQQQ16sQIII"
        fields[3] = zlib.crc32(struct.pack(form, *fields))
        return struct.pack(form, *fields)

    def put(at, data):
        disk[at * sector:at * sector + len(data)] = data

    put(0, mbr_table([(0xEE, 1, last)]))
    put(1, header(1, last, 2))
    put(2, entries)
    put(last - table_sectors, entries)
    put(last, header(last, 1, last - table_sectors))
    return bytes(disk)


def mbr_table(entries):
    """A boot sector: up to four (type, first, count), None for an empty slot."""
    sector = bytearray(SECTOR)
    for slot, entry in enumerate(entries):
        if entry:
            kind, first, count = entry
            sector[446 + 16 * slot:462 + 16 * slot] = struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", kind,
                                                                  b"\xfe\xff\xff", first, count)
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def with_sectors(disk, changes, sector=SECTOR):
    disk = bytearray(disk)
    for at, data in changes.items():
        disk[at * sector:at * sector + len(data)] = data
    return bytes(disk)


def ext4(size, directory=None):
    """An ext4 of `size` bytes that holds the file hello.txt."""
    path = os.path.join(directory or sys.argv[3], "ext4")
    os.makedirs(path + ".tree")
    with open(os.path.join(path + ".tree", "hello.txt"), "w", encoding="ascii") as out:
        out.write("hello from inside the image\n")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "^has_journal", "-E",
                    "root_owner=0:0", "-d", path + ".tree", path, f"{size // 1024}k"],
                   check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    with open(path, "rb") as file:
        return file.read()


# What each test needs.

def make_bytes(elsewhere):
    Image("flat", "monolithicFlat").extent("flat-flat.vmdk", 4096)
    (Image("split", "twoGbMaxExtentFlat").extent("split-f001.vmdk", 2048).extent("split-f002.vmdk", 2048)
     .extent("split-f003.vmdk", 1000))
    Image("vmfs", "vmfs").extent("vmfs-flat.vmdk", 2048, kind="VMFS", show_offset=False)
    Image("vmfsThin", "vmfsThin").extent("thin-flat.vmdk", 2048, kind="VMFS", show_offset=False)
    Image("vmfsEagerZeroedThick", "vmfsEagerZeroedThick").extent("thick-flat.vmdk", 2048, kind="VMFS")
    Image("vmfsPreallocated", "vmfsPreallocated").extent("pre-flat.vmdk", 2048, kind="VMFS", show_offset=False)
    Image("custom", "custom").extent("a.bin", 512).extent("b.bin", 512, kind="VMFS")
    (Image("offset").file("big.bin", content("offset", 4096)).extent("big.bin", 1024, offset=2056)
     .extent("big.bin", 512, offset=63))
    Image("no-offset").extent("plain.bin", 1024, show_offset=False)
    Image("rdonly").extent("a.bin", 256).extent("b.bin", 256, access="RDONLY").extent("c.bin", 256)
    Image("zero-first").zero(640).extent("a.bin", 256)
    Image("zero-middle").extent("a.bin", 256).zero(640).extent("b.bin", 256)
    Image("zero-last").extent("a.bin", 256).zero(640)
    Image("zero-only").zero(4096)
    Image("no-access").extent("a.bin", 256).no_access(128).extent("b.bin", 256)
    Image("no-access-odd").extent("a.bin", 61).no_access(3).extent("b.bin", 67).no_access(1)
    (Image("no-access-file").file("a.bin", content("hidden", 64)).extent("b.bin", 64)
     .line('NOACCESS 64 FLAT "a.bin" 0', bytes(64 * SECTOR), bad=True))
    (Image("mixed").extent("c.bin", 63).zero(17).extent("a.bin", 129, offset=5).extent("b.bin", 64, access="RDONLY")
     .no_access(7).zero(1).extent("d.bin", 1, kind="VMFS").extent("e.bin", 318, offset=1))
    (Image("twice").file("a.bin", content("twice", 1024)).extent("a.bin", 256, offset=512).extent("a.bin", 256)
     .extent("a.bin", 256, offset=512).extent("a.bin", 128, offset=384))
    Image("odd").extent("a.bin", 63).extent("b.bin", 1).extent("c.bin", 4035)
    Image("larger").file("a.bin", content("larger", 300)).extent("a.bin", 200).extent("b.bin", 56)
    Image("ragged").file("a.bin", content("ragged", 257)[:-100]).extent("a.bin", 256).extent("b.bin", 64)
    (Image("short", options=["--allow-short"]).file("a.bin", content("short", 96)).extent("a.bin", 128)
     .extent("b.bin", 64))
    (Image("short-in-sector", options=["--allow-short"]).file("a.bin", content("ragged", 128)[:-100])
     .extent("a.bin", 128).extent("b.bin", 64))
    Image("all-short", options=["--allow-short"]).extent("b.bin", 64).file("a.bin", b"").extent("a.bin", 64)
    (Image("blanks and \N{LATIN SMALL LETTER U WITH DIAERESIS}", head=['encoding="UTF-8"'])
     .extent("a b.bin", 64).extent("\N{LATIN SMALL LETTER U WITH DIAERESIS}.bin", 64))
    # Beyond 4 GiB in a file of holes, in a directory of its own.
    far, at = os.path.join(elsewhere, "far.bin"), 9_000_001
    data = content("far", 100)
    with open(far, "wb") as out:
        out.seek(at * SECTOR)
        out.write(data)
    (Image("far", options=[f"--allow-path={elsewhere}"]).line(f'RW 100 FLAT "{far}" {at}', data)
     .extent("near.bin", 28))


def make_devices(device, size):
    """Images on a block device that holds the raw disk EXPECTED/disk with an MBR partition from sector 64 on."""
    raw = with_sectors(content("device", size), {0: mbr_table([(0x83, 64, size - 64)])})
    with open(os.path.join(sys.argv[3], "disk"), "wb") as out:
        out.write(raw)
    allow = ["--allow-devices", "--no-partitions"]
    Image("full-device", "fullDevice", options=allow).line(f'RW {size} FLAT "{device}" 0', raw)
    Image("vmfs-raw", "vmfsRaw", options=allow).line(f'RW {size} VMFSRAW "{device}"', raw)
    (Image("partitioned", "partitionedDevice", options=allow).file("pt.vmdk", content("pt", 64)).extent("pt.vmdk", 64)
     .line(f'RW {size - 64} FLAT "{device}p1" 0', raw[64 * SECTOR:]))
    (Image("device-part", "partitionedDevice", options=allow).extent("pt.vmdk", 63).zero(1)
     .line(f'RDONLY 200 FLAT "{device}" 100', raw[100 * SECTOR:300 * SECTOR]))


def make_partitions():
    fs = ext4(2 << 20)
    blank = content("partitions", 16384)
    disk = with_sectors(blank, {2048: fs})
    disk = gpt(disk, {1: (2048, 4096, "data"), 2: (6144, 2048, "second"), 5: (8192, 100, "after a gap")})
    Image("gpt", "twoGbMaxExtentFlat").cut(disk, [3001, 5000])

    # Extended partition in slot 3; the second logical one is deleted: its table only links on.
    mbr = {0: mbr_table([(0x83, 64, 1000), None, (0x05, 2000, 10000), (0x82, 13000, 500)]),
           2000: mbr_table([(0x83, 64, 900), (0x05, 1000, 1000)]),
           3000: mbr_table([None, (0x05, 2000, 1000)]),
           4000: mbr_table([(0x83, 10, 500), (0x05, 3000, 2000)]),
           5000: mbr_table([(0x07, 64, 1936)])}
    Image("mbr", "monolithicFlat").cut(with_sectors(blank, mbr), [])

    beyond = {0: mbr_table([(0x83, 64, 1000), (0x83, 16000, 1000), (0x83, 20000, 100), (0x83, 2000, 64)])}
    Image("beyond").cut(with_sectors(blank, beyond), [8192])

    blank = content("large sectors", 32768)
    disk = with_sectors(blank, {256: fs}, 4096)
    disk = gpt(disk, {1: (256, 512, "data"), 3: (1024, 16, "small")}, 4096)
    Image("gpt4k", "twoGbMaxExtentFlat").cut(disk, [8192])
    # The same, but cut where no 4096-byte sector ends.
    Image("gpt4k-odd", "twoGbMaxExtentFlat").cut(disk, [4095])

    mbr = {0: mbr_table([(0x83, 256, 512), (0x05, 1024, 2048)]), 1024: mbr_table([(0x83, 8, 100), None])}
    disk = with_sectors(with_sectors(blank, {256: fs}, 4096), mbr, 4096)
    Image("mbr4k", ddb=['ddb.logicalSectorSize = "4096"']).cut(disk, [8192])

    Image("whole").cut(fs, [1000])
    Image("no-table").extent("a.bin", 2048)


def make_in_place():
    disk = gpt(content("in-place", 8192), {1: (2048, 4096, "data")})
    # Two files, with sectors before and behind the extents that are none of ours.
    image = Image("rw")
    image.file("a.bin", content("a", 16) + disk[:3000 * SECTOR] + content("behind", 8))
    image.file("b.bin", content("b", 5) + disk[3000 * SECTOR:] + b"a ragged end")
    image.extent("a.bin", 3000, offset=16).extent("b.bin", 5192, offset=5)
    Image("zero").extent("a.bin", 64).zero(64)
    Image("rdonly").extent("a.bin", 64).extent("b.bin", 64, access="RDONLY")
    Image("no-access").extent("a.bin", 64).no_access(64).extent("b.bin", 64)
    Image("family", head=["CID=0badcafe", "parentCID=12345678", 'parentFileNameHint="base.vmdk"']) \
        .extent("a.bin", 64) \
        .file("child.vmdk", b'version=1\nCID=00000001\nparentCID=0badcafe\ncreateType="monolithicSparse"\n'
                            b'parentFileNameHint="family.vmdk"\nRW 64 SPARSE "child-s001.vmdk"\n') \
        .file("stranger.vmdk", b'version=1\nCID=00000002\nparentCID=0badbeef\ncreateType="monolithicSparse"\n'
                               b'parentFileNameHint="x.vmdk"\nRW 64 SPARSE "x-s001.vmdk"\n')


def make_disks(count, partitions="1"):
    """`count` images disk1, disk2, ... with a GPT of `partitions` partitions, the first an ext4, in two files."""
    fs = ext4(1 << 20)
    for number in range(1, int(count) + 1):
        disk = with_sectors(content(f"disk{number}", 8192), {2048: fs})
        table = {1: (2048, 2048, "data"), 2: (4096, 1000, "more")}
        disk = gpt(disk, dict(list(table.items())[:int(partitions)]))
        Image(f"disk{number}").cut(disk, [4000])


def make_quarantine():
    """`clone`: partitions for what a host looks for, the first an ext4, in one file, which the test fills. `two`: partitions
    1 and 12. And what can be found at the first byte of a file: `whole`, an ext4, and `pv`, which the test fills."""
    mib = 2048
    places = {1: (1, 2), 2: (3, 8), 3: (11, 4), 4: (15, 4), 5: (19, 1), 6: (20, 18), 12: (38, 1)}
    fs = ext4(2 << 20)
    disk = gpt(with_sectors(bytes(40 * mib * SECTOR), {mib: fs}),
               {number: (first * mib, count * mib, f"vmdkdm-test-{number}")
                for number, (first, count) in places.items()})
    Image("clone", "monolithicFlat").file("clone-flat.vmdk", disk).extent("clone-flat.vmdk", 40 * mib)
    disk = gpt(bytes(2 * mib * SECTOR), {1: (mib, 64, "one"), 12: (mib + 64, 64, "twelve")})
    Image("two").file("two-flat.vmdk", disk).extent("two-flat.vmdk", 2 * mib)
    Image("whole").file("whole-flat.vmdk", fs).extent("whole-flat.vmdk", 2 * mib)
    Image("pv").file("pv-flat.vmdk", bytes(8 * mib * SECTOR)).extent("pv-flat.vmdk", 8 * mib)


def make_small(count):
    """`count` images small1, small2, ...: two files, a hole and an MBR with one partition."""
    for number in range(1, int(count) + 1):
        image = Image(f"small{number}")
        image.file("a.bin", with_sectors(content(f"a{number}", 256), {0: mbr_table([(0x83, 64, 128)])}))
        image.extent("a.bin", 256).zero(64).extent("b.bin", 192)


def make_many(count):
    """1,000 extents (say): each in a file of its own, and all in three files, out of order."""
    count = int(count)
    own = Image("many")
    for number in range(count):
        own.extent(f"{number:04}.bin", 8)
    shared = Image("few")
    for file in range(3):
        shared.file(f"{file}.bin", content(f"few {file}", 8 * count))
    for number in range(count):
        shared.extent(f"{number % 3}.bin", 8, offset=8 * (number * 7 % count))


def main():
    kind, images, expected = sys.argv[1:4]
    globals()["make_" + kind](*(int(word) if word.isdigit() else word for word in sys.argv[4:]))
    for image in Image.made:
        image.write(images, expected)


if __name__ == "__main__":
    main()
