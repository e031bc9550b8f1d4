#!/usr/bin/env python3
"""Makes the image of seal.sh: IMAGES/vmdkdm-test-web.vmdk, a snapshot of a snapshot of a base in two flat files, one of
which the snapshots hide entirely; and EXPECTED, the raw disk.

    seal_images.py IMAGES EXPECTED
"""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "generate"))
import vmdk_writer as vw  # noqa: E402

GRAIN = 128
SECTORS = 64 * GRAIN


def sparse(name, grains, cid, parent):
    data = {grain: vw.content(name.encode(), grain * GRAIN, GRAIN) for grain in grains}
    link = vw.Link(name, "monolithicSparse", [vw.Extent("sparse", SECTORS, name, data, GRAIN)])
    link.cid, link.parent_cid, link.hint = cid, parent.cid, parent.name
    return link


def main():
    images, expected = map(pathlib.Path, sys.argv[1:])
    halves = [vw.Extent("flat", SECTORS // 2, f"base-f00{number}.vmdk",
                        data=vw.content(b"base", number * SECTORS // 2, SECTORS // 2)) for number in (0, 1)]
    base = vw.Link("base.vmdk", "twoGbMaxExtentFlat", halves)
    base.cid = 0x1001
    # All of the first half.
    middle = sparse("middle.vmdk", range(32), 0x1002, base)
    top = sparse("vmdkdm-test-web.vmdk", (3, 40, 41), 0x1003, middle)
    links = [top, middle, base]
    for link in links:
        link.write(images)
    expected.write_bytes(vw.disk_of(links).data)


main()
