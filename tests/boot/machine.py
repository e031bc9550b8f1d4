"""Machines whose root file system lies in a VMDK: making their disks, booting them, and looking at what they left.

Disks are made without root: file systems by mke2fs from directories, and volumes of LVM and LUKS in the embedded kernel
(scripts/run-in-kernel). After a boot they are judged from outside, by the tools of e2fsprogs and not by what ran on them.
"""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PROJECT = pathlib.Path(__file__).resolve().parents[2]
MIB = 1 << 20
FIRST_PARTITION = MIB  # where every disk that is made here has it
EMERGENCY = "Press Enter for maintenance"  # of the shell for emergencies
GUEST_UUID = "6c6f6361-6c2d-766d-8c6f-63616c2d766d"


class Failure(Exception):
    """What a test says on its way out; the console of the last boot is shown with it."""


def run(*command, **options):
    """Runs a command, which must succeed; gives its standard output."""
    result = subprocess.run([str(word) for word in command], text=True, errors="replace", stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if result.returncode != 0:
        raise Failure(f"exit status {result.returncode} of: {' '.join(map(str, command))}\n{result.stdout}")
    return result.stdout


def status_of(*command):
    result = subprocess.run([str(word) for word in command], text=True, errors="replace", stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return result.returncode, result.stdout


class Guest:
    """Kernel, initramfs and root file system (an ext4 of 320 MiB), see guest/make-guest."""

    def __init__(self, build, suite=None, initramfs="dracut"):
        options = ["--suite", suite] if suite else []
        made = subprocess.run([PROJECT / "tests/boot/guest/make-guest", *options, build],
                              text=True, stdout=subprocess.PIPE, check=True)
        directory = pathlib.Path(made.stdout.strip())
        self.kernel = directory / "vmlinuz"
        self.initrd = directory / f"initrd-{initramfs}"
        self.root = directory / "root.ext4"


# Making disks -----------------------------------------------------------------------------------------------------


def copy_into(disk, offset, file):
    """Copies a file into another at an offset; what is zero stays a hole."""
    block = MIB
    with open(file, "rb") as source, open(disk, "r+b") as target:
        position = offset
        while data := source.read(block):
            if data.strip(b"\0"):
                target.seek(position)
                target.write(data)
            position += len(data)


def partitioned(disk, content, kind="linux"):
    """A disk with a GPT and one partition, which holds a copy of the file `content`."""
    size = content.stat().st_size
    with open(disk, "wb") as file:
        file.truncate(FIRST_PARTITION + size + 2 * MIB)
    subprocess.run(["/usr/sbin/sfdisk", "--quiet", str(disk)], check=True, text=True,
                   input=f"label: gpt\nstart={FIRST_PARTITION // 512}, size={size // 512}, type={kind}\n",
                   stdout=subprocess.DEVNULL)
    copy_into(disk, FIRST_PARTITION, content)


def flat_image(descriptor, disk):
    """Makes the file `disk` (NAME-flat.vmdk, beside the descriptor) a monolithicFlat image."""
    write_descriptor(descriptor, "monolithicFlat", [(disk.stat().st_size // 512, f'FLAT "{disk.name}" 0')])


def split_image(descriptor, disk, size):
    """Cuts the file `disk` into extents of `size` bytes, and removes it."""
    extents = []
    total = disk.stat().st_size
    for number, start in enumerate(range(0, total, size), 1):
        length = min(size, total - start)
        name = f"{descriptor.stem}-f{number:03}.vmdk"
        with open(descriptor.parent / name, "wb") as file:
            file.truncate(length)
        with open(disk, "rb") as source, open(descriptor.parent / name, "r+b") as target:
            source.seek(start)
            for position in range(0, length, MIB):
                data = source.read(min(MIB, length - position))
                if data.strip(b"\0"):
                    target.seek(position)
                    target.write(data)
        extents.append((length // 512, f'FLAT "{name}" 0'))
    disk.unlink()
    write_descriptor(descriptor, "twoGbMaxExtentFlat", extents)


def write_descriptor(descriptor, create_type, extents):
    lines = "".join(f"RW {sectors} {rest}\n" for sectors, rest in extents)
    descriptor.write_text("# Disk DescriptorFile\nversion=1\nCID=6d646b31\nparentCID=ffffffff\n"
                          f'createType="{create_type}"\n{lines}')


def host_disk(disk, label, files, spare=64 * MIB):
    """A disk with one ext4 partition that holds the directory `files`, with room to spare."""
    used = sum(f.stat().st_blocks * 512 for f in files.rglob("*") if f.is_file())
    part = disk.with_suffix(".part")
    with open(part, "wb") as file:
        file.truncate((used * 11 // 10 + spare) // MIB * MIB)
    run("/usr/sbin/mke2fs", "-q", "-t", "ext4", "-L", label, "-d", files, part)
    partitioned(disk, part)
    part.unlink()


def in_kernel(script, *arguments, timeout=240):
    """Runs a bash script as root in the embedded kernel."""
    return run(PROJECT / "scripts/run-in-kernel", "--timeout", timeout, "--", "bash", "-euc", script, "bash", *arguments)


# Booting ----------------------------------------------------------------------------------------------------------


class Boot:
    """What one boot said: `console`, and the lines of guest/prove on the second serial line."""

    def __init__(self, console, proof):
        self.console = console
        self.proof = proof.replace("\r", "")

    def all(self, key):
        return [line[len(key) + 2:] for line in self.proof.splitlines() if line.startswith(f"{key}: ")]

    def one(self, key):
        values = self.all(key)
        if len(values) != 1:
            raise Failure(f"expected one line '{key}: ' of the guest, found {len(values)}\n{self.proof}\n{tail(self.console)}")
        return values[0]


def tail(text, lines=60):
    return "\n".join(text.splitlines()[-lines:])


def boot(guest, work, disks, command_line, timeout=1200, until=None):
    """Boots until the machine switches off, or, where `until` is given, until that stands on the console.

    Disks are files; changes stay. A guest without an initramfs has them on NVMe, which the kernel itself knows. The end of the time
    is a failure.
    """
    console, proof = work / "console", work / "proof"
    for file in (console, proof):
        file.write_bytes(b"")
    processor = run(PROJECT / "scripts/qemu-processor", guest.kernel).split()
    kind = "virtio-blk-pci" if guest.initrd else "nvme"
    drives = ["-initrd", str(guest.initrd)] if guest.initrd else []
    for number, disk in enumerate(disks):
        name = str(disk).replace(",", ",,")
        drives += ["-drive", f"file={name},format=raw,if=none,id=disk{number},cache=unsafe",
                   "-device", f"{kind},drive=disk{number},serial=disk{number}"]
    # On a busy machine the emulated timer may fail the check that the kernel makes of it, and the deadlines of systemd and
    # udev are short. What mitigates faults of real processors makes an emulated one a third slower.
    options = ("console=ttyS0 panic=-1 no_timer_check mitigations=off systemd.show_status=auto systemd.default_timeout_start_sec=600 "
               f"systemd.default_device_timeout_sec=600 udev.event_timeout=600 {command_line}")
    qemu = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", *processor, "-machine", "q35", "-m", "1024M", "-nodefaults",
         "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none", "-kernel", str(guest.kernel),
         "-append", options, "-serial", f"file:{console}", "-serial", f"file:{proof}",
         "-device", "virtio-rng-pci", *drives],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        ended = wait_for(qemu, console, timeout, until)
    finally:
        qemu.kill()
        qemu.wait()
    boot_was = Boot(console.read_text(errors="replace"), proof.read_text(errors="replace"))
    if not ended:
        what = f"'{until}' did not appear" if until else "the machine did not switch off"
        raise Failure(f"{what} within {timeout} seconds\n{tail(boot_was.console)}\n{boot_was.proof}")
    return boot_was


def wait_for(qemu, console, timeout, until):
    """Whether it came to the end that is wanted. Looks at the console a few times a second."""
    waited = 0.0
    while waited < timeout:
        try:
            ended = qemu.wait(0.3) == 0
        except subprocess.TimeoutExpired:
            ended = None
        said = console.read_text(errors="replace")
        if until is not None and until in said:
            return True
        if ended is not None:
            return ended and until is None
        if until is None and EMERGENCY in said:
            return False
        waited += 0.3
    return False


# Looking at what is left -------------------------------------------------------------------------------------------


def ext4_faults(disk, offset=FIRST_PARTITION):
    """What is wrong with an ext4 file system in a file at an offset, without changing it: a list, empty if it is clean."""
    place = f"{disk}?offset={offset}"
    header = run("/usr/sbin/dumpe2fs", "-h", place)
    faults = []
    if not re.search(r"^Filesystem state: +clean$", header, re.MULTILINE):
        faults.append("its state is not clean")
    if "needs_recovery" in header:
        faults.append("its journal needs recovery")
    status, said = status_of("/usr/sbin/e2fsck", "-fn", place)
    if status != 0:
        faults.append(f"e2fsck -fn has found errors (status {status}):\n{said}")
    return faults


def must_be_clean(what, disk, offset=FIRST_PARTITION):
    faults = ext4_faults(disk, offset)
    if faults:
        raise Failure(f"{what} was not unmounted cleanly: {'; '.join(faults)}")


def file_of(disk, path, target, offset=FIRST_PARTITION):
    """Takes a file out of the ext4 file system on a disk."""
    run("/usr/sbin/debugfs", "-R", f"dump {path} {target}", f"{disk}?offset={offset}")
    if not target.exists() or target.stat().st_size == 0:
        raise Failure(f"{path} is not on {disk}")
    return target


def directory_of(disk, path, target, offset=FIRST_PARTITION):
    """Takes a directory out of the ext4 file system on a disk."""
    target.mkdir()
    run("/usr/sbin/debugfs", "-R", f"rdump {path} {target}", f"{disk}?offset={offset}")
    return target / pathlib.Path(path).name


def text_in(disk, path, offset=FIRST_PARTITION):
    return run("/usr/sbin/debugfs", "-R", f"cat {path}", f"{disk}?offset={offset}").split("\n", 1)[-1]


def hash_of(file):
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# Running tests -----------------------------------------------------------------------------------------------------


def main(tests, argv):
    """`SCRIPT TEST BUILD`: runs one of the functions `tests`, which get a Guest maker, the tool and a directory."""
    if len(argv) != 3 or argv[1] not in tests:
        sys.exit(f"Usage: {argv[0]} TEST BUILD, where TEST is one of: {' '.join(tests)}")
    status, said = status_of(PROJECT / "scripts/install-dependencies", "vm", "embedded")
    if status != 0:
        print(said, end="")
        print(f"{argv[0]}: run-in-vm: the virtual machine needs the packages named above")
        sys.exit(77)
    build = pathlib.Path(argv[2]).resolve()
    work = pathlib.Path(tempfile.mkdtemp(prefix="vmdkdm-test-boot.", dir=os.environ.get("TMPDIR", "/tmp")))
    try:
        tests[argv[1]](build, work)
    except Failure as failure:
        sys.exit(f"FAILED: {failure}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{argv[1]}: passed")
