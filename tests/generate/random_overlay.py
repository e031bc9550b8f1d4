"""Makes a random overlay for an image: its file as vmdk-dm and the kernel would have written it, and what the disk then is.

The header is written after the words of src/overlay/overlay_file.h, the COW area by cow_store.
"""

import pathlib
import random

import cow_store
import vmdk_writer as vw
from vmdk_writer import SECTOR

COW_OFFSET = 1 << 20
GRAIN = 128


class Overlay:
    """`disk` (a vmdk_writer.Disk) as the image shows it; `files`: those that the disk's map lies on, in its order."""

    def __init__(self, rng, disk):
        capacity = len(disk.kinds)
        self.chunk = rng.choice([8, 8, 8, 16, 64, 128, 2048])
        self.data = bytearray(disk.data)
        self.kinds = bytearray(disk.kinds)
        self.written = bytearray(capacity)
        self.changes = []
        count = vw.ceil_div(capacity, self.chunk)
        numbers = rng.sample(range(count), rng.choice([0, 1, count // 3, count, min(count, 5)]))
        if rng.random() < 0.5:
            numbers.sort()
        self.changes = [(number, self._write(rng, number)) for number in numbers]

    def _write(self, rng, number):
        """A chunk: zeros, or the old content with random bytes somewhere in it."""
        first = number * self.chunk
        end = min(first + self.chunk, len(self.kinds))
        data = bytearray((end - first) * SECTOR)
        if rng.random() > 0.2:
            data[:] = self.data[first * SECTOR : end * SECTOR]
            at = rng.randrange(len(data))
            piece = rng.randbytes(min(len(data) - at, rng.choice([1, 512, 4096])))
            data[at : at + len(piece)] = piece
        self.data[first * SECTOR : end * SECTOR] = data
        self.kinds[first:end] = bytes([vw.DATA]) * (end - first)
        self.written[first:end] = b"\1" * (end - first)
        # Behind the disk's end a chunk holds whatever there was.
        return bytes(data) + (b"" if end - first == self.chunk else rng.randbytes(512))

    def limit(self):
        """Room for all of the disk, and for an area behind it."""
        per_area = self.chunk * SECTOR // 16
        count = vw.ceil_div(len(self.kinds), self.chunk)
        return (3 + count + count // per_area + 1) * self.chunk * SECTOR

    def write(self, path, links, files, valid=1):
        """`links`: (CID, parent CID) from the image down; `files`: paths of their descriptors and of the disk's data."""
        directory = pathlib.Path(files[0]).parent
        text = [
            "vmdk-dm overlay 1",
            f"limit={self.limit():020}",
            f"capacity={len(self.kinds)}",
            f"chunk={self.chunk}",
            "created=2026-11-22T19:30:00Z",
            f"image={files[0]}",
        ]
        text += [f"link={cid:08x} {parent:08x} " for cid, parent in links]
        for file in files:
            status = pathlib.Path(file).stat()
            name = pathlib.Path(file).relative_to(directory)
            text.append(f"file={status.st_size} {status.st_mtime_ns} {name}")
        with open(path, "wb") as file:
            file.write(("\n".join([*text, "end"]) + "\n").encode())
            if self.changes:
                cow_store.write_store(file, COW_OFFSET, self.chunk, self.changes, valid)
            file.truncate(COW_OFFSET + self.limit())

    def changed_grains(self):
        return {first // GRAIN for first in range(len(self.written)) if self.written[first]}


def random_overlay(seed, disk):
    return Overlay(random.Random(seed * 7 + 1), disk)
