#!/usr/bin/env python3
"""Makes two file systems that a program can tell apart by nothing but the bytes in a file: DIRECTORY/a.img and b.img, each with
disk.vmdk, of the same inode, size, times and layout of compressed grains; and the disks, DIRECTORY/a and b.

    cache_images.py DIRECTORY
"""
import pathlib
import random
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "generate"))
import vmdk_writer as vw  # noqa: E402

GRAIN = 128
BLOCK = 4096


def main():
    directory = pathlib.Path(sys.argv[1])
    files = {}
    for name in ("a", "b"):
        rng = random.Random(name)
        root = directory / f"{name}.root"
        root.mkdir()
        # Bytes that deflate does not make smaller: all grains are of one size.
        grains = {number: rng.randbytes(GRAIN * vw.SECTOR) for number in (0, 2, 3, 7)}
        link = vw.Link("disk.vmdk", "streamOptimized", [vw.Extent("stream", GRAIN * 9, "disk.vmdk", grains, GRAIN)])
        link.write(root)
        (directory / name).write_bytes(vw.disk_of([link]).data)
        files[name] = (root / "disk.vmdk").read_bytes()
    assert len(files["a"]) == len(files["b"])
    with open(directory / "a.img", "xb") as image:
        image.truncate(4 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", str(BLOCK), "-d", directory / "a.root", directory / "a.img"], check=True)
    image = bytearray((directory / "a.img").read_bytes())
    for at in range(0, len(files["a"]), BLOCK):
        ours, others = (files[name][at : at + BLOCK].ljust(BLOCK, b"\0") for name in ("a", "b"))
        if ours == others:
            continue
        place = image.find(ours)
        assert place % BLOCK == 0 and image.find(ours, place + 1) < 0
        image[place : place + BLOCK] = others
    (directory / "b.img").write_bytes(image)


main()
