#!/usr/bin/env python3
"""What can be reached from here? Prints a line for everything that should be out of reach and is not.

    embedded_probe.py SECRET-FILE IMAGE-FILE PORT

Runs inside the embedded kernel, and once more in its sandbox without that kernel: what a kernel that was taken over could do.
"""
import os
import socket
import sys

secret, image, port = sys.argv[1], sys.argv[2], int(sys.argv[3])

for path in (secret, "/etc/shadow", "/etc/passwd", "/home", "/root"):
    if os.path.exists(path):
        print("file", path)
for address in (("127.0.0.1", port), ("192.0.2.1", 80)):
    with socket.socket() as connection:
        connection.settimeout(2)
        try:
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
print("probed")
