#!/usr/bin/env python3
"""Every call with which a command changes something is hit in turn: the process is killed there, or the call fails.

    everywhere.py SCENARIOS WORK VMDK-DM STRIDE SHIFT

SCENARIOS is a JSON list of what everywhere.sh prepares:

    name      in messages
    before    commands of vmdk-dm that come first each time
    files     {file: copy of it}: put in place each time
    command   the command that is hit
    after     commands of vmdk-dm that must then work, one after the other, whatever was there when it was hit; a list in
              their place is a choice: the first of them that works is enough
    compare   {device: raw disk}: what is right after the first of those in `after`
    whole     files that are either not there or as their copies, {file: copy}
    modes     "kill" (the process alone), "kill-all" (each process of the command at its Nth such call), "fail"
    every     of the calls, every so many-th is hit, besides STRIDE
    changes   true: a command that fails may have done its work (detach)

Which calls a command makes is found out each time, by a first run under strace; nothing depends on how many there are. Only
every STRIDE-th of them is hit, from SHIFT on, and the first of each kind that no scenario before has hit. At the end nothing may be left of any of it: mapped devices and their nodes,
loop devices, mounts, arrays, semaphores, processes, files. The last line counts what was done.
"""
import collections
import fcntl
import glob
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time

# What changes something, and the error with which it fails. Reading cannot leave anything behind; a failing read is a
# matter of the unit tests.
ERRORS = {
    "ioctl": "EIO", "openat": "EMFILE", "mkdir": "EACCES", "mkdirat": "EACCES", "mknod": "EPERM", "mknodat": "EPERM",
    "write": "ENOSPC", "pwrite64": "ENOSPC", "ftruncate": "EFBIG", "fallocate": "ENOSPC", "fsync": "EIO",
    "fdatasync": "EIO", "rename": "EIO", "renameat": "EIO", "renameat2": "EIO", "link": "EIO", "linkat": "EIO",
    "unlink": "EIO", "unlinkat": "EIO", "symlink": "EIO", "mount": "EIO", "umount2": "EBUSY", "flock": "ENOLCK",
    "memfd_create": "ENOSYS", "socketpair": "EMFILE", "pipe2": "EMFILE", "clone": "EAGAIN", "clone3": "EAGAIN",
    "fork": "EAGAIN", "vfork": "EAGAIN", "semget": "ENOSPC", "semctl": "EINVAL", "semop": "EINVAL", "sendto": "EPIPE",
    "dup2": "EBUSY", "setsid": "EPERM", "fchmod": "EPERM", "exit_group": None, "mmap": "ENOMEM", "execve": None,
}
# Libraries and /proc are opened too, some fifty times; what is of interest is what a command opens for its work.
OPENED = re.compile(r'"(/dev/|/run/|/tmp/vmdkdm-test|/proc/self/fd/|/proc/self/mountinfo)')
CALL = re.compile(r"^(\d+) +(\w+)\((.*)")
INJECTED = re.compile(r"\(INJECTED\)|\+\+\+ killed by SIGKILL")
DM_LIST_DEVICES = 0xC138FD02
PATIENCE = 60  # seconds; guards give up after five


def mapped_devices():
    """Straight from the kernel: a device without a table is nowhere in /sys."""
    buffer = bytearray(struct.pack("=IIIII", 4, 0, 0, 16384, 312).ljust(16384, b"\0"))
    with open("/dev/mapper/control", "rb") as control:
        fcntl.ioctl(control, DM_LIST_DEVICES, buffer)
    at, names = 312, []
    if struct.unpack_from("=Q", buffer, at)[0] == 0:
        return names
    while True:
        _, further = struct.unpack_from("=QI", buffer, at)
        end = buffer.index(0, at + 12)
        names.append(buffer[at + 12:end].decode())
        if further == 0:
            return names
        at += further


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


class Failure(Exception):
    pass


class Test:
    def __init__(self, work, vmdk_dm):
        self.work, self.vmdk_dm = work, vmdk_dm
        self.images = work + "/images"
        self.counts = collections.Counter()
        self.kinds = set()  # (mode, call) of what was hit
        self.clean = self.state()
        self.sums = self.image_facts()

    def image_facts(self):
        facts = {}
        for directory, _, files in os.walk(self.images):
            for name in files:
                status = os.stat(os.path.join(directory, name))
                facts[directory, name] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return facts

    def state(self):
        """Everything that a command could leave behind, one line each."""
        lines = [f"device {name}" for name in mapped_devices()]
        lines += [f"node {path}" for path in glob.glob("/dev/mapper/*")]
        lines += [f"array {path}" for path in glob.glob("/sys/block/md*") if read(path + "/md/array_state") != "clear"]
        lines += [f"run {path}" for path in glob.glob("/run/vmdk-dm/*") + glob.glob("/run/vmdk-dm/.[!.]*")]
        lines += [f"loop {held}" for held in map(read, glob.glob("/sys/block/loop*/loop/backing_file")) if held]
        lines += [f"mount {line.split()[4]}" for line in read("/proc/self/mountinfo").splitlines()]
        lines += [f"semaphore {line.split()[0]}" for line in read("/proc/sysvipc/sem").splitlines()[1:]]
        lines += [f"process {path}" for path in glob.glob("/proc/[0-9]*/comm") if read(path) == "vmdk-dm"]
        lines += [f"file {path}" for path in glob.glob(self.work + "/.[!.]*") + glob.glob(self.work + "/results/.[!.]*")]
        return sorted(lines)

    def wait_for(self, wanted):
        deadline = time.monotonic() + PATIENCE
        while True:
            left = wanted()
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.01)

    def left(self):
        before = collections.Counter(self.clean)
        return sorted((collections.Counter(self.state()) - before).elements())

    def run(self, words, strace=()):
        done = subprocess.run([*strace, self.vmdk_dm, *words], stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              timeout=300, cwd=self.work)
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def must(self, words):
        status, out, err = self.run(words)
        if status != 0:
            raise Failure(f"exit status {status} of vmdk-dm {' '.join(words)}: {err}{out}")
        return err

    def prepare(self, scenario):
        for path, copy in scenario.get("files", {}).items():
            shutil.copyfile(copy, path)
        for path in scenario.get("whole", {}):
            if os.path.exists(path):
                os.unlink(path)
        for words in scenario.get("before", []):
            self.must(words)

    def compare(self, scenario):
        for device, disk in scenario.get("compare", {}).items():
            with open(device, "rb") as one, open(disk, "rb") as two:
                if one.read() != two.read():
                    raise Failure(f"{device} is not {disk}")

    def recover(self, scenario):
        """What was hit can be gone on with, and then nothing is left."""
        for number, step in enumerate(scenario["after"]):
            if isinstance(step[0], list):
                said = []
                for words in step:
                    status, out, err = self.run(words)
                    said.append(f"{status} of vmdk-dm {' '.join(words)}: {err}{out}")
                    if status == 0:
                        break
                else:
                    raise Failure("none of these works: " + "; ".join(said))
            else:
                self.must(step)
            if number == 0:
                self.compare(scenario)
        for path, copy in scenario.get("whole", {}).items():
            if os.path.exists(path):
                with open(path, "rb") as one, open(copy, "rb") as two:
                    if one.read() != two.read():
                        raise Failure(f"{path} is not whole")
        left = self.wait_for(self.left)
        if left:
            raise Failure("left at last: " + ", ".join(left))
        if self.image_facts() != self.sums:
            raise Failure("an image file has changed")

    def calls(self, scenario):
        """(call, its number among those of the same name) of the first process, in order; and it goes well."""
        self.prepare(scenario)
        scenario["state"] = collections.Counter(self.state())
        log = self.work + "/strace"
        status, out, err = self.run(scenario["command"], ["strace", "-f", "-o", log, "-e", "trace=" + ",".join(ERRORS)])
        if status != 0:
            raise Failure(f"exit status {status} without any fault: {err}{out}")
        self.recover(scenario)
        found, numbers, first = [], collections.Counter(), None
        for line in open(log, encoding="utf-8", errors="replace"):
            match = CALL.match(line)
            if not match:
                continue
            process, call, rest = match.groups()
            first = first or process
            if process != first:
                continue
            numbers[call] += 1
            if call in ("openat", "mmap") and not OPENED.search(rest):
                continue
            if call == "write" and rest.startswith("2,"):
                continue
            if call != "execve":
                found.append((call, numbers[call]))
        return found

    def hit(self, scenario, mode, call, number):
        self.prepare(scenario)
        log = self.work + "/strace"
        follow = ["-f"] if mode == "kill-all" else []
        what = f"error={ERRORS[call]}" if mode == "fail" else "signal=SIGKILL"
        status, out, err = self.run(scenario["command"], ["strace", *follow, "-o", log, "-e", "trace=" + call, "-e",
                                                          f"inject={call}:{what}:when={number}"])
        with open(log, encoding="utf-8", errors="replace") as file:
            hits = len(INJECTED.findall(file.read()))
        self.counts[mode] += hits
        if mode == "fail" and hits:
            self.judge_failure(scenario, status, out, err)
        self.recover(scenario)

    def judge_failure(self, scenario, status, out, err):
        if status < 0 or status > 8:
            raise Failure(f"it died: {status}: {err}")
        if status == 0:
            self.counts["done without"] += 1
            return
        self.counts["refused"] += 1
        if out and not scenario.get("changes"):
            raise Failure(f"it failed, but printed {out}")
        if not err.strip():
            raise Failure("it failed and said nothing")
        # What cannot be printed has been done, and is said to stay.
        if scenario.get("changes") or "cannot write to standard output" in err:
            return
        wanted = self.state_before_hit(scenario)
        left = self.wait_for(lambda: sorted((collections.Counter(self.state()) - wanted).elements()))
        if left:
            raise Failure(f"left by a command that failed: {', '.join(left)}; it said: {err}")

    def state_before_hit(self, scenario):
        """What the commands before it make is there."""
        return scenario["state"]

    def run_scenario(self, scenario, stride, shift):
        started, before = time.monotonic(), collections.Counter(self.counts)
        calls = self.calls(scenario)
        for mode in scenario["modes"]:
            step = stride * scenario.get("every", 1) * (3 if mode == "kill-all" else 1)
            chosen = calls[shift % min(step, len(calls))::step]
            # Whatever the stride leaves out, each kind of call is hit somewhere.
            for call in calls:
                kind = mode, call[0]
                if mode != "kill-all" and kind not in self.kinds | {(mode, name) for name, _ in chosen}:
                    chosen.append(call)
            for call, number in chosen:
                if mode == "fail" and (ERRORS[call] is None or call == "mmap"):
                    continue
                self.kinds.add((mode, call))
                try:
                    self.hit(scenario, mode, call, number)
                except Failure as failure:
                    sys.exit(f"{scenario['name']}: {mode} at {call} number {number}: {failure}")
        done = ", ".join(f"{count - before[what]} {what}" for what, count in sorted(self.counts.items())
                         if count > before[what])
        print(f"  {scenario['name']}: {len(calls)} calls; {done}; {time.monotonic() - started:.0f} s", flush=True)


def main():
    scenarios, work, vmdk_dm, stride, shift = sys.argv[1:]
    with open(scenarios, encoding="utf-8") as file:
        scenarios = json.load(file)
    test = Test(work, vmdk_dm)
    for number, scenario in enumerate(scenarios):
        try:
            test.run_scenario(scenario, int(stride), int(shift) + number)
        except Failure as failure:
            sys.exit(f"{scenario['name']}: {failure}")
    print(f"  in all: {test.counts['kill'] + test.counts['kill-all']} kills, {test.counts['fail']} calls that failed"
          f" ({test.counts['refused']} of them ended the command), of {len({call for _, call in test.kinds})} kinds")


if __name__ == "__main__":
    main()
