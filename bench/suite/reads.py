"""Reads of one image through everything that opens it, in turns of some milliseconds; and before that how long it takes until
a first byte is there, until all is gone again, and how much memory it costs meanwhile."""

import mmap
import os
import time
from pathlib import Path

from suite import peers
from suite.peers import Refused, run

MIB = 1 << 20
# Yardsticks, which are no peers: the disk as one raw file, under a loop device, twice. By how much the ratio of the two misses 1
# is the error of the method.
YARDSTICK, CONTROL = "plain loop device", "plain loop device, again"

# Title, the reader's words.
WORKLOADS = {
    "1 MiB in a row": ["sequential", MIB, 1],
    "4 KiB at random": ["random", 4096, 1],
    "4 KiB at random, depth 16": ["random", 4096, 16],
    "4 KiB at random, 4 jobs": ["--jobs", 4, "random", 4096, 1],
}
STATES = ("warm", "cold")
SECONDS_OF_OPENING = 20  # then the rounds end
COMPARED = 64 * MIB  # of each disk with the raw file; ours wholly


def measure(image, contestants, options):
    """`contestants`: list of Peer."""
    result = {"title": image.title, "opening": {}, "refused": {}, "reads": {state: {} for state in STATES}}
    standing = []
    for peer in contestants:
        print(f"{image.title}: opening, {peer.title}", flush=True)
        try:
            result["opening"][peer.title] = measure_opening(image, peer, options.opening_rounds)
            standing.append(peer)
        except Refused as refused:
            close_quietly(peer)
            if peer.title == peers.OURS:
                raise SystemExit(f"bench/run: {image.title}: {refused}") from None
            result["refused"][peer.title] = str(refused)
    paths, opened = {}, []
    try:
        for peer in (Plain(YARDSTICK, options.place), Plain(CONTROL, options.place), *standing):
            opened.append(peer)
            paths[peer.title] = peer.open(image)
            compare(image.raw, paths[peer.title], None if peer.title == peers.OURS else COMPARED)
        measure_reads(image, paths, options, result)
    finally:
        for peer in reversed(opened):
            close_quietly(peer)
    return result


class Plain(peers.Peer):
    """The raw file, whatever the image."""

    def __init__(self, title, place):
        super().__init__(place)
        self.title = title

    def open(self, image):
        return self.loop(image.raw)


def close_quietly(peer):
    try:
        peer.close()
    except Refused as refused:
        print(f"{peer.title}: {refused}", flush=True)


def compare(raw, path, size):
    """Ends the whole benchmark where other bytes come out: there is nothing to measure then."""
    with open(raw, "rb") as expected, open(path, "rb") as found:
        position = 0
        while part := expected.read(MIB):
            if size is not None and position >= size:
                return
            if found.read(len(part)) != part:
                raise SystemExit(f"bench/run: {path} differs from {raw} between bytes {position} and {position + len(part)}")
            position += len(part)


# ---- from the command to the first byte ------------------------------------------------------------------------------


def measure_opening(image, peer, rounds):
    rows = []
    deadline = time.monotonic() + SECONDS_OF_OPENING
    for number in range(rounds):
        if number > 0 and time.monotonic() > deadline:
            break
        if isinstance(peer, peers.VmdkDm):
            peer.forget()
        before = peers.processes()
        start = time.monotonic()
        path = peer.open(image)
        read_first(path)
        opened = time.monotonic() - start
        row = {"open": opened}
        if number == 0:
            check_first(image, path)
            row["process"] = peers.resident(peers.processes() - before)
            attached = free_memory()
        start = time.monotonic()
        peer.close()
        row["close"] = time.monotonic() - start
        if number == 0:
            # What goes with it is what it took.
            row["kernel"] = free_memory() - attached - row["process"]
        rows.append(row)
    return rows


def read_first(path):
    disk = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 4096) as page:
            if os.preadv(disk, [page], 0) != 4096:
                raise Refused("gives no byte")
            return bytes(page)
    except OSError as error:
        raise Refused(os.strerror(error.errno)) from error
    finally:
        os.close(disk)


def check_first(image, path):
    with open(image.raw, "rb") as expected:
        if read_first(path) != expected.read(4096):
            raise Refused("gives wrong bytes")


def free_memory():
    """Bytes, after what can be given back has been."""
    os.sync()  # what waits to be written cannot be given back
    Path("/proc/sys/vm/drop_caches").write_text("3")
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemFree:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("bench/run: /proc/meminfo has no MemFree")


# ---- reads -----------------------------------------------------------------------------------------------------------


def measure_reads(image, paths, options, result):
    # Those that are close to each other get more turns in a round than those that are not.
    close = [title for title in (YARDSTICK, peers.OURS, CONTROL, peers.CONVERT, peers.BY_HAND, peers.LOOP) if title in paths]
    turns = [*close, *(title for title in (YARDSTICK, peers.OURS) if title in paths), *(title for title in paths if title not in close)]
    os.sync()  # what a peer has just copied would outlive the dropping of the page cache, as it is not on the disk yet
    for state in STATES:
        if state == "warm":
            for path in paths.values():
                warm(path)
        rounds = options.rounds if state == "warm" else options.cold_rounds
        for title, words in WORKLOADS.items():
            print(f"{image.title}: {state}, {title}", flush=True)
            lines = run(options.reader, *["--cold"] * (state == "cold"), *words, options.slice_ms, rounds,
                        *(paths[contestant] for contestant in turns), seconds=3600)
            rates = {contestant: [[] for _ in range(rounds)] for contestant in paths}
            for line in sorted(lines.splitlines(), key=lambda line: tuple(map(int, line.split()[:2]))):
                turn_round, turn, size, nanoseconds = map(int, line.split())
                rates[turns[turn]][turn_round].append(size / MIB / (nanoseconds / 1e9))
            result["reads"][state][title] = rates


def warm(path):
    """Past the page cache of the device itself: only what lies below is to be warm."""
    disk = os.open(path, os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, MIB) as buffer:
        position = 0
        while count := os.preadv(disk, [buffer], position):
            position += count
    os.close(disk)
