#!/usr/bin/env python3
"""Feeds what does something to a terminal into every field and every argument of every command that needs no kernel, and
looks for it in all that is printed, as text and as JSON.

    escapes.py VMDK-DM

What is fed has a word in it by which it is known: a field of which nothing is ever shown tests nothing, and fails. JSON must
give back what was fed in.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "generate"))
import random  # noqa: E402  pylint: disable=wrong-import-position

import random_overlay  # noqa: E402  pylint: disable=wrong-import-position
import vmdk_writer as vw  # noqa: E402  pylint: disable=wrong-import-position

SANITIZER_STATUS = 99
MARK = "shown"
# Those that a UTF-8 text without control characters can have; those of a line; all that a file name can have.
LETTERS = MARK + "\u009b31m\u0085\u061c\u200e\u200f\u202e\u2028\u2029\u2066"
LINE = MARK + "\x1b]0;\x07\x08\x0b\r\x7f" + LETTERS
NAME = (LINE + "\nFORGED").encode() + b"\xff\xc2\xed\xa0\x80"
FLAT = 'version=1\nCID=1234abcd\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 8 FLAT "flat" 0\n'


def forbidden(character):
    code = ord(character)
    return (
        (code < 0x20 and character != "\n")
        or 0x7F <= code < 0xA0
        or code in (0x61C, 0x200E, 0x200F, 0x2028, 0x2029)
        or 0x202A <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
    )


def complaints_about(printed):
    try:
        text = printed.decode()
    except UnicodeDecodeError as error:
        return [f"not UTF-8: {error}"]
    found = [f"U+{ord(character):04X}" for character in sorted(set(filter(forbidden, text)))]
    found += ["a line that the name made"] * any(line.startswith("FORGED") for line in text.split("\n"))
    return found


def strings_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, below in value.items():
            yield key
            yield from strings_in(below)
    elif isinstance(value, list):
        for below in value:
            yield from strings_in(below)


class Escapes:
    def __init__(self, program, directory):
        self.program = program
        self.directory = directory
        self.failures = 0
        self.runs = 0

    def fail(self, text):
        self.failures += 1
        print(text)

    def run(self, *words):
        """Runs it, complains of what it prints, and gives (standard output, all that was printed)."""
        self.runs += 1
        done = subprocess.run(
            [self.program, *words], cwd=self.directory, capture_output=True, timeout=60, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode in (SANITIZER_STATUS, -6, -11):
            self.fail(f"{words}: status {done.returncode}\n{done.stderr.decode(errors='replace')}")
        for where, printed in (("standard output", done.stdout), ("standard error", done.stderr)):
            for found in complaints_about(printed):
                self.fail(f"{words}: {found} on {where}\n    {printed!r}")
        return done.stdout, done.stdout + done.stderr

    def shown(self, what, *runs):
        """Of all `runs` one at least must show what was fed in."""
        if not any(MARK.encode() in self.run(*words)[1] for words in runs):
            self.fail(f"{what}: nothing of it is shown by {runs}")

    def given_back(self, fed, *words):
        printed = self.run(*words)[0]
        try:
            strings = list(strings_in(json.loads(printed)))
        except ValueError as error:
            self.fail(f"{words}: {error}\n    {printed!r}")
            return
        if fed not in strings:
            self.fail(f"{words}: {fed!r} is no string of\n    {printed!r}")

    def write(self, name, text):
        path = os.path.join(os.fsencode(self.directory), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())

    # What an image says.

    def descriptor_fields(self):
        lines = {
            "createType": 'createType="{}"',
            "parentFileNameHint": 'parentCID=1\nparentFileNameHint="{}"',
            "encoding": 'encoding="{}"',
            "version": "version={}",
            "CID": "CID={}",
            "ddb.adapterType": 'ddb.adapterType = "{}"',
            "ddb.virtualHWVersion": 'ddb.virtualHWVersion = "{}"',
            "ddb.geometry": 'ddb.geometry.cylinders = "{}"',
            "ddb.logicalSectorSize": 'ddb.logicalSectorSize = "{}"',
            "ddb.uuid": 'ddb.uuid = "{}"',
            "ddb.iofilters": 'ddb.iofilters = "{}"',
            "changeTrackPath": 'changeTrackPath="{}"',
            "a key of ddb": 'ddb.{} = "1"',
            "a line": "{}",
            "access": '{} 8 FLAT "flat" 0',
            "size": 'RW {} FLAT "flat" 0',
            "type": 'RW 8 {} "flat" 0',
            "name": 'RW 8 FLAT "{}" 0',
            "offset": 'RW 8 FLAT "flat" {}',
            "device": 'RW 8 VMFSRDM "{}"',
        }
        for field, line in lines.items():
            for fed in (LINE.replace("\r", ""), LETTERS, LETTERS + "\udcff"):
                text = FLAT
                key = line.split("=")[0].split("{")[0]
                if field in ("createType", "version", "CID"):
                    text = "\n".join(old for old in FLAT.split("\n") if not old.startswith(key))
                if field == "parentFileNameHint":
                    text = text.replace("parentCID=ffffffff\n", "")
                if field in ("access", "size", "type", "name", "offset", "device"):
                    text = text.replace('RW 8 FLAT "flat" 0\n', "")
                self.write("disk.vmdk", (text + line.format(fed) + "\n").encode(errors="surrogateescape"))
                self.shown(
                    f"{field} of {fed!r}",
                    *(
                        [*command, *form, "disk.vmdk"]
                        for command in (["info"], ["info", "--chain"], ["check"], ["map"], ["table"])
                        for form in ([], ["--json"])
                    ),
                )
        self.write("disk.vmdk", FLAT + f'createType="{LETTERS}"\n'.replace("createType", "ddb.comment"))
        self.given_back(LETTERS, "info", "--json", "disk.vmdk")
        self.write("disk.vmdk", FLAT.replace("monolithicFlat", "\x1b" + LETTERS))
        self.given_back("\x1b" + LETTERS, "info", "--json", "disk.vmdk")

    def file_names(self):
        """Files that exist under such names, and are shown where nothing is wrong with them."""
        self.write("disk.vmdk", FLAT.replace('"flat"', f'"{LETTERS}"'))
        self.write(LETTERS, bytes(8 * 512))
        self.given_back(LETTERS, "info", "--json", "disk.vmdk")
        self.given_back(f"{self.directory}/{LETTERS}", "map", "--json", "disk.vmdk")
        for name in (NAME, LETTERS.encode()):
            directory = b"in " + name
            image = directory + b"/" + name + b".vmdk"
            self.write(image, FLAT)
            self.write(directory + b"/flat", bytes(8 * 512))
            self.write(directory + b"/short.vmdk", FLAT.replace("RW 8", "RW 9"))
            self.write(directory + b"/sparse.vmdk", FLAT.replace("FLAT", "SPARSE"))
            child = FLAT.replace("parentCID=ffffffff", 'parentCID=1234abcd\nparentFileNameHint="../in')
            self.write(directory + b"/child.vmdk", child.encode() .replace(b'"../in', b'"gone.vmdk"'))
            short, sparse, lost = (directory + b"/" + other for other in (b"short.vmdk", b"sparse.vmdk", b"child.vmdk"))
            for of in (image, short, sparse, lost):
                for command in (["info"], ["map"], ["table"], ["table", "--strategy", "exceptions"], ["check"], ["hash"]):
                    for form in ([], ["--json"]):
                        words = [*command, *form, of]
                        if (command[0], of) == ("hash", image) or (command[0], bool(form)) == ("table", True):
                            self.run(*words)  # a hash, or tables in which it is no path
                        else:
                            self.shown(f"the name {name!r}", words)
            self.shown("table", ["table", "--concise", image])
            for form in ([], ["--json"]):
                out = b"out" + name
                self.shown("compact", ["compact", *form, "--hash", "sha256", "--progress", "none", image, out])
                self.shown("compact again", ["compact", *form, "--progress", "none", image, out])
                os.unlink(os.path.join(os.fsencode(self.directory), out))
        self.given_back(f"{self.directory}/in {LETTERS}/{LETTERS}.vmdk", "info", "--json", f"in {LETTERS}/{LETTERS}.vmdk")

    def overlays(self):
        self.write("disk.vmdk", FLAT.replace("RW 8", "RW 256"))
        self.write("flat", bytes(256 * 512))
        overlay = random_overlay.Overlay(random.Random(3), vw.Disk(bytearray(256 * 512), bytearray(256), b""))
        files = [pathlib.Path(self.directory, "disk.vmdk"), pathlib.Path(self.directory, "flat")]
        path = pathlib.Path(self.directory, "overlay")
        overlay.write(path, [(0x1234ABCD, 0xFFFFFFFF)], files)
        whole = path.read_bytes()
        fed = (LINE + "\nFORGED\x1b").encode() + b"\xff"
        written = b"".join(b"\\x%02x" % byte if byte < 0x20 or byte == 0x7F else bytes([byte]) for byte in fed)
        for what, at in (
            ("image", b"image="),
            ("created", b"created="),
            ("a link", b"link=1234abcd ffffffff "),
            ("a file", b"file="),
            ("the chunk", b"chunk="),
        ):
            for value in (written, LETTERS.encode(), LETTERS.encode() + b"\xff", LINE.encode()):
                start = whole.index(at) + len(at)
                end = whole.index(b"\n", start)
                header = (whole[:start] + value + whole[end:]).split(b"\0", 1)[0]
                path.write_bytes(header.ljust(random_overlay.COW_OFFSET, b"\0") + whole[random_overlay.COW_OFFSET :])
                runs = [["overlay", "info", *form, "overlay"] for form in ([], ["--json"])]
                runs += [["map", "--overlay", "overlay", "disk.vmdk"], ["table", "--overlay", "overlay", "disk.vmdk"]]
                runs.append(["overlay", "merge-to", "--overlay", "overlay", "disk.vmdk", "merged"])
                runs.append(["overlay", "discard", "overlay"])
                if what in ("image", "created") and value != LINE.encode():
                    self.shown(f"{what} of an overlay", *runs)
                else:
                    for words in runs:
                        self.run(*words)
        self.write(NAME, whole)
        for form in ([], ["--json"]):
            self.shown("the name of an overlay", ["overlay", "info", *form, NAME])
        self.shown("the name of an overlay", ["hash", "--json", "--progress", "none", "--overlay", NAME, "disk.vmdk"], ["overlay", "discard", NAME])

    def certificates(self):
        self.write("flat", bytes(8 * 512))
        self.write("disk.vmdk", FLAT)
        files = [
            {
                "path": f"{self.directory}/{name}",
                "name": name,
                "kind": "file",
                "size": 9,
                "modified": "2026-11-22T19:38:23.0Z",
                "sha256": "1" * 64,
            }
            for name in ("disk.vmdk", "flat")
        ]
        sealed = {
            "format": "vmdk-dm seal",
            "version": 1,
            "created": "2026-11-22T19:38:23Z",
            "tool": "vmdk-dm 0.1.0",
            "image": f"{self.directory}/disk.vmdk",
            "layer": 0,
            "read": {"allowShort": False, "useRedundant": False, "ignoreCid": False},
            "capacity": 4096,
            "disk": {"sha256": "1" * 64, "unreadable": 0},
            "files": files,
        }

        def with_change(change):
            certificate = json.loads(json.dumps(sealed))
            change(certificate)
            return json.dumps(certificate)

        without_name = {key: value for key, value in files[0].items() if key not in ("path", "name")}
        hex_name = {"pathHex": (b"/" + NAME).hex(), "nameHex": NAME.hex()}
        changes = {
            "image": lambda it: it.update(image="/" + LETTERS),
            "created": lambda it: it.update(created=LETTERS),
            "tool": lambda it: it.update(tool=LETTERS),
            "a key": lambda it: it.update({LINE: 1}),
            "a key of a file": lambda it: it["files"][0].update({LINE: 1}),
            "format": lambda it: it.update(format=LINE),
            "kind": lambda it: it["files"][0].update(kind=LETTERS),
            "name": lambda it: it["files"][0].update(name=LETTERS),
            "path": lambda it: it["files"][0].update(path="/" + LETTERS),
            "names in hexadecimal": lambda it: it.update(files=[{**hex_name, **without_name}]),
        }
        for what, change in changes.items():
            self.write("changed", with_change(change))
            runs = [["verify", *deep, *form, "changed"] for deep in ([], ["--deep"]) for form in ([], ["--json"])]
            if what in ("tool", "format", "kind"):
                for words in runs:
                    self.run(*words)
            else:
                self.shown(f"{what} of a certificate", *runs)
        self.write("changed", with_change(changes["path"]))
        self.given_back("/" + LETTERS, "verify", "--json", "changed")
        self.write(NAME, "{}")
        for form in ([], ["--json"]):
            self.shown("the name of a certificate", ["verify", *form, NAME])

    def tables(self):
        octal = "".join(chr(byte) if chr(byte).isalnum() and byte < 0x80 else f"\\{byte:03o}" for byte in NAME)
        plain = LETTERS.replace(",", "")
        for what, line in {
            "name": "{} /image",
            "image": "web /{}",
            "device": "web LABEL={}:/image",
            "option": "web /image {}",
            "value": "web /image overlay=/{}",
            "mounts": "web /image x-systemd.requires-mounts-for=/{}",
        }.items():
            for fed in (octal, octal.replace("\\012", ""), plain, plain + "\udcff", LINE):
                self.write("table", (line.format(fed) + "\n").encode(errors="surrogateescape"))
                self.shown(
                    f"{what} in a table: {fed!r}",
                    ["tab", "check", "--table-file", "table"],
                    ["tab", "check", "--json", "--table-file", "table"],
                    ["tab", "initrd", "--table-file", "table"],
                    ["attach", "--table", "table"],
                )
        self.write(NAME, "web /gone\n")
        self.shown("the name of a table", ["tab", "check", "--table-file", NAME])
        self.write("flat", bytes(8 * 512))
        for name in (NAME, LETTERS.encode() + b"\xff"):
            self.write(b"in a table " + name, FLAT)
            self.shown("tab add", ["tab", "add", "--name", "web", "--table-file", "new", b"in a table " + name])
        added = pathlib.Path(self.directory, "new").read_bytes()
        if complaints_about(added):
            self.fail(f"tab add writes {added!r}")
        if b"sound" not in self.run("tab", "check", "--table-file", "new")[0]:
            self.fail(f"tab add writes what is not read back: {added!r}")

    # What a user says, or a script for him.

    def arguments(self):
        self.write("disk.vmdk", FLAT)
        self.write("flat", bytes(8 * 512))
        self.shown("a command", [NAME])
        self.shown("an option", ["info", "x", b"--x" + NAME])
        for command in (
            ["info"],
            ["map"],
            ["table"],
            ["check"],
            ["hash"],
            ["verify"],
            ["attach"],
            ["detach"],
            ["filesystems"],
            ["activate"],
            ["deactivate"],
            ["udev-link"],
            ["generate-cmdline"],
            ["overlay", "info"],
            ["overlay", "discard"],
            ["tab", "add"],
            ["cache", "--cache-dir"],
        ):
            self.run(*command, b"/gone/" + NAME)
            self.run(*command, "--json", b"/gone/" + NAME)
            self.shown(f"an option of {command}", [*command, "x", b"--x" + NAME])
            self.run(*command, NAME, NAME)
        for command in (["info"], ["map"], ["check"], ["hash"], ["table"], ["generate-cmdline"], ["tab", "add"]):
            self.shown(f"an image of {command}", [*command, b"/gone/" + NAME])
        for words in (
            ["mount", b"/gone/" + NAME, "/mnt"],
            ["mount", "--json", b"/gone/image:" + NAME, "/mnt"],
            ["umount", b"/gone/" + NAME],
            ["shell", b"/gone/" + NAME],
            ["run", b"/gone/" + NAME, "--", "true"],
            ["copy-out", b"/gone/" + NAME, "out"],
            ["copy-out", b"/gone/image:1:/" + NAME, "out"],
            ["compact", b"/gone/" + NAME, "out"],
            ["compact", "disk.vmdk", b"/gone/" + NAME],
            ["overlay", "merge-to", "--overlay", b"/gone/" + NAME, "disk.vmdk", "out"],
        ):
            self.run(*words)
        for option in ("--wait-low",):
            self.shown(option, ["list", option + "=" + MARK + "\x1b"])
        for option in ("--name", "--strategy", "--chunk", "--overlay-size", "--cache-dir", "--overlay", "--loop-block-size"):
            self.run("table", option, NAME, "disk.vmdk")
        for option in ("--name", "--strategy"):
            self.shown(option, ["table", option, NAME, "disk.vmdk"])
        for option in ("--allow-path", "--search-dir"):
            self.run("info", option, NAME, "disk.vmdk")
        self.shown("--progress", ["hash", "--progress", NAME, "disk.vmdk"])
        self.shown("--hash", ["compact", "--hash", NAME, "disk.vmdk", "out"])


def main():
    program = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        # As the program says it.
        escapes = Escapes(program, os.path.realpath(directory))
        for part in (
            escapes.descriptor_fields,
            escapes.file_names,
            escapes.overlays,
            escapes.certificates,
            escapes.tables,
            escapes.arguments,
        ):
            part()
        print(f"{escapes.runs} runs, {escapes.failures} failures")
    return 1 if escapes.failures else 0


if __name__ == "__main__":
    sys.exit(main())
