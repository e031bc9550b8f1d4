#!/usr/bin/env python3
"""Says what the system has and does about block devices, one line each, so that two moments can be compared.

    system_state.py IMAGES

Left out are mapped devices called vmdkdm-test-*, loops on files below the directory IMAGES, what udev and systemd know
of exactly these, and /dev/disk/by-vmdk. All else that appears, goes or changes shows.
"""
import glob
import os
import re
import subprocess
import sys

# Both disks of run-in-vm itself claim it: it leads to the one that had the last event.
SHARED_LINK = "nvme-QEMU_NVMe_Ctrl_vm"
# Counters of an array that is in use, and what a mapped device's last event was about.
PASSING = re.compile("E: (UDISKS_MD_MEMBER_EVENTS|UDISKS_MD_MEMBER_UPDATE_TIME|DM_ACTIVATION)=")


def main(images):
    ours = our_devices(images)
    lines = links(ours) + udev_database(ours) + units() + kernel_tables()
    print("\n".join(sorted(lines)))


def our_devices(images):
    ours = set()
    for path in glob.glob("/sys/block/dm-*/dm/name"):
        if read(path).startswith("vmdkdm-test-"):
            ours.add(path.split("/")[3])
    for path in glob.glob("/sys/block/loop*/loop/backing_file"):
        if read(path).startswith(images + "/"):
            ours.add(path.split("/")[3])
    return ours


def links(ours):
    """All links below /dev to block devices; of ours only those that they may have are left out."""
    found = []
    for directory, _, names in os.walk("/dev"):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path) or directory in ("/dev/disk/by-vmdk", "/dev/block", "/dev/char"):
                continue
            target = os.path.basename(os.path.realpath(path))
            if is_idle_loop(target) or name == SHARED_LINK:
                continue
            if target in ours and path.startswith("/dev/mapper/vmdkdm-test-"):
                continue
            found.append(f"link {path} -> {os.readlink(path)}")
    return found


def udev_database(ours):
    found = []
    text = subprocess.run(["udevadm", "info", "--export-db"], check=True, stdout=subprocess.PIPE).stdout.decode()
    for device in text.split("\n\n"):
        if "\nE: SUBSYSTEM=block" not in device:
            continue
        path = device.split("\n", 1)[0].removeprefix("P: ")
        name = os.path.basename(path)
        if name in ours or is_idle_loop(name):
            continue
        # DISKSEQ and USEC_INITIALIZED stay with a device; a device that was made anew shows by them.
        found += [f"udev {path} {in_order(line)}" for line in device.split("\n")[1:] if not PASSING.match(line)]
    return found


def in_order(line):
    """udev names the links of a device in any order."""
    key, equals, value = line.partition("DEVLINKS=")
    return key + equals + " ".join(sorted(value.split())) if equals else line


def is_idle_loop(name):
    """A loop that nobody uses. It stays, and which numbers have been used before says nothing."""
    return name.startswith("loop") and not os.path.exists(f"/sys/block/{name}/loop/backing_file")


def units():
    found = []
    text = subprocess.run(["systemctl", "list-units", "--all", "--full", "--plain", "--no-legend"],
                          check=True, stdout=subprocess.PIPE).stdout.decode()
    for line in text.splitlines():
        unit, load, active, sub = line.split()[:4]
        # There is a unit for each device, also for ours; and services run now and then by themselves.
        kind = unit.rsplit(".", 1)[-1]
        if kind in ("mount", "automount", "swap") or (
                kind != "device" and re.search("crypt|lvm|mdadm|mdmon|^md|raid|fsck", unit)):
            found.append(f"unit {unit} {load} {active} {sub}")
    return found


def kernel_tables():
    found = []
    for path in ("/proc/mounts", "/proc/swaps", "/proc/mdstat"):
        # The last two numbers of a swap are how much is used, and its priority; the first of these changes by itself.
        for line in read(path).splitlines():
            found.append(f"{path} {' '.join(line.split()[:3] if path == '/proc/swaps' else line.split())}")
    for path in glob.glob("/sys/block/dm-*/dm/name"):
        name = read(path)
        if not name.startswith("vmdkdm-test-"):
            found.append(f"mapped {name} {read(path.replace('/name', '/uuid'))} on "
                         f"{' '.join(sorted(os.listdir(path.replace('/dm/name', '/slaves'))))}")
    return found


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


main(*sys.argv[1:])
