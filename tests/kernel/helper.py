#!/usr/bin/env python3
"""What the tests ask again and again, answered by one process that stays: starting a program takes 10 ms and more of the
processor in the embedded kernel, a python ten times that.

    helper.py NAME

A request on standard input is the number of its words and then the words; the answer on standard output is "yes" or "no",
and a text. Each word and each text ends with a NUL. NAME is the program under test.

    state                   what an attach could leave behind in the kernel, one line each
    remember DIRECTORY      names, kinds, sizes, times and content of all below it
    unchanged DIRECTORY     no: what has changed since then
    holds FILE EXPRESSION.. no: the file is not JSON, or which expression about it (d) is not true
    same FILE FILE          no: where these files or devices differ
    run SCRIPT ARGUMENT..   runs a Python script, and says what it prints; no: also why it ended
"""
import contextlib
import difflib
import fcntl
import gc
import glob
import io
import json
import os
import struct
import sys
import traceback
from hashlib import blake2b

DM_LIST_DEVICES = 0xC138FD02
DM_BUFFER_FULL_FLAG = 1 << 8
CHUNK = 256 << 10
remembered = {}
buffers = [bytearray(CHUNK), bytearray(CHUNK)]


def mapped_devices():
    """Names and numbers, straight from the kernel: a device without a table is nowhere in /sys."""
    size, start = 16 << 10, 312
    while True:
        buffer = bytearray(struct.pack("=IIIII", 4, 0, 0, size, start).ljust(size, b"\0"))
        with open("/dev/mapper/control", "rb") as control:
            fcntl.ioctl(control, DM_LIST_DEVICES, buffer)
        if not struct.unpack_from("=I", buffer, 28)[0] & DM_BUFFER_FULL_FLAG:
            break
        size *= 2
    at, names = start, []
    while device := struct.unpack_from("=Q", buffer, at)[0]:
        further = struct.unpack_from("=I", buffer, at + 8)[0]
        name = buffer[at + 12:buffer.index(0, at + 12)].decode()
        names.append(f"{name} {os.major(device)}:{os.minor(device)}")
        if further == 0:
            break
        at += further
    return names


def line_of(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().rstrip("\n")
    except OSError:
        return None


def state(program):
    lines = [f"device {name}" for name in mapped_devices()]
    lines += [f"node {path}" for path in glob.glob("/dev/mapper/*")]
    lines += [f"store {path}" for path in glob.glob("/run/vmdk-dm/*") + glob.glob("/run/vmdk-dm/.[!.]*")]
    for path in glob.glob("/sys/block/loop*/loop/backing_file"):
        file = line_of(path)
        if file is not None:
            lines.append(f"{path.split('/')[3]} holds {file}")
    with open("/proc/sysvipc/sem", encoding="ascii") as file:
        lines += [f"semaphore {line.split()[0]}" for line in file.readlines()[1:]]
    lines += [f"process {path}" for path in glob.glob("/proc/[0-9]*/comm") if line_of(path) == program[:15]]
    return True, "\n".join(sorted(lines))


def digest(path):
    sums = blake2b()
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffers[0]):
            sums.update(memoryview(buffers[0])[:count])
    return sums.hexdigest()


def facts(directory):
    lines = []
    for path, directories, files in os.walk(directory):
        for name in ["."] * (path == directory) + directories + files:
            name = os.path.join(path, name)
            status = os.lstat(name)
            regular = os.path.isfile(name) and not os.path.islink(name)
            lines.append(f"{name} {status.st_mode:o} {status.st_size} {status.st_mtime_ns} "
                         f"{digest(name) if regular else ''}")
    return sorted(lines)


def remember(directory):
    remembered[directory] = facts(directory)
    return True, ""


def unchanged(directory):
    lines = list(difflib.unified_diff(remembered[directory], facts(directory), "before", "now", lineterm="", n=0))
    return not lines, "\n".join(lines)


def holds(path, *expressions):
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    for expression in expressions:
        if not eval(expression, {"d": document}):  # pylint: disable=eval-used
            return False, f"not so: {expression}"
    return True, ""


def fill(file, buffer):
    """As much as there is: a device may give less than is asked for."""
    view, count = memoryview(buffer), 0
    while count < len(buffer):
        more = file.readinto(view[count:])
        if not more:
            break
        count += more
    return count


def same(one, other):
    with open(one, "rb", buffering=0) as first, open(other, "rb", buffering=0) as second:
        at = 0
        while True:
            counts = fill(first, buffers[0]), fill(second, buffers[1])
            count = min(counts)
            if buffers[0][:count] != buffers[1][:count]:
                place = next(n for n in range(count) if buffers[0][n] != buffers[1][n])
                return False, f"they differ at byte {at + place}"
            if counts[0] != counts[1]:
                return False, f"one ends at byte {at + count}"
            if count < CHUNK:
                return True, ""
            at += count


def open_descriptors():
    """But for the one that looks, whose number the next file gets."""
    return {int(fd) for fd in os.listdir("/proc/self/fd") if os.path.lexists("/proc/self/fd/" + fd)}


def run(script, *arguments):
    """In this process, whose libraries are there already. What it imports from its own directory stays, too."""
    open_before = open_descriptors()
    directory = os.path.dirname(script)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    sys.argv = [script, *arguments]
    with open(script, "rb") as file:
        code = compile(file.read(), script, "exec")
    good, printed = True, io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(code, {"__name__": "__main__", "__file__": script})  # pylint: disable=exec-used
    except SystemExit as end:
        good = end.code in (None, 0)
        printed.write(str(end.code or ""))
    except Exception:  # pylint: disable=broad-except
        good = False
        printed.write(traceback.format_exc())
    # A script that ends leaves nothing open; here its files must be closed.
    gc.collect()
    for fd in open_descriptors() - open_before:
        os.close(fd)
    return good, printed.getvalue()


def words():
    """One word after the other, past any buffer of Python's that would hold back what has come."""
    held = b""
    while block := os.read(0, 65536):
        *whole, held = (held + block).split(b"\0")
        for word in whole:
            yield os.fsdecode(word)


def main():
    program = sys.argv[1]
    # Nothing may be in use because this process is there, and what a script prints belongs to the test.
    os.chdir("/")
    answers = os.dup(1)
    os.dup2(2, 1)
    verbs = {"state": lambda: state(program), "remember": remember, "unchanged": unchanged, "holds": holds, "same": same,
             "run": run}
    source = words()
    for count in source:
        verb, *arguments = [next(source) for _ in range(int(count))]
        try:
            good, text = verbs[verb](*arguments)
        except Exception as error:  # pylint: disable=broad-except
            good, text = False, f"{type(error).__name__}: {error}"
        answer = f"{'yes' if good else 'no'}\0{text}\0".encode(errors="surrogateescape").replace(b"\0\0", b"\0 \0")
        while answer:
            answer = answer[os.write(answers, answer):]


if __name__ == "__main__":
    main()
