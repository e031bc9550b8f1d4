#!/usr/bin/env python3
"""A compressed grain that does not inflate is seen with --deep, and only with it.

    deep.py PROGRAM

A streamOptimized base with one such grain, and a snapshot that hides it. `map` and `table` look at what the disk shows;
`check` looks at every layer.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "generate"))
# pylint: disable=wrong-import-position
import random_chain  # noqa: E402
import vmdk_writer as vw  # noqa: E402

GRAIN = 128
BAD = 3
CAPACITY = 8 * GRAIN


def make_chain(directory):
    base = vw.Link("base.vmdk", "streamOptimized", [
        vw.Extent("stream", CAPACITY, "base.vmdk", {n: vw.content(b"base", n * GRAIN, GRAIN) for n in range(6)}, GRAIN)])
    child = vw.Link("child.vmdk", "monolithicSparse", [
        vw.Extent("sparse", CAPACITY, "child.vmdk", {BAD: vw.content(b"child", BAD * GRAIN, GRAIN)}, GRAIN)])
    base.cid = child.parent_cid = 0x1234
    child.hint = base.name
    random_chain.write_chain([child, base], directory)
    header = base.extents[0].places.grains[BAD] * vw.SECTOR
    with open(directory / base.name, "r+b") as file:
        file.seek(header + 12)
        file.write(b"no zlib stream")
    return header


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    failures = []

    with tempfile.TemporaryDirectory(prefix="vmdkdm-test-") as name:
        directory = pathlib.Path(name).resolve()
        header = make_chain(directory)

        def run(*words):
            return subprocess.run([program, *words], cwd=directory, capture_output=True, text=True, check=False)

        def expect(what, found, expected):
            if found != expected:
                failures.append(f"{what}: {found!r}, expected {expected!r}")

        def unreadable(*words):
            runs = json.loads(run("map", "--json", *words).stdout)
            return [(r["start"], r["length"]) for r in runs if r["kind"] == "unreadable"]

        bad = [(BAD * GRAIN * vw.SECTOR, GRAIN * vw.SECTOR)]
        expect("map", unreadable("base.vmdk"), [])
        expect("map --deep", unreadable("--deep", "base.vmdk"), bad)
        expect("map --deep of the child", unreadable("--deep", "child.vmdk"), [])

        def error_lines(*words):
            text = run("table", "--cache-dir", "cache", *words).stdout
            return [line for line in text.splitlines() if line.endswith(" error")]

        expect("table", error_lines("base.vmdk"), [])
        expect("table --deep", error_lines("--deep", "base.vmdk"), [f"{BAD * GRAIN} {GRAIN} error"])
        expect("table --deep of the child", error_lines("--deep", "child.vmdk"), [])

        fault = f"base.vmdk: byte {header}: the compressed grain at byte {header} does not inflate"
        expect("check", run("check", "base.vmdk").returncode, 0)
        for image in ("base.vmdk", "child.vmdk"):
            result = run("check", "--deep", image)
            expect(f"check --deep {image}", (result.returncode, result.stdout.splitlines()[0]), (3, fault))
        expect("hash", run("hash", "base.vmdk").returncode, 3)
        expect("hash of the child", run("hash", "child.vmdk").returncode, 0)
        expect("files made", (directory / "cache").exists(), False)

    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
