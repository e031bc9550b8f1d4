#!/usr/bin/env python3
"""Machines that boot from a root file system in a VMDK, with the initramfs of initramfs-tools.

    tests/boot/initramfs_tools.py TEST build/release

Each test makes the disks of a machine, boots it once or more, and judges from outside what it left behind.
"""

import sys

from machine import GUEST_UUID, Guest, boot, ext4_faults, hash_of, main, must_be_clean, text_in
from root_in_vmdk import expect, expect_root_on, flat_host, inner_disk

SHELL = "(initramfs) "  # its prompt
ROOT = f"root=UUID={GUEST_UUID} rw quiet"


def flat(build, work):
    """Writable in place: power-off and reboot leave both file systems clean; without our part in the shutdown they do not."""
    guest = Guest(build, initramfs="initramfs-tools")
    host = flat_host(guest, work)
    line = f"rd.vmdk=LABEL=host:/vm/root.vmdk:root:in-place,expose {ROOT}"

    first = boot(guest, work, [host], f"{line} prove=write,poweroff")
    expect_root_on(first, "/dev/mapper/root1")
    must_be_clean("the host's file system, after power-off,", host)
    inner = inner_disk(host, work)
    must_be_clean("the root file system, after power-off,", inner)
    expect(text_in(inner, "/marker").split() == [first.one("wrote")], "what the guest wrote is not in its image", first)

    second = boot(guest, work, [host], f"{line} prove=write,reboot")
    expect(second.all("marker") == [first.one("wrote")], "the second boot does not see what the first wrote", second)
    must_be_clean("the host's file system, after a reboot,", host)
    must_be_clean("the root file system, after a reboot,", inner_disk(host, work))

    # What says "clean" above must be able to say otherwise.
    third = boot(guest, work, [host], f"{line} prove=write,forget,poweroff")
    expect(len(third.all("marker")) == 2, "the third boot does not see what was written", third)
    expect(ext4_faults(host) != [], "without our part in the shutdown the host's file system is clean all the same", third)


def read_only(build, work):
    """A scratch overlay over a host that is never written; then no image, and one that is damaged: a shell, and why."""
    guest = Guest(build, initramfs="initramfs-tools")
    host = flat_host(guest, work)
    before = hash_of(host)
    first = boot(guest, work, [host], f"rd.vmdk=LABEL=host:/vm/root.vmdk:root:scratch,expose {ROOT} prove=write,poweroff")
    expect_root_on(first, "/dev/mapper/root1")
    expect(first.all("kept") == [], "something is kept for the shutdown, where there is nothing to do", first)
    expect(hash_of(host) == before, "the host's disk has changed", first)

    # An empty panic= undoes that of boot(), which lets no shell appear.
    nothing = boot(guest, work, [host], f"rd.vmdk=LABEL=host:/vm/none.vmdk:root:scratch,expose {ROOT} panic=", until=SHELL)
    expect("/vm/none.vmdk': No such file" in nothing.console, "the tool's message is not on the console",
           nothing)
    expect(hash_of(host) == before, "the host's disk has changed", nothing)


TESTS = {test.__name__: test for test in (flat, read_only)}

if __name__ == "__main__":
    main(TESTS, sys.argv)
