"""What vmdk-dm is compared with, each as its own documentation has it used, read-only.

A peer opens an image and gives the path from which its disk can be read. What it says when it will not is a result too.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

OURS = "vmdk-dm"
LOOP = "losetup"
BY_HAND = "losetup, dmsetup by hand"
CONVERT = "qemu-img convert, losetup"
NBD = "qemu-nbd"
NBDKIT = "nbdkit file, nbd-client"
VMDKMOUNT = "vmdkmount, losetup"
AFFUSE = "affuse, losetup"
XMOUNT = "xmount, losetup"
SECONDS_TO_OPEN = 120
MOST_BY_HAND = 100  # extents
NOT_RAW = "reads raw files only"


class Refused(Exception):
    """The peer does not give this disk; the text says why, in the peer's own words where it has any."""


def run(*command, seconds=SECONDS_TO_OPEN):
    """Returns the command's standard output."""
    words = list(map(str, command))
    try:
        # Without closing descriptors, which starts a process without copying this one.
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
                              close_fds=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Refused(f"{words[0]}: no answer within {seconds} s") from None
    except FileNotFoundError:
        raise Refused(f"{words[0]}: not installed") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()
        raise Refused(said[-1])
    return done.stdout


def wait_for(what, condition):
    deadline = time.monotonic() + SECONDS_TO_OPEN
    while not condition():
        if time.monotonic() > deadline:
            raise Refused(f"{what} did not come within {SECONDS_TO_OPEN} s")
        time.sleep(0.001)


class Peer:
    """`place` is a directory for what the peer needs to keep. close() undoes open(), also after a failure."""

    title = ""

    def __init__(self, place):
        self.place = Path(place)
        self.undo = []

    def open(self, image):
        raise NotImplementedError

    def close(self):
        failure = None
        while self.undo:
            try:
                self.undo.pop()()
            except Refused as refused:
                failure = failure or refused
        if failure:
            raise failure

    def later(self, *command):
        self.undo.append(lambda: run(*command))

    def loop(self, path):
        device = run(self.programs["losetup"], "--read-only", "--find", "--show", path).strip()
        self.later(self.programs["losetup"], "--detach", device)
        return device

    # Found beforehand: searching PATH is slow in the embedded kernel.
    programs = {name: shutil.which(name) or name for name in (
        "losetup", "dmsetup", "qemu-nbd", "qemu-img", "nbdkit", "nbd-client", "vmdkmount", "affuse", "xmount", "umount")}


class VmdkDm(Peer):
    title = OURS
    name = "vmdkdm-bench"

    def __init__(self, place, tool):
        super().__init__(place)
        self.tool = tool
        self.options = ["--cache-dir", self.place / "cache", "--name", self.name]

    def open(self, image):
        path = run(self.tool, "attach", *self.options, image.path).split()[0]
        self.later(self.tool, "detach", self.name)
        return path

    def forget(self):
        """The next open() inflates compressed grains anew."""
        shutil.rmtree(self.place / "cache", ignore_errors=True)


class Losetup(Peer):
    title = LOOP

    def open(self, image):
        if not image.in_raw_files:
            raise Refused(NOT_RAW)
        return self.loop(image.raw)


class ByHand(Peer):
    """A loop device for each extent and one linear table, as recipes for split raw images have it."""

    title = BY_HAND
    name = "vmdkdm-bench-by-hand"

    def open(self, image):
        if not image.flat_extents:
            raise Refused("knows flat extents only")
        if len(image.flat_extents) > MOST_BY_HAND:
            raise Refused(f"a process for each of {len(image.flat_extents):,} extents: not tried")
        lines, start = [], 0
        for extent in image.flat_extents:
            sectors = os.stat(extent).st_size // 512
            lines.append(f"{start} {sectors} linear {self.loop(extent)} 0\n")
            start += sectors
        table = self.place / "table"
        table.write_text("".join(lines))
        if not os.path.exists("/run/udev/control"):
            os.environ["DM_DISABLE_UDEV"] = "1"  # dmsetup then makes its node itself
        run(self.programs["dmsetup"], "create", "--readonly", self.name, table)
        self.later(self.programs["dmsetup"], "remove", self.name)
        return f"/dev/mapper/{self.name}"


class Convert(Peer):
    title = CONVERT

    def open(self, image):
        raw = self.place / "converted.raw"
        self.undo.append(lambda: raw.unlink(missing_ok=True))
        run(self.programs["qemu-img"], "convert", "-f", "vmdk", "-O", "raw", image.path, raw)
        return self.loop(raw)


class QemuNbd(Peer):
    title = NBD

    def open(self, image):
        device = free_nbd()
        run(self.programs["qemu-nbd"], "--read-only", "--format=vmdk", f"--connect={device}", image.path)
        self.undo.append(lambda: disconnect(device, self.programs["qemu-nbd"], "--disconnect", device))
        wait_for(device, lambda: size_of(device) > 0)
        return device


class Nbdkit(Peer):
    title = NBDKIT

    def open(self, image):
        if not image.in_raw_files:
            raise Refused(NOT_RAW)
        socket, pid = self.place / "nbdkit.socket", self.place / "nbdkit.pid"
        run(self.programs["nbdkit"], "--readonly", "--unix", socket, "--pidfile", pid, "file", image.raw)
        wait_for("nbdkit", lambda: pid.exists() and pid.read_text().strip())
        server = int(pid.read_text())
        pid.unlink()
        self.undo.append(lambda: end(server))
        self.undo.append(lambda: socket.unlink(missing_ok=True))
        device = free_nbd()
        run(self.programs["nbd-client"], "-unix", socket, device, "-readonly")
        self.undo.append(lambda: disconnect(device, self.programs["nbd-client"], "-d", device))
        wait_for(device, lambda: size_of(device) > 0)
        return device


class Fuse(Peer):
    """A process that shows the disk as a file, and a loop device over that."""

    def command(self, image, mounted):
        raise NotImplementedError

    def file(self, mounted, image):
        raise NotImplementedError

    def open(self, image):
        mounted = self.place / self.title.split(",")[0]
        mounted.mkdir(exist_ok=True)
        run(*self.command(image, mounted))
        wait_for(mounted, lambda: os.path.ismount(mounted))
        self.later(self.programs["umount"], mounted)
        return self.loop(self.file(mounted, image))


class Vmdkmount(Fuse):
    title = VMDKMOUNT

    def command(self, image, mounted):
        return self.programs["vmdkmount"], image.path, mounted

    def file(self, mounted, _):
        # One for each link, the base first.
        links = sorted(mounted.glob("vmdk*"), key=lambda path: int(path.name.removeprefix("vmdk")))
        if not links:
            raise Refused("shows no file")
        return links[-1]


class Affuse(Fuse):
    title = AFFUSE

    def command(self, image, mounted):
        return self.programs["affuse"], self.source(image), mounted

    @staticmethod
    def source(image):
        return image.raw if image.in_raw_files else image.path

    def file(self, mounted, image):
        return mounted / f"{self.source(image).name}.raw"


class Xmount(Fuse):
    title = XMOUNT

    def command(self, image, mounted):
        if not image.in_raw_files:
            raise Refused(NOT_RAW)  # xmount --info names what it reads
        return self.programs["xmount"], "--in", "raw", image.raw, "--out", "raw", mounted

    def file(self, mounted, image):
        return next(iter(sorted(mounted.glob("*.dd"))), mounted / "missing")


PEERS = (Losetup, ByHand, Convert, QemuNbd, Nbdkit, Vmdkmount, Affuse, Xmount)


# ---- devices and processes -------------------------------------------------------------------------------------------


def free_nbd():
    for name in sorted(os.listdir("/sys/block")):
        if name.startswith("nbd") and not os.path.exists(f"/sys/block/{name}/pid") and size_of(f"/dev/{name}") == 0:
            return f"/dev/{name}"
    raise Refused("this kernel has no free nbd device (modprobe nbd)")


def disconnect(device, *command):
    run(*command)
    wait_for(f"the end of {device}", lambda: not os.path.exists(f"/sys/block/{os.path.basename(device)}/pid"))


def size_of(device):
    return int(Path(f"/sys/block/{os.path.basename(device)}/size").read_text()) * 512


def end(process):
    try:
        os.kill(process, signal.SIGTERM)
        wait_for(f"the end of process {process}", lambda: not os.path.exists(f"/proc/{process}"))
    except ProcessLookupError:
        pass


def processes():
    return {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}


def resident(pids):
    """Bytes of their own, and their share of what they have in common with others."""
    total = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total
