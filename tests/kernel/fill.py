#!/usr/bin/env python3
"""Writes chunks of 16 KiB to a device, past the page cache, and to a file that holds what should be on it, until the device
refuses one; prints how many went well.

    fill.py DEVICE FILE START
"""
import errno
import mmap
import os
import sys

CHUNK = 16384


def main():
    device, file, start = sys.argv[1], sys.argv[2], int(sys.argv[3])
    disk = os.open(device, os.O_WRONLY | os.O_DIRECT)
    should = os.open(file, os.O_WRONLY)
    chunk = mmap.mmap(-1, CHUNK)  # aligned, as O_DIRECT wants it
    chunk.write(b"a chunk that was written")
    written = 0
    while True:
        at = start // CHUNK * CHUNK + written * CHUNK
        try:
            count = os.pwrite(disk, chunk, at)
        except OSError as error:
            if error.errno != errno.EIO:
                sys.exit(f"the write failed otherwise: {error}")
            break
        if count != CHUNK:
            sys.exit(f"only {count} bytes were written")
        os.pwrite(should, chunk, at)
        written += 1
    print(written)


main()
