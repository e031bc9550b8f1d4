#!/usr/bin/env python3
"""Makes the evidence of examiner.sh out of two states of one file system: a sparse base, as VMware Workstation on Windows
made it, and the snapshot that was taken since.

    examiner_images.py BEFORE AFTER DIRECTORY NAME

writes DIRECTORY/NAME.vmdk (the base, with BEFORE in its only partition) and DIRECTORY/NAME-000001.vmdk (the grains in
which AFTER differs), whose descriptor knows its parent by a path of that Windows host.
"""
import pathlib
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "generate"))
import vmdk_writer as vw  # noqa: E402

GRAIN = 128
FIRST = 2048
NTFS = 7


def disk_with(file_system):
    size = len(file_system) // vw.SECTOR
    entry = struct.pack("<B3sB3sII", 0, b"\0\0\0", NTFS, b"\0\0\0", FIRST, size)
    start = bytes(446) + entry.ljust(64, b"\0") + b"\x55\xaa"
    disk = start.ljust(FIRST * vw.SECTOR, b"\0") + file_system
    return disk.ljust(-(-len(disk) // (GRAIN * vw.SECTOR)) * GRAIN * vw.SECTOR, b"\0")


def sparse(name, disk, hidden):
    """A link that has the grains of `disk` that are not those of `hidden`."""
    size = GRAIN * vw.SECTOR
    grains = {at // size: disk[at:at + size] for at in range(0, len(disk), size)
              if disk[at:at + size] != hidden[at:at + size]}
    return vw.Link(name, "monolithicSparse", [vw.Extent("sparse", len(disk) // vw.SECTOR, name, grains, GRAIN)])


def main():
    before, after = (disk_with(pathlib.Path(path).read_bytes()) for path in sys.argv[1:3])
    directory, name = pathlib.Path(sys.argv[3]), sys.argv[4]
    base = sparse(f"{name}.vmdk", before, bytes(len(before)))
    snapshot = sparse(f"{name}-000001.vmdk", after, before)
    base.cid, snapshot.cid = 0x5F3A11C2, 0x8D2E07B1
    snapshot.parent_cid = base.cid
    snapshot.hint = rf"D:\VMs\Anna\{name}.vmdk"
    for link in (base, snapshot):
        link.write(directory)


main()
