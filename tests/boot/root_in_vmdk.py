#!/usr/bin/env python3
"""Machines that boot from a root file system in a VMDK, with the initramfs of dracut.

    tests/boot/root_in_vmdk.py TEST build/release

Each test makes the disks of a machine, boots it once or more, and judges from outside what it left behind.
"""

import sys

from machine import (FIRST_PARTITION, GUEST_UUID, MIB, Boot, Failure, Guest, boot, directory_of, ext4_faults, file_of,
                     flat_image, hash_of, host_disk, must_be_clean, partitioned, run, text_in)

QUIET = "quiet"


def expect(condition, message, seen):
    if not condition:
        raise Failure(f"{message}\n{seen.proof}\n{seen.console[-6000:]}" if isinstance(seen, Boot) else f"{message}: {seen}")


def expect_root_on(seen, device):
    expect(seen.one("root").split()[0] == device, f"the root file system is not on {device}", seen)
    expect(seen.one("failed") == "", "units have failed", seen)


def flat_host(guest, work, label="host", name="root"):
    """A host disk with /vm/NAME.vmdk, a flat image of a disk whose partition is the guest's root file system."""
    files = work / "files"
    (files / "vm").mkdir(parents=True)
    disk = files / "vm" / f"{name}-flat.vmdk"
    partitioned(disk, guest.root)
    flat_image(files / "vm" / f"{name}.vmdk", disk)
    host = work / "host.raw"
    host_disk(host, label, files)
    return host


def inner_disk(host, work, name="root"):
    """The flat image's disk as it is now."""
    return file_of(host, f"/vm/{name}-flat.vmdk", work / f"{name}-now.raw")


def flat(build, work):
    """Writable in place: power-off and reboot leave both file systems clean; without our part in the shutdown they do not."""
    guest = Guest(build)
    host = flat_host(guest, work)
    line = f"rd.vmdk=LABEL=host:/vm/root.vmdk:root:in-place,expose root=UUID={GUEST_UUID} rw {QUIET}"

    first = boot(guest, work, [host], f"{line} prove=write,poweroff")
    expect_root_on(first, "/dev/mapper/root1")
    expect(" rw," in first.one("host"), "the host's file system is not writable", first)
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


TESTS = {test.__name__: test for test in (flat,)}

if __name__ == "__main__":
    from machine import main
    main(TESTS, sys.argv)
