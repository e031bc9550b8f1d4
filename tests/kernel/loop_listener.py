#!/usr/bin/env python3
"""Listens to the kernel's events of loop devices and to what udevd tells everybody of them.

    loop_listener.py FILE

Writes "listening" to FILE when it does, and what it has heard when it gets SIGTERM, one event a line: who ("kernel" or
"udev"), the number of the event, action, device, and of udev's whether it has our mark ("marked" or "unmarked") and the
type of the file system that was found ("-" for none).
"""
import os
import signal
import socket
import struct
import sys

NETLINK_KOBJECT_UEVENT = 15
SO_RCVBUFFORCE = 33
KERNEL, UDEV = 1, 2


def listen(group):
    heard = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT)
    heard.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    heard.bind((0, group))
    heard.setblocking(False)
    return heard


def properties(message):
    if message.startswith(b"libudev\0"):
        offset, length = struct.unpack_from("=II", message, 16)
        message = message[offset:offset + length]
    return dict(line.split("=", 1) for line in message.decode(errors="replace").split("\0") if "=" in line)


def events(heard, who):
    while True:
        try:
            event = properties(heard.recv(65536))
        except BlockingIOError:
            return
        device = os.path.basename(event["DEVPATH"])
        if event.get("SUBSYSTEM") != "block" or not device.startswith("loop"):
            continue
        line = [who, event["SEQNUM"], event["ACTION"], device]
        if who == "udev":
            line += ["marked" if event.get("UDISKS_IGNORE") == "1" else "unmarked", event.get("ID_FS_TYPE", "-")]
        yield " ".join(line)


def main(path):
    kernel, udev = listen(KERNEL), listen(UDEV)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    with open(path, "w", encoding="ascii") as file:
        print("listening", file=file, flush=True)
        signal.sigwait([signal.SIGTERM])
        # What udevd has passed on by now; the kernel's are there at once.
        for line in [*events(udev, "udev"), *events(kernel, "kernel")]:
            print(line, file=file)


main(*sys.argv[1:])
