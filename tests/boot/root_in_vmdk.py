#!/usr/bin/env python3
"""Machines that boot from a root file system in a VMDK, with the initramfs of dracut.

    tests/boot/root_in_vmdk.py TEST build/release

Each test makes the disks of a machine, boots it once or more, and judges from outside what it left behind.
"""

import shutil
import sys

from machine import (EMERGENCY, FIRST_PARTITION, GUEST_UUID, MIB, PROJECT, Boot, Failure, Guest, boot, directory_of,
                     ext4_faults, file_of, flat_image, hash_of, host_disk, in_kernel, main, must_be_clean, partitioned, run,
                     split_image, text_in)

QUIET = "quiet"


def expect(condition, message, seen):
    if not condition:
        raise Failure(f"{message}\n{seen.proof}\n{seen.console[-6000:]}" if isinstance(seen, Boot) else f"{message}: {seen}")


def expect_root_on(seen, device):
    expect(seen.one("root").split()[0] == device, f"the root file system is not on {device}", seen)
    # The guests' table has an entry whose host is there in one test only (guest/vmdktab); elsewhere its unit fails, sooner or later.
    absent = "" if device.startswith("/dev/mapper/tabled") else "vmdk-dm@tabled.service"
    failed = [unit.split()[0] for unit in seen.one("failed").split(";") if unit]
    expect([unit for unit in failed if unit != absent] == [], "units have failed", seen)


def flat_host(guest, work):
    """A host disk with /vm/root.vmdk, a flat image of a disk whose partition is the guest's root file system."""
    files = work / "files"
    (files / "vm").mkdir(parents=True)
    disk = files / "vm" / "root-flat.vmdk"
    partitioned(disk, guest.root)
    flat_image(files / "vm" / "root.vmdk", disk)
    host = work / "host.raw"
    host_disk(host, "host", files)
    return host


def inner_disk(host, work):
    """The flat image's disk as it is now."""
    return file_of(host, "/vm/root-flat.vmdk", work / "root-now.raw")


def flat(build, work):
    """Writable in place: power-off leaves both file systems clean (reboot: see lvm); without our part in the shutdown they are not."""
    writable_in_place(Guest(build), work)


def writable_in_place(guest, work):
    host = flat_host(guest, work)
    line = f"rd.vmdk=LABEL=host:/vm/root.vmdk:root:in-place,expose root=UUID={GUEST_UUID} rw {QUIET}"

    first = boot(guest, work, [host], f"{line} prove=write,poweroff")
    expect_root_on(first, "/dev/mapper/root1")
    expect(" rw," in first.one("host"), "the host's file system is not writable", first)
    must_be_clean("the host's file system, after power-off,", host)
    inner = inner_disk(host, work)
    must_be_clean("the root file system, after power-off,", inner)
    expect(text_in(inner, "/marker").split() == [first.one("wrote")], "what the guest wrote is not in its image", first)

    # What says "clean" above must be able to say otherwise.
    second = boot(guest, work, [host], f"{line} prove=write,forget,reboot")
    expect(second.all("marker") == [first.one("wrote")], "the second boot does not see what the first wrote", second)
    expect(ext4_faults(host) != [], "without our part in the shutdown the host's file system is clean all the same", second)


def dracut_ng(build, work):
    """The same by dracut-ng, that of Debian 13. Not part of the suite, as all of its packages are fetched for it alone."""
    writable_in_place(Guest(build, suite="trixie"), work)


def chain(build, work):
    """An entry of the table that is embedded in the initramfs (see guest/vmdktab): a sparse child over a flat parent, on a scratch
    overlay over a host that is mounted read-only: no byte of it changes."""
    guest = Guest(build)
    files = work / "files"
    vm = files / "vm"
    vm.mkdir(parents=True)
    partitioned(vm / "base-flat.vmdk", guest.root)
    flat_image(vm / "base.vmdk", vm / "base-flat.vmdk")
    # What the child has is not what its parent has: the marker, and the journal's name for the file system's state.
    child = work / "child.raw"
    shutil.copyfile(vm / "base-flat.vmdk", child)
    put_text(child, "/marker", "of the child\n")
    run("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", "base.vmdk", vm / "tabled.vmdk", cwd=vm)
    write_differences(vm / "base-flat.vmdk", child, vm / "tabled.vmdk")
    host = work / "host.raw"
    host_disk(host, "tabled-host", files)
    before = hash_of(host)

    seen = boot(guest, work, [host], f"root=/dev/mapper/tabled1 rw {QUIET} prove=write,poweroff")
    expect_root_on(seen, "/dev/mapper/tabled1")
    expect(seen.all("marker") == ["of the child"], "the root file system is not that of the child", seen)
    expect(" ro," in seen.one("host") and not seen.all("kept"), "the host's file system is not left alone", seen)
    seen.one("wrote")
    expect(hash_of(host) == before, "the host's disk has changed", seen)


def overlay(build, work):
    """Writes go to a file on the host and are there at the next boot; the image does not change, and both ends are clean."""
    guest = Guest(build)
    host = flat_host(guest, work)
    before = hash_of(inner_disk(host, work))
    line = f"rd.vmdk=LABEL=host:/vm/root.vmdk:root:overlay=/root.overlay,expose root=UUID={GUEST_UUID} rw {QUIET}"
    first = boot(guest, work, [host], f"{line} prove=write,poweroff")
    expect_root_on(first, "/dev/mapper/root1")
    must_be_clean("the host's file system", host)
    second = boot(guest, work, [host], f"{line} prove=write,reboot")
    expect(second.all("marker") == [first.one("wrote")], "the second boot does not see what the first wrote", second)
    must_be_clean("the host's file system", host)
    expect(hash_of(inner_disk(host, work)) == before, "the image has changed", second)
    vm = directory_of(host, "/", work / "taken") / "vm"
    whole = work / "whole.raw"
    run(tool(build), "compact", "--accept-touched", "--overlay", vm.parent / "root.overlay", vm / "root.vmdk", whole)
    must_be_clean("the root file system on the overlay", whole)


def lvm(build, work):
    """A logical volume on a disk in split extents, writable in place; a reboot leaves both file systems clean."""
    guest = Guest(build)
    disk = made_in_kernel(work, guest, LVM_VOLUME)
    host = split_host(work, disk)
    line = f"rd.vmdk=LABEL=host:/vm/root.vmdk:root:in-place,expose rd.lvm.lv=guestvg/root root=/dev/guestvg/root rw {QUIET}"
    seen = boot(guest, work, [host], f"{line} prove=write,reboot")
    expect_root_on(seen, "/dev/mapper/guestvg-root")
    must_be_clean("the host's file system, after a reboot,", host)
    check_in_kernel(build, host, work, CHECK_LVM)


def luks(build, work):
    """A LUKS container, with a key in the initramfs, writable in place."""
    guest = Guest(build)
    disk = made_in_kernel(work, guest, LUKS_CONTAINER)
    host = split_host(work, disk)
    name = f"rd.luks.name={LUKS_UUID}=cryptroot rd.luks.key={LUKS_UUID}=/etc/keys/guest.key"
    line = f"rd.vmdk=LABEL=host:/vm/root.vmdk:root:in-place,expose {name} root=/dev/mapper/cryptroot rw {QUIET}"
    seen = boot(guest, work, [host], f"{line} prove=write,poweroff")
    expect_root_on(seen, "/dev/mapper/cryptroot")
    must_be_clean("the host's file system", host)
    check_in_kernel(build, host, work, CHECK_LUKS)


def emergency(build, work):
    """Missing and damaged images, and a missing host: the shell for emergencies, with what the tool says on the console."""
    guest = Guest(build)
    files = work / "files"
    (files / "vm").mkdir(parents=True)
    damaged = files / "vm" / "damaged.vmdk"
    run("qemu-img", "create", "-q", "-f", "vmdk", damaged, "64M")
    with open(damaged, "r+b") as file:
        file.write(b"XXXX")
    host = work / "host.raw"
    host_disk(host, "host", files)
    before = hash_of(host)
    words = ["rd.vmdk=LABEL=host:/vm/missing.vmdk:web:scratch", "rd.vmdk=LABEL=host:/vm/damaged.vmdk:mail",
             "rd.vmdk=LABEL=elsewhere:/vm/root.vmdk:root"]
    seen = boot(guest, work, [host], f"{' '.join(words)} root=UUID={GUEST_UUID} rw {QUIET}", until=EMERGENCY)
    expect_on_console(seen, f"vmdk-dm: 'web' is not attached ({words[0]}):\n", "/vm/missing.vmdk'", "No such file or directory",
                      f"vmdk-dm: 'mail' is not attached ({words[1]}):\n", "/vm/damaged.vmdk'",
                      f"vmdk-dm: 'root' is not attached: /dev/disk/by-label/elsewhere has not appeared ({words[2]})\n")
    expect(hash_of(host) == before, "the host's disk has changed", seen)

    # No image fails here, so that only the end of the time leads to the shell.
    seen = boot(guest, work, [host], f"{words[2]} rd.retry=10 root=UUID={GUEST_UUID} rw {QUIET}", until=EMERGENCY)
    expect_on_console(seen, f"vmdk-dm: 'root' is not attached: /dev/disk/by-label/elsewhere has not appeared ({words[2]})\n")


# Helpers ----------------------------------------------------------------------------------------------------------


def tool(build):
    return build / "vmdk-dm"


def expect_on_console(seen, *texts):
    console = seen.console.replace("\r", "")
    for text in texts:
        expect(text in console, f"the console does not show: {text}", seen)


def put_text(disk, path, text):
    """Writes a file into the ext4 file system on a disk."""
    file = disk.with_suffix(".text")
    file.write_text(text)
    run("/usr/sbin/debugfs", "-w", "-R", f"write {file} {path}", f"{disk}?offset={FIRST_PARTITION}")
    file.unlink()


def write_differences(base, changed, image):
    """Writes into the image, whose parent has the bytes of `base`, what is different in `changed`."""
    writes = []
    with open(base, "rb") as old, open(changed, "rb") as new:
        position = 0
        while block := new.read(65536):
            if block != old.read(65536):
                part = image.parent / f"difference-{position}"
                part.write_bytes(block)
                writes += ["-c", f"write -s {part} {position} {len(block)}"]
            position += 65536
    if not writes:
        raise Failure("there is no difference to write")
    run("qemu-io", "-f", "vmdk", *writes, image)
    for part in image.parent.glob("difference-*"):
        part.unlink()


def split_host(work, disk):
    files = work / "files"
    (files / "vm").mkdir(parents=True)
    split_image(files / "vm" / "root.vmdk", disk, 150 * MIB)
    host = work / "host.raw"
    host_disk(host, "host", files)
    return host


KEY = PROJECT / "tests/boot/guest/key"
LUKS_UUID = "5d3c1f0e-7c1b-4b7e-9d54-0a1b2c3d4e5f"

# Each is given a disk with one large partition, on a loop device, and the root file system to put there.
LVM_VOLUME = """
    pvcreate -q "$2"
    vgcreate -q guestvg "$2"
    lvcreate -q -y -W n -L 320M -n root guestvg
    vgmknodes
    dd if="$3" of=/dev/guestvg/root bs=1M conv=sparse
    vgchange -q -a n guestvg
"""
LUKS_CONTAINER = f"""
    cryptsetup luksFormat --batch-mode --uuid {LUKS_UUID} --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file "$4" "$2"
    cryptsetup open --key-file "$4" "$2" cryptroot
    dd if="$3" of=/dev/mapper/cryptroot bs=1M
    cryptsetup close cryptroot
"""
# Each brings up its volume on the loop device $2, read-only, and calls check.
CHECK_LVM = """
    vgchange -q -a y guestvg
    vgmknodes
    check /dev/guestvg/root
    vgchange -q -a n guestvg
"""
CHECK_LUKS = """
    cryptsetup open --readonly --key-file "$4" "$2" cryptroot
    check /dev/mapper/cryptroot
    cryptsetup close cryptroot
"""
IN_KERNEL = r"""
    export DM_DISABLE_UDEV=1 LVM_SUPPRESS_FD_WARNINGS=1
    configuration='devices { filter=["a|^/dev/loop|","r|.*|"] obtain_device_list_from_udev=0 use_devicesfile=0 } activation { udev_sync=0 udev_rules=0 }'
    for name in pvcreate vgcreate lvcreate vgchange vgmknodes; do
        eval "$name() { command $name --config \"\$configuration\" \"\$@\"; }"
    done
    check() {
        dumpe2fs -h "$1" >/tmp/header.$$ 2>/dev/null
        grep -q '^Filesystem state: *clean$' /tmp/header.$$ || { echo 'the root file system is not clean'; exit 1; }
        ! grep -q needs_recovery /tmp/header.$$ || { echo 'the journal of the root file system needs recovery'; exit 1; }
        rm /tmp/header.$$
        e2fsck -fn "$1"
    }
"""


def made_in_kernel(work, guest, script):
    """A disk with one partition, in which the script puts the guest's root file system."""
    empty = work / "empty"
    with open(empty, "wb") as file:
        file.truncate(guest.root.stat().st_size + 24 * MIB)
    disk = work / "disk.raw"
    partitioned(disk, empty)
    run_on_loop(script, disk, guest.root)
    return disk


def check_in_kernel(build, host, work, script):
    vm = directory_of(host, "/vm", work / "taken")
    whole = work / "whole.raw"
    run(tool(build), "compact", vm / "root.vmdk", whole)
    run_on_loop(script, whole, "-")


def run_on_loop(script, disk, root):
    size = disk.stat().st_size - FIRST_PARTITION - 2 * MIB
    loop = f'loop=$(losetup --find --show --offset {FIRST_PARTITION} --sizelimit {size} "$1")\n'
    body = script.replace('"$2"', '"$loop"')
    in_kernel(f"{IN_KERNEL}\n{loop}{body}\nlosetup --detach \"$loop\"", disk, "-", root, KEY)


TESTS = {test.__name__: test for test in (flat, dracut_ng, chain, overlay, lvm, luks, emergency)}

if __name__ == "__main__":
    main(TESTS, sys.argv)
