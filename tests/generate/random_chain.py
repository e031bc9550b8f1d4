#!/usr/bin/env python3
"""Makes random chains of snapshots: any kind of link over any other, odd sizes, every writer's way to lay out a file.

    random_chain.py SEED DIRECTORY

writes the chain of that seed, DIRECTORY/link0.vmdk the top one, and prints for each link a line: its name, whether
qemu-img reads the chain from there on as it should, and the kinds of its extents. For other programs `make_chain` gives
the links, and `vmdk_writer.disk_of` the disk that they must become.
"""

import pathlib
import random
import sys

import vmdk_writer as vw
from vmdk_writer import SECTOR, ZERO, Extent, Link, Placement

GRAIN_SIZES = [128] * 6 + [8] * 4 + [16, 32, 64, 256, 1024]
TABLE_ENTRIES = [512] * 8 + [1, 2, 7, 64, 128, 500, 1024, 4096]
SPARSE_KINDS = ["monolithicSparse", "twoGbMaxExtentSparse", "streamOptimized", "vmfsSparse", "seSparse", "custom"]
FLAT_KINDS = ["monolithicFlat", "twoGbMaxExtentFlat", "vmfs"]
MAX_DEPTH = 5
LARGEST_GRAIN = 65536

# What qemu-img 7.2 opens when a text says it; the others are names to us only.
QEMU_TEXT_TYPES = {"monolithicFlat", "vmfs", "vmfsSparse", "seSparse", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"}


def random_capacity(rng):
    if rng.random() < 0.04:
        return rng.randint(LARGEST_GRAIN // 2, LARGEST_GRAIN * 3 // 2)
    return rng.choice([rng.randint(1, 200), rng.randint(200, 3000), rng.randint(2000, 9000)])


def random_placement(rng, grain_size, tables=("front", "shuffled", "scattered"), cut=True):
    residues = (0,)
    if rng.random() < 0.4:
        residues = tuple(rng.randrange(grain_size) for _ in range(rng.randint(1, 3)))
    return Placement(
        order=rng.choice(["ascending", "ascending", "shuffled", "alternating"]),
        residues=residues,
        tables=rng.choice(tables),
        cut_last=cut and rng.random() < 0.3,
        seed=rng.getrandbits(32),
    )


def random_numbers(rng, count):
    """Which of `count` grains are written: none, all, some stretches, or single ones."""
    way = rng.choice(["none", "all", "stretches", "stretches", "sprinkled", "sprinkled"])
    if way == "none" or count == 0:
        return []
    if way == "all":
        return list(range(count)) if count < 5000 else list(range(0, count, 2))
    if way == "sprinkled":
        return sorted(rng.sample(range(count), rng.randint(1, min(count, 300))))
    numbers = set()
    for _ in range(rng.randint(1, 6)):
        first = rng.randrange(count)
        numbers.update(range(first, min(count, first + rng.randint(1, 400))))
    return sorted(numbers)


def random_grains(rng, tag, size, grain_size, zero_share):
    """Whole grains, also the last one, of which the disk may hold a part."""
    grains = {}
    for number in random_numbers(rng, vw.ceil_div(size, grain_size)):
        if rng.random() < zero_share:
            grains[number] = ZERO
        elif rng.random() < 0.1:
            grains[number] = rng.randbytes(grain_size * SECTOR)
        else:
            grains[number] = vw.content(tag, number * grain_size, grain_size)
    return grains


def random_extent(rng, kind, size, name, tag):
    if kind == "noaccess" or kind == "zero":
        return Extent(kind, size)
    if kind in ("flat", "vmfs"):
        offset = rng.choice([0, 0, 0, 1, 63, 2048]) if kind == "flat" else 0
        tail = rng.choice([b"", b"", b"after the extent"])
        access = rng.choice(["RW", "RW", "RW", "RDONLY"])
        return Extent(
            kind, size, name, data=vw.content(tag, 0, size), offset=offset, options={"tail": tail}, access=access
        )
    zero_share = rng.choice([0, 0, 0.1, 0.5])
    if kind == "sesparse":
        grains = random_grains(rng, tag, size, vw.SE_GRAIN, zero_share)
        options = {
            "first_number": rng.choice([0, 0, 4090, 5000]),
            "unmapped": {number for number in grains if rng.random() < 0.3},
            "gap": rng.choice([0, 0, 7, 2048]),
            "skip_tables": rng.choice([0, 0, 3]),
            "placement": random_placement(rng, vw.SE_GRAIN, ("front", "shuffled")),
        }
        return Extent(kind, size, name, grains, vw.SE_GRAIN, options=options)
    if kind == "cowd":
        grain_size = rng.choice([1, 1, 1, 2, 8, 64, 2048])
        grains = random_grains(rng, tag, size, grain_size, rng.choice([0, 0, 0, 0.2]))
        tables = ("scattered", "scattered", "front", "shuffled")
        options = {
            "placement": random_placement(rng, grain_size, tables),
            "spare_directory": rng.choice([0, 0, 0, 200]),
        }
        return Extent(kind, size, name, grains, grain_size, options=options)

    grain_size = LARGEST_GRAIN if size > LARGEST_GRAIN // 2 and rng.random() < 0.5 else rng.choice(GRAIN_SIZES)
    grains = random_grains(rng, tag, size, grain_size, zero_share)
    options = {"entries": rng.choice(TABLE_ENTRIES), "preallocated": rng.random() < 0.5}
    if kind == "sparse":
        options["redundant"] = rng.random() < 0.7
        options["unclean"] = rng.random() < 0.1
        if ZERO not in grains.values():
            options["version"] = rng.choice([1, 1, 2, 3])
        options["placement"] = random_placement(rng, grain_size)
    else:
        options["layout"] = rng.choice(["footer", "footer", "known-directory", "front", "redundant-front"])
        options["level"] = rng.choice([0, 1, 6, 9])
        options["short_last"] = rng.random() < 0.5
        options["junk_after_grains"] = rng.random() < 0.2
        options["placement"] = random_placement(rng, 1, ("front",), cut=False)
    return Extent(kind, size, name, grains, grain_size, options=options)


def random_pieces(rng, capacity, unit):
    """Sizes that add up to the capacity; multiples of `unit` but for the last, when it is not 1."""
    count = rng.randint(1, 4)
    cuts = sorted({rng.randrange(capacity) // unit * unit for _ in range(count - 1)} - {0})
    return [end - start for start, end in zip([0, *cuts], [*cuts, capacity])]


def random_link(rng, depth, create_type, capacity):
    def tag(index):
        return b"link %d extent %d sector" % (depth, index)

    def name(suffix):
        return f"link{depth}-{suffix}.vmdk"

    link_name = f"link{depth}.vmdk"
    stale_name = None
    if create_type in ("monolithicSparse", "streamOptimized"):
        kind = "sparse" if create_type == "monolithicSparse" else "stream"
        extent = random_extent(rng, kind, capacity, link_name, tag(0))
        extent.options["descriptor_sectors"] = rng.choice([20, 20, 20, 1, 2, 4])
        extents = [extent]
        stale_name = rng.choice([None, "call-me-stream.vmdk", "C:\\\\export\\\\old.vmdk"])
    elif create_type == "twoGbMaxExtentSparse":
        sizes = random_pieces(rng, capacity, rng.choice([1, 1024, 1024]))
        extents = [
            random_extent(rng, "sparse", size, name(f"s{index + 1:03}"), tag(index)) for index, size in enumerate(sizes)
        ]
        if rng.random() < 0.1:
            extents[-1].options["capacity_beyond"] = rng.randint(1, 500)
    elif create_type == "monolithicFlat":
        extents = [random_extent(rng, "flat", capacity, name("flat"), tag(0))]
    elif create_type == "twoGbMaxExtentFlat":
        extents = [
            random_extent(rng, "flat", size, name(f"f{index + 1:03}"), tag(index))
            for index, size in enumerate(random_pieces(rng, capacity, 1))
        ]
    elif create_type == "vmfs":
        extents = [random_extent(rng, "vmfs", capacity, name("flat"), tag(0))]
    elif create_type == "vmfsSparse":
        extents = [random_extent(rng, "cowd", capacity, name("delta"), tag(0))]
    elif create_type == "seSparse":
        extents = [random_extent(rng, "sesparse", capacity, name("sesparse"), tag(0))]
    else:
        kinds = ["flat", "sparse", "sparse", "stream", "cowd", "sesparse", "vmfs", "zero"]
        extents = []
        for index, size in enumerate(random_pieces(rng, capacity, 1)):
            kind = rng.choice(kinds) if rng.random() > 0.05 else "noaccess"
            extents.append(random_extent(rng, kind, size, name(f"x {index}"), tag(index)))
    return Link(link_name, create_type, extents, stale_name=stale_name)


def random_hint(rng, parent_name):
    return rng.choice(
        [
            *[parent_name] * 12,
            f"/vmfs/volumes/5b1e-77/vm/{parent_name}",
            f"C:\\VMs\\base\\{parent_name}",
            f"..\\base\\{parent_name}",
            f"[datastore1] vm/{parent_name}",
        ]
    )


def make_chain(seed):
    """The links of the chain, top first."""
    rng = random.Random(seed)
    depth = rng.randint(1, MAX_DEPTH)
    capacity = random_capacity(rng)
    links = []
    for number in range(depth):
        is_base = number == depth - 1
        kinds = SPARSE_KINDS + FLAT_KINDS if is_base or rng.random() < 0.1 else SPARSE_KINDS
        links.append(random_link(rng, number, rng.choice(kinds), capacity))
        if rng.random() < 0.15:
            capacity = max(1, capacity + rng.randint(-capacity // 2, capacity // 2))
    for child, parent in zip(links, links[1:]):
        parent.cid = rng.choice([rng.getrandbits(32) & 0x7FFFFFFF, rng.getrandbits(16), 0xFFFFFFFE])
        child.parent_cid = parent.cid
        child.hint = random_hint(rng, parent.name)
    return links


def qemu_reads_extent(extent, is_last):
    # A sparse extent that ends inside a grain: qemu reads on in the grain.
    ends_inside_grain = extent.grain_size and extent.size % extent.grain_size != 0
    if ends_inside_grain and not is_last:
        return False
    if extent.kind in ("zero", "noaccess") or extent.access != "RW":
        return False
    if extent.kind == "cowd" and ZERO in extent.grains.values():
        return False
    # It inflates a whole grain anew for every piece that a finer child lets through.
    if extent.kind == "stream" and extent.grain_size == LARGEST_GRAIN:
        return False
    return extent.options.get("entries", 512) <= 512 and "capacity_beyond" not in extent.options


def qemu_reads(links):
    """Whether qemu-img 7.2 reads the chain as it should."""
    for link in links:
        if not link.embedded and link.create_type not in QEMU_TEXT_TYPES:
            return False
        if not all(qemu_reads_extent(extent, extent is link.extents[-1]) for extent in link.extents):
            return False
        if link.hint and ("/" in link.hint or "\\" in link.hint):
            return False
    return True


def write_chain(links, directory):
    for link in links:
        link.write(directory)


def main():
    seed, directory = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    links = make_chain(seed)
    write_chain(links, directory)
    for number, link in enumerate(links):
        kinds = " ".join(extent.kind for extent in link.extents)
        print(link.name, "qemu" if qemu_reads(links[number:]) else "-", kinds)


if __name__ == "__main__":
    main()
