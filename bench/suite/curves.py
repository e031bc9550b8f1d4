"""How long attaching takes, and what memory, by the number of runs and by the size of the disk; beside what else can show such
images, up to the point where it takes too long. And the same of the part that needs no kernel, as an ordinary process."""

import subprocess
import threading
import time
from pathlib import Path

from suite import images, peers
from suite.peers import Refused
from suite.reads import free_memory, read_first

ROUNDS_UP_TO = {100_000: 5, 1_000_000: 3}  # runs; of more, one
SECONDS = 60  # after which a peer is out
SECONDS_TO_REPEAT = 10  # a peer that takes longer is measured once, and is out
TABLE, MAP, QEMU_MAP = "vmdk-dm table", "vmdk-dm map", "qemu-img map"


def run_key(runs):
    return f"runs-{runs}"


def size_key(size):
    return f"size-{size >> 30}"


LARGEST = "largest"  # 60 TiB with ten million runs


def make(directory, counts, sizes, largest_runs):
    for runs in counts:
        print(f"making: {runs:,} runs", flush=True)
        images.make_runs(directory / run_key(runs), runs)
    for size in sizes:
        print(f"making: {size >> 30:,} GiB", flush=True)
        images.make_size(directory / size_key(size), size, images.RUNS_OF_SIZES)
    if largest_runs:
        print(f"making: {images.SIZES[-1] >> 40} TiB with {largest_runs:,} runs", flush=True)
        images.make_size(directory / LARGEST, images.SIZES[-1], largest_runs)


def image_of(directory, key):
    return images.Image(key, directory / key, directory / key / "disk.vmdk")


# ---- with a device mapper --------------------------------------------------------------------------------------------


def measure_attach(directory, counts, sizes, largest_runs, contestants):
    """{"runs": {N: {contestant: row}}, "sizes": ..., "largest": {contestant: row}}"""
    found = {"runs": {}, "sizes": {}}
    for axis, points in (("runs", [(runs, run_key(runs), runs) for runs in counts]),
                         ("sizes", [(size, size_key(size), images.RUNS_OF_SIZES) for size in sizes])):
        out = set()
        for point, key, runs in points:
            found[axis][point] = {}
            for peer in contestants:
                if peer.title not in out:
                    row = measure_point(image_of(directory, key), peer, rounds_of(runs))
                    found[axis][point][peer.title] = row
                    if "refused" in row or row["open"] > SECONDS:
                        out.add(peer.title)
    if largest_runs:
        found["largest"] = {peer.title: measure_point(image_of(directory, LARGEST), peer, 1) for peer in contestants}
    return found


def rounds_of(runs):
    return next((rounds for most, rounds in ROUNDS_UP_TO.items() if runs <= most), 1)


def measure_point(image, peer, rounds):
    print(f"attaching: {image.title}, {peer.title}", flush=True)
    opened, closed, memory = [], [], {}
    try:
        for number in range(rounds):
            before = peers.processes()
            start = time.monotonic()
            path = peer.open(image)
            read_first(path)
            opened.append(time.monotonic() - start)
            if number == 0:
                memory["process"] = peers.resident(peers.processes() - before)
                attached = free_memory()
            start = time.monotonic()
            peer.close()
            closed.append(time.monotonic() - start)
            if number == 0:
                memory["kernel"] = free_memory() - attached - memory["process"]
    except Refused as refused:
        try:
            peer.close()
        except Refused:
            pass
        if peer.title == peers.OURS:
            raise SystemExit(f"bench/run: {image.title}: {refused}") from None
        return {"refused": str(refused)}
    return {"open": sorted(opened)[len(opened) // 2], "close": sorted(closed)[len(closed) // 2], **memory}


# ---- without -----------------------------------------------------------------------------------------------------------


def measure_maps(directory, tool, counts, sizes, largest_runs):
    """Seconds and peak memory of printing the grain map, as JSON and as tables, by image."""
    keys = [run_key(runs) for runs in counts] + [size_key(size) for size in sizes] + [LARGEST] * bool(largest_runs)
    found, out = {}, set()
    for key in keys:
        image = image_of(directory, key).path
        found[key] = {}
        for title, command in ((TABLE, [tool, "table", image]), (MAP, [tool, "map", "--json", image]),
                               (QEMU_MAP, ["qemu-img", "map", "--output=json", image])):
            if title in out:
                continue
            print(f"printing the map: {key}, {title}", flush=True)
            seconds, memory = watched(command)  # and it warms the page cache
            if seconds < SECONDS_TO_REPEAT or title != QEMU_MAP:
                seconds = min(seconds_of(command) for _ in range(3))
            found[key][title] = {"seconds": seconds, "memory": memory}
            if seconds > SECONDS_TO_REPEAT and title == QEMU_MAP:
                out.add(title)
    return found


def seconds_of(command):
    start = time.monotonic()
    subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - start


def watched(command):
    """Seconds, and peak memory of the process and its children together, by looking again and again."""
    start = time.monotonic()
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL) as process:
        peak = Peak(process.pid)
        peak.start()
        process.wait()
        seconds = time.monotonic() - start
        peak.join()
    return seconds, peak.bytes


class Peak(threading.Thread):
    def __init__(self, root):
        super().__init__(daemon=True)
        self.root, self.bytes = root, 0

    def run(self):
        while tree := tree_of(self.root):
            self.bytes = max(self.bytes, peers.resident(tree))
            time.sleep(0.005)


def tree_of(root):
    """The process and those below it, as long as it has not ended."""
    try:
        if Path(f"/proc/{root}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return []
        below = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    except OSError:
        return []
    return [root, *(process for child in below for process in tree_of(int(child)))]
