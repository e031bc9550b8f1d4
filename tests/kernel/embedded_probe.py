#!/usr/bin/env python3
"""What can be reached from here? Prints a line for everything that should be out of reach and is not.

    embedded_probe.py SECRET-FILE IMAGE-FILE PORT [--inside | --sandbox | --outside]

Runs inside the embedded kernel, and once more in its sandbox without that kernel: what a kernel that was taken over could do.
"""
import ctypes
import os
import socket
import sys

secret, image, port = sys.argv[1], sys.argv[2], int(sys.argv[3])

for path in (secret, "/etc/shadow", "/etc/passwd", "/home", "/root"):
    if os.path.exists(path):
        print("file", path)
for address in (("127.0.0.1", port), ("192.0.2.1", 80)):
    try:
        with socket.socket() as connection:
            connection.settimeout(2)
            connection.connect(address)
            print("network", address)
    except OSError:
        pass
for interface in os.listdir("/sys/class/net") if os.path.isdir("/sys/class/net") else []:
    if interface != "lo":
        print("interface", interface)
for flags in (os.O_WRONLY, os.O_RDWR | os.O_TRUNC):
    try:
        os.close(os.open(image, flags))
        print("image writable")
    except OSError:
        pass
try:
    os.unlink(image)
    print("image removable")
except OSError:
    pass
for directory in ("/", "/usr", "/etc", os.path.dirname(image)):
    try:
        with open(os.path.join(directory, "vmdkdm-test"), "w"):
            pass
        if "--inside" not in sys.argv or os.path.dirname(image) == directory:
            print("writable", directory)
    except OSError:
        pass
for process in range(2, 65536 if "--sandbox" in sys.argv else 2):
    if process == os.getpid():
        continue
    try:
        os.kill(process, 0)
        print("process", process)
    except PermissionError:
        print("process", process)
    except OSError:
        pass
# What a command inside has of these is its own kernel's.
if "--inside" not in sys.argv:
    libc = ctypes.CDLL(None)
    # Standard streams, and in the place of the embedded kernel its lines.
    for descriptor in range(7 if "--sandbox" in sys.argv else 3, 1024):
        try:
            os.fstat(descriptor)
            print("descriptor", descriptor)
        except OSError:
            pass
    SESSION_KEYRING = -3
    KEYCTL_SEARCH = 10
    keyctl = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
    if libc.syscall(keyctl, KEYCTL_SEARCH, SESSION_KEYRING, b"user", b"vmdkdm-test", 0) >= 0:
        print("key vmdkdm-test")
    for name, family in (("packet", socket.AF_PACKET), ("netlink", socket.AF_NETLINK)):
        try:
            socket.socket(family, socket.SOCK_RAW).close()
            print("socket", name)
        except OSError:
            pass
    IO_URING_SETUP = 425
    if libc.syscall(IO_URING_SETUP, 1, ctypes.create_string_buffer(256)) >= 0:
        print("io_uring")
    CLONE_NEWUSER = 0x10000000
    child = os.fork()
    if child == 0:
        os._exit(0 if libc.unshare(CLONE_NEWUSER) == 0 else 1)
    if os.waitpid(child, 0)[1] == 0:
        print("user namespace")
print("probed")
