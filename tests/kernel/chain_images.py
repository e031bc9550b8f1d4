#!/usr/bin/env python3
"""Makes the sparse images and snapshot chains of chains.sh, and beside each the disk that it must become.

    chain_images.py IMAGES EXPECTED SEED COUNT

writes chains IMAGES/NAME/link0.vmdk (the top), link1.vmdk, ... and for each disk to check: EXPECTED/CASE (the raw disk),
EXPECTED/CASE.arguments (what attach is given, one per line) and EXPECTED/CASE.bad (unreadable sectors, "start count" per
line; zeros in the raw disk). COUNT chains are random ones, from SEED on. What is expected comes from tests/generate.
"""
import pathlib
import random
import re
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "generate"))
# pylint: disable=wrong-import-position
import images  # noqa: E402
import random_chain  # noqa: E402
import vmdk_writer as vw  # noqa: E402
from vmdk_writer import SECTOR, Extent, Link, Placement  # noqa: E402

IMAGES, EXPECTED = map(pathlib.Path, sys.argv[1:3])
LARGEST_RANDOM = 5000  # sectors
BEYOND_THE_FILE = 0x7FFFFFFF  # an entry of a grain table


def write_links(name, links):
    (IMAGES / name).mkdir()
    random_chain.write_chain(links, IMAGES / name)


def expect(case, disk, name, *options):
    (EXPECTED / case).write_bytes(disk.data)
    (EXPECTED / f"{case}.arguments").write_text("\n".join([*options, str(IMAGES / name / "link0.vmdk")]) + "\n")
    with open(EXPECTED / f"{case}.bad", "w", encoding="ascii") as out:
        for run in re.finditer(b"%c+" % vw.UNREADABLE, disk.kinds):
            out.write(f"{run.start()} {run.end() - run.start()}\n")


def make(name, *links):
    """Links without names, CIDs and hints, the top first."""
    for number, (child, parent) in enumerate(zip(links, links[1:])):
        parent.cid = child.parent_cid = 0x1000 + number
        child.hint = parent.name
    write_links(name, links)
    expect(name, vw.disk_of(links), name)


def sparse(number, capacity, grain_size, grains, **options):
    """Link `number` of a chain: a monolithicSparse. `grains` are their contents, or numbers to be given some."""
    if not isinstance(grains, dict):
        tag = b"link %d sector" % number
        grains = {grain: vw.content(tag, grain * grain_size, grain_size) for grain in grains}
    name = f"link{number}.vmdk"
    return Link(name, "monolithicSparse", [Extent("sparse", capacity, name, grains, grain_size, options=options)])


def flat(number, data):
    extent = Extent("flat", len(data) // SECTOR, f"link{number}-flat.vmdk", data=bytes(data))
    return Link(f"link{number}.vmdk", "monolithicFlat", [extent])


def make_random(seed, count):
    """Chains of two links or more, one of them in all its layers. Large ones take too long in the embedded kernel."""
    layered = False
    while count:
        links = random_chain.make_chain(seed)
        if len(links) > 1 and links[0].capacity <= LARGEST_RANDOM:
            name = f"seed{seed}"
            write_links(name, links)
            expect(name, vw.disk_of(links), name)
            if len(links) == random_chain.MAX_DEPTH and not layered:
                layered = True
                for layer in range(1, len(links)):
                    expect(f"{name}-layer{layer}", vw.disk_of(links[layer:]), name, "--layer", str(layer))
            count -= 1
        seed += 1
    assert layered, "no chain is deep enough for --layer"


def make_overlay():
    """As VMware does it: a flat base with a file system, and a snapshot since which a file was written."""
    disk = images.with_sectors(images.content("base", 8192), {2048: images.ext4(2 << 20, EXPECTED)})
    base = images.gpt(disk, {1: (2048, 4096, "data")})
    changed = base.replace(b"hello from inside the image\n", b"hello from the snapshot 001\n")
    size = 128 * SECTOR
    grains = {at // size: changed[at:at + size] for at in range(0, len(base), size)
              if changed[at:at + size] != base[at:at + size]}
    assert len(grains) == 1
    make("overlay", sparse(0, 8192, 128, grains), flat(1, base))


def make_damaged():
    """The entry of grain 5 points beyond the end of the file; its copy in the redundant table does not."""
    links = sparse(0, 128 * 20, 128, [1, 4, 5, 6, 13]), flat(1, vw.content(b"base sector", 0, 128 * 20))
    make("damaged", *links)
    (EXPECTED / "damaged.arguments").rename(EXPECTED / "damaged.refused")
    table = links[0].extents[0].places.tables[0]
    with open(IMAGES / "damaged" / "link0.vmdk", "r+b") as file:
        file.seek(table * SECTOR + 5 * 4)
        file.write(struct.pack("<I", BEYOND_THE_FILE))
    expect("damaged-redundant", vw.disk_of(links), "damaged", "--use-redundant")
    disk = vw.disk_of(links)
    disk.data[5 * 128 * SECTOR:6 * 128 * SECTOR] = bytes(128 * SECTOR)
    disk.kinds[5 * 128:6 * 128] = bytes([vw.UNREADABLE]) * 128
    expect("damaged-allowed", disk, "damaged", "--allow-damaged")


def make_stream():
    grains = {number: vw.content(b"sector", number * 128, 128) for number in (0, 3)}
    extent = Extent("stream", 1000, "link0.vmdk", grains, 128)
    make("stream", Link("link0.vmdk", "streamOptimized", [extent]))


def make_shuffled():
    rng = random.Random(1)
    grains = {number: rng.randbytes(8 * SECTOR) for number in rng.sample(range(24000), 20000)}
    make("shuffled", sparse(0, 24000 * 8, 8, grains, placement=Placement(order="shuffled", seed=1)))


def main():
    make_random(int(sys.argv[3]), int(sys.argv[4]))
    make_overlay()
    make("grain8", sparse(0, 8 * 1500, 8, range(3, 1400, 3)), flat(1, vw.content(b"base sector", 0, 8 * 1500)))
    make("grain128", sparse(0, 128 * 600, 128, [0, 1, 7, 511, 512, 599]), sparse(1, 128 * 600, 128, range(500, 520)))
    tight = Placement(residues=(1024,), cut_last=True)
    size = 65536 * 2 + 100
    large = {number: random.Random(number).randbytes(65536 * SECTOR) for number in (1, 2)}
    make("grain65536", sparse(0, size, 65536, large, placement=tight), sparse(1, size, 128, [0, 511, 700, 1024]))
    # The last grain ends behind the disk; in the second the file ends with the disk.
    make("odd", sparse(0, 128 * 7 + 37, 128, [2, 7]))
    make("odd-cut", sparse(0, 128 * 7 + 37, 128, [2, 7], placement=Placement(cut_last=True)))
    make_damaged()
    make_stream()
    make_shuffled()


main()
