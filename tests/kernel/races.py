#!/usr/bin/env python3
"""Several processes attach, detach, mount, list and unmount the same and other images at the same time.

    races.py PLAN WORK VMDK-DM SECONDS PROCESSES SEED

PLAN is a JSON list of images: {"image": path, "device": path, "disk": raw disk, "mount": true}. Each process takes one random
step after the other:

    attach, detach      by the image or by the name; a disk that was attached is opened and compared from end to end
    overlay             attach with an overlay that one process has for itself, write, read back, detach, attach, compare
    mount, umount       to a directory of the process, and a file is read
    list, filesystems   which must give JSON
    kill                an attach, mount or detach, killed after some milliseconds

Whatever is read from a disk that is open must be right. A command may fail only with what EXPECTED says.
"""
import collections
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time

# By exit status: what a command may say when others are at the same image.
EXPECTED = {
    5: re.compile(r"attached already|is taken|in use|mounted already|has been attaching or mounting it|is busy|"
                  r"resource busy|is still open", re.I),
    6: re.compile(r"not attached|nothing is attached|nothing is mounted|has just been detached|no such device|"
                  r"No such file|is mounted on|there is no|a file system is not there", re.I),
}
# By command; list and filesystems have no reason to fail, besides what becomes of the disk while they look.
FAILING = {"attach": {5, 6}, "detach": {5, 6}, "mount": {5, 6}, "umount": {5, 6}, "list": set(),
           "filesystems": {5, 6}}


# Where and what an overlay is written. Others may compare the disk just then, and an overlay whose writer was cut off keeps it.
OVERLAY_PLACE, OVERLAY_LENGTH = 8192, 4096
OVERLAY_STAMP = b"written to an overlay by a racer"


class Wrong(Exception):
    pass


class Racer:
    def __init__(self, number, plan, work, vmdk_dm, seed):
        self.number, self.plan, self.work, self.vmdk_dm = number, plan, work, vmdk_dm
        self.random = random.Random(seed * 1000 + number)
        self.counts = collections.Counter()
        self.directory = f"{work}/mnt{number}"
        self.overlay = f"{work}/overlay{number}"
        os.makedirs(self.directory, exist_ok=True)

    def run(self, *words, kill_after=None):
        process = subprocess.Popen([self.vmdk_dm, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, start_new_session=True)
        if kill_after is not None:
            time.sleep(kill_after)
            process.send_signal(signal.SIGKILL)
            self.counts["kills"] += 1
        try:
            out, err = process.communicate(timeout=180)
        except subprocess.TimeoutExpired as late:
            process.kill()
            raise Wrong(f"vmdk-dm {' '.join(words)} did not end") from late
        out, err, status = out.decode(), err.decode(), process.returncode
        self.counts[words[0]] += 1
        if status == 0 or (kill_after is not None and status == -signal.SIGKILL):
            return status, out
        self.counts[f"{words[0]} failed"] += 1
        if status not in FAILING[words[0]] or not EXPECTED[status].search(err):
            raise Wrong(f"exit status {status} of vmdk-dm {' '.join(words)}: {err}{out}")
        return status, out

    def compare(self, one):
        """While it is open nobody can take it away."""
        try:
            with open(one["device"], "rb", buffering=0) as device, open(one["disk"], "rb") as disk:
                wanted = disk.read()
                got = b""
                while len(got) < len(wanted):
                    part = device.read(min(1 << 18, len(wanted) - len(got)))
                    if not part:
                        raise Wrong(f"{one['device']} is cut short")
                    got += part
            end = OVERLAY_PLACE + OVERLAY_LENGTH
            if one is self.plan[0] and got[OVERLAY_PLACE:].startswith(OVERLAY_STAMP):
                got = got[:OVERLAY_PLACE] + wanted[OVERLAY_PLACE:end] + got[end:]
                self.counts["overlays met"] += 1
            if got != wanted:
                raise Wrong(f"{one['device']} is not {one['disk']}")
            self.counts["bytes compared"] += len(got)
            self.counts["disks compared"] += 1
        except (FileNotFoundError, OSError) as error:
            # Somebody has detached it; ENXIO is a node whose device is gone.
            if error.errno not in (2, 6):
                raise Wrong(f"{one['device']}: {error}") from error
            self.counts["gone before it was opened"] += 1

    def step(self):
        one = self.random.choice(self.plan)
        what = self.random.choices(("attach", "detach", "mount", "list", "filesystems", "kill", "overlay"),
                                   (30, 20, 12, 10, 5, 8, 8))[0]
        name = self.random.choice((one["image"], os.path.basename(one["device"])))
        if what == "attach":
            options = self.random.choice(([], [], ["--strategy", "exceptions"], ["--no-partitions"]))
            if not one.get("sparse") and "exceptions" in options:
                options = []
            status, out = self.run("attach", *options, one["image"])
            if status == 0 and one["device"] not in out.split():
                raise Wrong(f"attach printed {out}")
            self.compare(one)
        elif what == "detach":
            self.run("detach", name)
        elif what == "list":
            json.loads(self.run("list", "--json")[1])
        elif what == "filesystems":
            self.run("filesystems", "--json", one["image"])
        elif what == "mount":
            self.mount(self.random.choice([image for image in self.plan if image.get("mount")]))
        elif what == "kill":
            words = self.random.choice((["attach", one["image"]], ["detach", name], ["attach", one["image"]]))
            self.run(*words, kill_after=self.random.uniform(0, 0.15))
        else:
            self.write_overlay(self.plan[0])

    def mount(self, one):
        status, _ = self.run("mount", one["image"], self.directory)
        if status == 0:
            with open(self.directory + "/hello.txt", encoding="ascii") as file:
                if file.read() != "hello from inside the image\n":
                    raise Wrong("the mounted file is wrong")
            self.run_until_done("umount", self.directory)

    def run_until_done(self, *words):
        for _ in range(50):
            if self.run(*words)[0] == 0:
                return
        raise Wrong(f"vmdk-dm {' '.join(words)} fails again and again")

    def write_overlay(self, one):
        """Its own file; the image is everybody's, so that the attach fails often."""
        status, _ = self.run("attach", "--overlay", self.overlay, "--no-partitions", one["image"])
        if status != 0:
            return
        try:
            device = os.open(one["device"], os.O_RDWR)
        except OSError:
            return
        try:
            # Somebody may have detached it, and somebody else attached it without an overlay; then it cannot be written.
            block = OVERLAY_STAMP + os.urandom(OVERLAY_LENGTH - len(OVERLAY_STAMP))
            os.pwrite(device, block, OVERLAY_PLACE)
            os.fsync(device)
            if os.pread(device, OVERLAY_LENGTH, OVERLAY_PLACE) != block:
                raise Wrong("what was written to an overlay is not there")
            self.counts["overlays written"] += 1
            with open(one["disk"], "rb") as disk:
                os.pwrite(device, os.pread(disk.fileno(), OVERLAY_LENGTH, OVERLAY_PLACE), OVERLAY_PLACE)
            os.fsync(device)
        except OSError as error:
            if error.errno not in (1, 6, 30):
                raise Wrong(f"a write to an overlay: {error}") from error
        finally:
            os.close(device)

    def clean_up(self):
        for one in self.plan:
            self.run("detach", one["image"])


# What must have happened. On a machine where a step takes seconds the race goes on for it, up to so many times as long.
NEEDED = ("attach", "detach", "mount", "list", "kills", "disks compared")
MOST_TIMES = 8


def all_has_happened(work, counts):
    """In this process or another: who saw something says so with a file."""
    for needed in NEEDED:
        if counts[needed] > 0 and not os.path.exists(f"{work}/seen {needed}"):
            with open(f"{work}/seen {needed}", "w", encoding="ascii"):
                pass
    return all(os.path.exists(f"{work}/seen {needed}") for needed in NEEDED)


def race(number, plan, work, vmdk_dm, seconds, seed, results):
    racer = Racer(number, plan, work, vmdk_dm, seed)
    start = time.monotonic()
    wrong = ""
    try:
        while not os.path.exists(work + "/stop"):
            took = time.monotonic() - start
            if took > MOST_TIMES * seconds or (took > seconds and all_has_happened(work, racer.counts)):
                break
            racer.step()
            racer.counts["steps"] += 1
    except Wrong as error:
        wrong = f"process {number}, step {racer.counts['steps']}: {error}"
        with open(work + "/stop", "w", encoding="ascii"):
            pass
    results.put((dict(racer.counts), wrong))


def main():
    plan, work, vmdk_dm, seconds, processes, seed = sys.argv[1:]
    with open(plan, encoding="utf-8") as file:
        plan = json.load(file)
    results = multiprocessing.Queue()
    for needed in NEEDED:  # of a race before
        if os.path.exists(f"{work}/seen {needed}"):
            os.unlink(f"{work}/seen {needed}")
    racers = [multiprocessing.Process(target=race, args=(number, plan, work, vmdk_dm, float(seconds), int(seed), results))
              for number in range(int(processes))]
    for racer in racers:
        racer.start()
    total, wrong = collections.Counter(), []
    for _ in racers:
        counts, error = results.get()
        total.update(counts)
        wrong += [error] if error else []
    for racer in racers:
        racer.join()
    print("  " + ", ".join(f"{count} {what}" for what, count in sorted(total.items())))
    if wrong:
        sys.exit("\n".join(wrong))
    for needed in NEEDED:
        if total[needed] == 0:
            sys.exit(f"no {needed} in all this time")


if __name__ == "__main__":
    main()
