#!/usr/bin/env python3
"""Makes a VMDK of file systems that are there as raw files: the whole disk, or partitions of an MBR.

    mount_images.py DIRECTORY NAME FILE           the file is the disk
    mount_images.py DIRECTORY NAME FILE TYPE ...  partitions with these types (hexadecimal)

writes DIRECTORY/vmdkdm-test-NAME.vmdk with its flat extent.
"""
import os
import shutil
import struct
import sys

SECTOR = 512
FIRST = 2048


def partitioned(out, parts):
    entries, at = b"", FIRST
    for path, kind in parts:
        size = os.path.getsize(path) // SECTOR
        entries += struct.pack("<B3sB3sII", 0, b"\0\0\0", kind, b"\0\0\0", at, size)
        out.seek(at * SECTOR)
        with open(path, "rb") as part:
            shutil.copyfileobj(part, out, 1 << 20)
        at += size
    out.truncate(at * SECTOR)
    out.seek(446)
    out.write(entries.ljust(64, b"\0") + b"\x55\xaa")


def main():
    directory, name, *rest = sys.argv[1:]
    os.makedirs(directory, exist_ok=True)
    extent = f"vmdkdm-test-{name}-flat.vmdk"
    path = os.path.join(directory, extent)
    if len(rest) == 1:
        shutil.copyfile(rest[0], path)
    else:
        with open(path, "wb") as out:
            partitioned(out, [(file, int(kind, 16)) for file, kind in zip(rest[::2], rest[1::2])])
    size = os.path.getsize(path) // SECTOR
    with open(os.path.join(directory, f"vmdkdm-test-{name}.vmdk"), "w") as out:
        out.write("# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n"
                  f'createType="monolithicFlat"\nRW {size} FLAT "{extent}" 0\n'
                  'ddb.adapterType = "lsilogic"\n')


main()
