#!/usr/bin/env python3
"""The Debian packages on a fresh Debian: installed, a disk in vmdktab and fstab, one reboot; then purged, and another one.

    tests/boot/packages.py TEST BUILD

It boots what tests/package/make-machine makes.
"""

import pathlib
import shutil
import sys

from machine import PROJECT, Failure, boot, file_of, main, must_be_clean, run
from root_in_vmdk import expect


class Machine:
    """A disk that is one ext4 file system, and what is booted with it."""

    def __init__(self, work):
        made = pathlib.Path(run(PROJECT / "tests/package/make-machine").splitlines()[-1])
        self.kernel = made / "vmlinuz"
        self.initrd = None
        self.work = work
        self.disk = work / "root.ext4"
        shutil.copyfile(made / "root.ext4", self.disk)

    def step(self, name):
        """Boots and does a step of tests/package/steps; all units must have worked, and the disk be clean in the end."""
        seen = boot(self, self.work, [self.disk], f"root=/dev/nvme0n1 rw quiet step={name}")
        if seen.one("failed"):
            raise Failure(f"units have failed in the step '{name}'\n{seen.proof}\n{seen.console[-6000:]}")
        must_be_clean(f"the root file system, after the step '{name}',", self.disk, 0)
        print(f"{name}: {seen.one('seconds')} s")
        return seen


def fresh(_, work):
    """One reboot after the installation the disk is there and mounted; after a purge there is nothing of it, and a boot."""
    machine = Machine(work)
    seen = machine.step("install")
    expect(seen.one("installed") == "0", "dpkg --install has failed", seen)

    seen = machine.step("use")
    expect(seen.one("mounted") == "/dev/mapper/data ext4", "the disk is not mounted after the reboot", seen)
    expect(seen.one("unit").strip() == "active exited", "vmdk-dm@data.service is not active", seen)
    expect(seen.one("wrote") == "hello", "the file system on the disk cannot be written to", seen)
    inner = file_of(machine.disk, "/srv/data-flat.vmdk", work / "data.raw", 0)
    must_be_clean("the file system in the image", inner, 0)

    seen = machine.step("purge")
    expect(seen.one("read") == "hello", "what was written is not there after another boot", seen)
    expect(seen.one("purged") == "0", "dpkg --purge has failed", seen)

    seen = machine.step("after")
    expect(seen.all("left") == [], "something is left after the purge", seen)


TESTS = {test.__name__: test for test in (fresh,)}

if __name__ == "__main__":
    main(TESTS, sys.argv)
