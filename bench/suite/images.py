"""The images of bench/run. All that are read hold the same disk, which lies beside them as a raw file: one partition with a
file system that is full of a large file, half of it noise and half of it text, so that it compresses about as disks do."""

import array
import dataclasses
import os
import random
import shutil
import struct
import subprocess
from pathlib import Path

from suite import sparse_extent
from suite.sparse_extent import GRAIN, GRAIN_BYTES, SECTOR

MIB = 1 << 20
TIB = 1 << 40
FIRST_SECTOR = 2048  # of the partition
LARGE_FILE = "large"  # in the root of the file system
SPLIT_EXTENTS = 1000
SPLIT_EXTENT_BYTES = MIB
# Sector numbers of grains have 32 bits, so of an extent of 2 TiB a little less can be allocated.
LARGEST_EXTENT = 2047 << 30


@dataclasses.dataclass(frozen=True)
class Image:
    title: str
    directory: Path
    raw: Path  # the same disk
    in_raw_files: bool = False  # a reader of raw files can read it: the disk is one file
    flat_extents: tuple = ()

    @property
    def path(self):
        return self.directory / "disk.vmdk"


# Key, title.
READ_IMAGES = {
    "flat": "flat",
    "split": f"flat, {SPLIT_EXTENTS:,} extents",
    "sparse": "sparse, in long runs",
    "shuffled": "sparse, every grain elsewhere",
    "chain1": "a base and 1 snapshot",
    "chain4": "a base and 4 snapshots",
    "chain16": "a base and 16 snapshots",
    "stream": "streamOptimized",
}

RUN_COUNTS = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
SIZES = (1 << 30, 16 << 30, 256 << 30, 2 * TIB, 16 * TIB, 60 * TIB)
RUNS_OF_SIZES = 1_000
LARGEST_SIZE_RUNS = 10_000_000


def descriptor(create_type, extents, cid="5a3b1e70", parent=None):
    """`extents`: lines such as 'RW 2048 FLAT "disk-flat.vmdk" 0'. `parent`: its file name and CID."""
    hint = f'parentFileNameHint="{parent[0]}"\n' if parent else ""
    return (f'# Disk DescriptorFile\nversion=1\nencoding="UTF-8"\nCID={cid}\nparentCID={parent[1] if parent else "ffffffff"}\n'
            f'createType="{create_type}"\n{hint}\n# Extent description\n' + "".join(f"{line}\n" for line in extents) +
            '\n# The Disk Data Base\n#DDB\n\nddb.adapterType = "lsilogic"\n')


def of(directory, keys):
    """The images that make() has made there."""
    found = {}
    for key in keys:
        raw = directory / ("split.raw" if key == "split" else "flat/disk-flat.vmdk")
        flat_extents = {"flat": (raw,), "split": tuple(sorted((directory / "split").glob("disk-f*.vmdk")))}
        found[key] = Image(READ_IMAGES[key], directory / key, raw, key == "flat", flat_extents.get(key, ()))
    return found


def make(directory, keys, size_mib):
    """The disk is of `size_mib` MiB, but for the one in many extents."""
    size = size_mib * MIB
    raw = directory / "flat/disk-flat.vmdk"
    raw.parent.mkdir()
    make_disk(raw, size)
    (directory / "flat/disk.vmdk").write_text(
        descriptor("monolithicFlat", [f'RW {size // SECTOR} FLAT "disk-flat.vmdk" 0']))
    for key in keys:
        if key != "flat":
            print(f"making: {READ_IMAGES[key]}", flush=True)
            (directory / key).mkdir()
            MAKERS[key](directory / key, raw)


def make_disk(path, size):
    tree = path.with_name("tree")
    tree.mkdir()
    (tree / "first").write_bytes(os.urandom(4096))
    text = b"".join(b"line %d of a log, as disks are full of them\n" % number for number in range(1000))[:GRAIN_BYTES // 2]
    with open(tree / LARGE_FILE, "wb") as large:
        for number in range((size * 9 // 10 - 16 * MIB) // GRAIN_BYTES):
            large.write(os.urandom(GRAIN_BYTES // 2) + struct.pack("<Q", number) + text[8:])
    with open(path, "wb") as out:
        out.truncate(size)
    subprocess.run(["sfdisk", "--quiet", path], input=f"label: gpt\nstart={FIRST_SECTOR}, type=linux\n".encode(), check=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-m", "0", "-d", tree, "-E", f"offset={FIRST_SECTOR * SECTOR}", path,
                    f"{(size // SECTOR - 2 * FIRST_SECTOR) // 2}k"], check=True)
    shutil.rmtree(tree)


def make_split(directory, _):
    lines = []
    with open(directory.parent / "split.raw", "wb") as raw:
        for number in range(1, SPLIT_EXTENTS + 1):
            data = os.urandom(SPLIT_EXTENT_BYTES)
            name = f"disk-f{number:04}.vmdk"
            (directory / name).write_bytes(data)
            raw.write(data)
            lines.append(f'RW {SPLIT_EXTENT_BYTES // SECTOR} FLAT "{name}" 0')
    (directory / "disk.vmdk").write_text(descriptor("twoGbMaxExtentFlat", lines))


class Grains:
    """The grains of a raw disk, by number."""

    def __init__(self, path):
        self.file = open(path, "rb")
        self.count = os.fstat(self.file.fileno()).st_size // GRAIN_BYTES

    def __call__(self, number):
        return os.pread(self.file.fileno(), GRAIN_BYTES, number * GRAIN_BYTES)


def make_sparse(runs):
    def make_it(directory, raw):
        grains = Grains(raw)
        places = sparse_extent.shuffled_runs(grains.count, min(runs or grains.count, grains.count))
        line = f'RW {grains.count * GRAIN} SPARSE "disk.vmdk"'
        sparse_extent.write(directory / "disk.vmdk", places, None, descriptor("monolithicSparse", [line]), grains)
    return make_it


def make_chain(snapshots):
    """Half of the disk's grains are the base's, the others those of one of the snapshots, below which others lie hidden.
    Within a link they are in the order in which they might have been written: in stretches."""
    def make_it(directory, raw):
        grains = Grains(raw)
        rng = random.Random(snapshots)
        owners = [0 if rng.random() < 0.5 else rng.randint(1, snapshots) for _ in range(grains.count // 16 + 1)]
        parent = None
        for link in range(snapshots + 1):
            name = "disk.vmdk" if link == snapshots else f"link{link}.vmdk"
            wanted = [owners[grain // 16] == link or (link == 0 and grain % 3 == 0) for grain in range(grains.count)]
            places, count = array.array("I"), 0
            for is_wanted in wanted:
                count += is_wanted
                places.append(count if is_wanted else 0)

            def grain_at(grain, link=link):
                return grains(grain) if owners[grain // 16] == link else bytes([link + 1]) * GRAIN_BYTES
            cid = f"5a3b1e{link:02x}"
            line = f'RW {grains.count * GRAIN} SPARSE "{name}"'
            sparse_extent.write(directory / name, places, grains.count * GRAIN,
                                descriptor("monolithicSparse", [line], cid, parent), grain_at)
            parent = name, cid
    return make_it


def make_stream(directory, raw):
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw,
                    directory / "disk.vmdk"], check=True)


MAKERS = {
    "split": make_split,
    "sparse": make_sparse(100),
    "shuffled": make_sparse(None),
    "chain1": make_chain(1),
    "chain4": make_chain(4),
    "chain16": make_chain(16),
    "stream": make_stream,
}


# ---- of the curves: data are holes ---------------------------------------------------------------------------------


def make_runs(directory, runs):
    """A disk of so many grains, each of them a run."""
    directory.mkdir(parents=True)
    line = f'RW {runs * GRAIN} SPARSE "disk.vmdk"'
    sparse_extent.write(directory / "disk.vmdk", sparse_extent.shuffled_runs(runs, runs), None,
                        descriptor("monolithicSparse", [line]))


def make_size(directory, size, runs):
    """A disk of that size in extents of 2 TiB and less, the runs dealt out to them: stretches of 8 grains with gaps of 8."""
    directory.mkdir(parents=True)
    extents = -(-size // LARGEST_EXTENT)
    lines = []
    for number in range(extents):
        capacity = min(LARGEST_EXTENT, size - number * LARGEST_EXTENT) // SECTOR
        share = runs * (number + 1) // extents - runs * number // extents
        name = f"disk-s{number + 1:03}.vmdk"
        sparse_extent.write(directory / name, sparse_extent.scattered_runs(share, 8), capacity)
        lines.append(f'RW {capacity} SPARSE "{name}"')
    (directory / "disk.vmdk").write_text(descriptor("twoGbMaxExtentSparse", lines))
