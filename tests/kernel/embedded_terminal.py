#!/usr/bin/env python3
"""A terminal with somebody at it: runs vmdk-dm shell in a pseudo-terminal, types, and says what it saw.

    embedded_terminal.py VMDK-DM IMAGE

Fails when something does not come within its time. The steps are those of a session: a prompt, a command, Ctrl-C, job
control, another window size, the shell's exit status.
"""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

vmdk_dm, image = sys.argv[1:]


class Session:
    def __init__(self):
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.execv(vmdk_dm, [vmdk_dm, "shell", image])
        self.resize(24, 80)
        self.seen = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.terminal, text.encode())

    def read_until(self, wanted, seconds=60):
        """Reads until the text has come; gives back all up to its end."""
        wanted = wanted.encode()
        deadline = time.monotonic() + seconds
        while wanted not in self.seen:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.terminal], [], [], left)[0]:
                sys.exit(f"FAIL: no {wanted!r} within {seconds} s; seen: {self.seen!r}")
            try:
                self.seen += os.read(self.terminal, 65536)
            except OSError:
                sys.exit(f"FAIL: it ended before {wanted!r}; seen: {self.seen!r}")
        end = self.seen.index(wanted) + len(wanted)
        text, self.seen = self.seen[:end], self.seen[end:]
        return text.decode(errors="replace")

    def status(self):
        while True:
            try:
                if not os.read(self.terminal, 65536):
                    break
            except OSError:
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def check(what, condition, seen=""):
    if not condition:
        sys.exit(f"FAIL: {what}; seen: {seen!r}")
    print("-", what)


PROMPT = "# "
session = Session()
greeting = session.read_until("read-only] ") + session.read_until(PROMPT)
check("the greeting says in two lines where disk and file systems are",
      "/dev/mapper/web" in greeting and "/mnt/web" in greeting and greeting.count("\n") == 2, greeting)
check("the prompt says which image this is and where one is", "[web, read-only] /mnt/web" in greeting, greeting)
session.type("ls -C 1; tty; stty size\n")
listing = session.read_until("24 80")
check("a command runs, on a terminal of the window's size", "readme.txt" in listing and "/dev/pts/" in listing, listing)
session.read_until(PROMPT)
session.resize(50, 132)
session.type("until [ \"$(stty size)\" = '50 132' ]; do sleep 0.1; done; echo resi''zed\n")
session.read_until("resized")
check("a new size of the window arrives", True)
session.read_until(PROMPT)
session.type("sh -c 'echo go\"\"ing; exec sleep 1000'\n")
session.read_until("going")
session.type("\x03")
session.read_until(PROMPT)
session.type("echo $?-af''ter\n")
check("Ctrl-C ends the command and not the shell", "130-after" in session.read_until("-after\r"))
session.read_until(PROMPT)
session.type("sh -c 'echo go\"\"ing; exec sleep 1000'\n")
session.read_until("going")
session.type("\x1a")
check("Ctrl-Z stops it: there is job control", "Stopped" in session.read_until(PROMPT))
session.type("exec sh -c 'exit 23'\n")
check("the status is the shell's", session.status() == 23)

session = Session()
session.read_until("read-only] ")
before = termios.tcgetattr(session.terminal)
session.read_until(PROMPT)
check("the caller's terminal hands keys on as they are", not termios.tcgetattr(session.terminal)[3] & termios.ICANON)
os.kill(session.process, signal.SIGTERM)
deadline = time.monotonic() + 20
while not termios.tcgetattr(session.terminal)[3] & termios.ICANON and time.monotonic() < deadline:
    time.sleep(0.02)
check("a signal gives the terminal back as it was", bool(termios.tcgetattr(session.terminal)[3] & termios.ICANON))
check("and ends it", session.status() == -signal.SIGTERM)
