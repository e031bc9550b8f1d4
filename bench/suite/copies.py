"""Raw copies of the same disks by vmdk-dm compact, qemu-img convert and, of the raw disk, cp; in turns, warm and cold, with
and without waiting for the disk. Needs no device mapper."""

import os
import shutil
import time

from suite.peers import Refused, run

OURS, QEMU, CP = "vmdk-dm compact", "qemu-img convert", "cp --sparse=always"
# Key, whether cp of the raw disk is to be compared.
KEYS = {"flat": True, "shuffled": True, "chain16": False, "stream": False}
WAYS = ((False, False), (True, False), (False, True))  # with fsync, cold
SHARED = "shuffled, blocks shared (XFS)"


def measure(pictures, directory, tool, rounds):
    """{title: {way: {contestant: [seconds]}}}; `pictures`: images by key."""
    found = {}
    for key, with_cp in KEYS.items():
        if key not in pictures:
            continue
        image = pictures[key]
        check(tool, image.path, image.raw, directory)
        found[image.title] = {words(*way): compare(tool, image.path, image.raw if with_cp else None, directory, rounds, *way)
                              for way in WAYS}
    if os.geteuid() == 0 and "shuffled" in pictures:
        with Xfs(directory, pictures["shuffled"]) as (image, place):
            found[SHARED] = {words(*way): compare(tool, image, None, place, rounds, *way) for way in WAYS[:2]}
    return found


def words(sync, cold):
    return f"{'cold' if cold else 'warm'}, {'with' if sync else 'no'} fsync"


def commands(tool, image, raw, output, sync):
    found = {OURS: [[tool, "compact", image, output, *([] if sync else ["--no-sync"])]],
             QEMU: [["qemu-img", "convert", "-f", "vmdk", "-O", "raw", *(["-t", "writeback"] if sync else []), image, output]]}
    if raw:
        found[CP] = [["cp", "--sparse=always", raw, output], *([["sync", output]] if sync else [])]
    return found


def compare(tool, image, raw, directory, rounds, sync, cold):
    print(f"copying: {image.parent.name}, {words(sync, cold)}", flush=True)
    output = directory / "copy.raw"
    turns = commands(tool, image, raw, output, sync)
    seconds = {name: [] for name in turns}
    names = list(turns)
    for number in range(rounds):
        for name in names[number % len(names):] + names[:number % len(names)]:
            if cold:
                for path in [*image.parent.glob("*.vmdk"), *([raw] if raw else [])]:
                    leave_page_cache(path)
            output.unlink(missing_ok=True)
            start = time.perf_counter()
            for command in turns[name]:
                run(*command)
            seconds[name].append(time.perf_counter() - start)
    output.unlink()
    os.sync()
    return seconds


def leave_page_cache(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def check(tool, image, raw, directory):
    output = directory / "copy.raw"
    run(tool, "compact", image, output)
    try:
        run("cmp", output, raw)
    except Refused as differs:
        raise SystemExit(f"bench/run: vmdk-dm compact: {differs}") from None
    output.unlink()


class Xfs:
    """A file system that shares blocks, with a copy of the image on it."""

    def __init__(self, directory, image):
        self.backing, self.mounted, self.image = directory / "xfs.img", directory / "xfs", image

    def __enter__(self):
        self.mounted.mkdir()
        with open(self.backing, "wb") as file:
            file.truncate(4 * self.image.raw.stat().st_size + (512 << 20))
        run("mkfs.xfs", "-q", "-m", "reflink=1", self.backing)
        run("mount", "-o", "loop", self.backing, self.mounted)
        place = self.mounted / self.image.directory.name
        shutil.copytree(self.image.directory, place)
        os.sync()
        return place / self.image.path.name, self.mounted

    def __exit__(self, *_):
        run("umount", self.mounted)
        self.backing.unlink()
        self.mounted.rmdir()
