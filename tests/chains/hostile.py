#!/usr/bin/env python3
"""Damages random chains of snapshots and watches what vmdk-dm makes of them.

    hostile.py SEED COUNT PROGRAM        # the damaged chains of the seeds SEED to SEED + COUNT - 1

Each chain gets up to three faults where they hurt: fields of headers, entries of directories and tables, the ends of
files, lines of descriptors. Asked for is an answer within a time and an amount of memory that fit the few files: either
an error of a documented status, or a map without gaps whose data lie inside the files. What can be mapped must then be
hashed to its end (--allow-damaged), compressed grains and all. `check` must tell of what is certainly a fault, in a
bounded number of lines, and what it calls sound must be read without any.

Exit status: 0, or 1 when something was wrong; the directory of the first such chain is kept.
"""

import argparse
import json
import os
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import typing

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "generate"))
# pylint: disable=wrong-import-position
import random_chain  # noqa: E402
from run import Difference, check_shape, workshop  # noqa: E402
from vmdk_writer import SECTOR, SPARSE_WORDS  # noqa: E402

DEADLINE_S = 20
MEMORY_BYTES = 1 << 30
MAX_OUTPUT_BYTES = 256 << 10
ERRORS = range(2, 7)  # 1 is a failure of the system, and none is to be expected

NASTY_NUMBERS = [0, 1, 2, 3, 7, 8, 96, 127, 128, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]
NASTY_LONG_NUMBERS = [*NASTY_NUMBERS, 1 << 32, 1 << 54, 1 << 55, 1 << 62, 1 << 63, (1 << 64) - 1, (1 << 64) - 512]
HEADER_BYTES = 80  # of what is in use of every header
HUGE_BYTES = 1 << 43
HASHED_BYTES = 1 << 28


class Damage(typing.NamedTuple):
    text: str
    is_fault: bool = False  # whatever else is damaged


def patch(path, offset, value, size):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write((value % (1 << 8 * size)).to_bytes(size, "little"))


def damage_header(rng, path, _extent):
    offset = rng.randrange(4, HEADER_BYTES, 4) if rng.random() < 0.9 else rng.randrange(HEADER_BYTES)
    size = rng.choice([1, 4, 8])
    patch(path, offset, rng.choice(NASTY_LONG_NUMBERS) ^ (rng.getrandbits(8) if rng.random() < 0.2 else 0), size)
    return Damage(f"header, {size} bytes at {offset}")


def damage_directory(rng, path, extent):
    if not extent.places or not extent.places.directory:
        return None
    size = 8 if extent.kind == "sesparse" else 4
    count = rng.choice([1, 1, 3, 50])
    # One value for all of them: tables that share sectors. Or one after the other.
    value, step = rng.choice([*NASTY_NUMBERS, *extent.places.tables.values()]), rng.choice([0, 0, 1])
    if extent.kind == "sesparse" and rng.random() < 0.7:
        value |= 0x10000000 << 32
    for index in range(count):
        patch(path, extent.places.directory * SECTOR + index * size, value + index * step, size)
    is_fault = extent.kind != "sesparse" and value * SECTOR > path.stat().st_size
    return Damage(f"{count} entries of the directory, {value:#x} each plus {step}", is_fault)


def damage_table(rng, path, extent):
    if not extent.places or not extent.places.tables:
        return None
    index_of_table, table = rng.choice(list(extent.places.tables.items()))
    size = 8 if extent.kind == "sesparse" else 4
    value = rng.choice([*NASTY_NUMBERS, extent.places.end, extent.places.end - 1, extent.places.directory, table])
    if size == 8:
        value |= rng.randrange(16) << 60
    entries = {"cowd": 4096, "sesparse": 4096}.get(extent.kind) or extent.options["entries"]
    is_fault = False
    for index in range(rng.choice([1, 1, 5])):
        slot = rng.randrange(512) + index
        patch(path, table * SECTOR + slot * size, value, size)
        is_on_disk = slot < entries and (index_of_table * entries + slot) * extent.grain_size < extent.size
        is_fault = is_fault or (is_on_disk and size == 4 and value * SECTOR > path.stat().st_size)
    return Damage(f"entries of the table in sector {table}, {value:#x}", is_fault)


def damage_length(rng, path, _extent):
    size = path.stat().st_size
    length = rng.choice([0, 1, 511, 512, 1024, rng.randrange(size + 1), max(0, size - 1), size + 1, HUGE_BYTES])
    os.truncate(path, length)
    return Damage(f"{length} bytes instead of {size}", length == 0 < size)


def damage_text(rng, path, _extent):
    text = path.read_bytes()
    start = text.find(b"version=1")
    if start < 0:
        return None
    lines = text[start:].split(b"\0")[0].split(b"\n")
    index = rng.randrange(len(lines))
    words = lines[index].split(b" ")
    way = rng.choice(["word", "repeat", "drop"])
    if way == "word":
        words[rng.randrange(len(words))] = rng.choice(
            [b"0", b"-1", b"9223372036854775808", b"18014398509481983", b"ZERO", b"FLAT", b"SPARSE", b'"link0.vmdk"']
        )
        lines[index] = b" ".join(words)
    elif way == "repeat":
        lines[index:index] = [lines[index]] * 3
    else:
        del lines[index]
    changed = b"\n".join(lines)
    if text.startswith(b"KDMV"):  # the descriptor keeps its place
        length = len(text[start:].split(b"\0")[0])
        changed = changed[:length].ljust(length, b"\n")
        path.write_bytes(text[:start] + changed + text[start + length :])
    else:
        path.write_bytes(text[:start] + changed)
    return Damage(f"line {index}: {way}")


def damage_grains(rng, path, extent):
    """Headers and streams of compressed grains, wherever they are hit."""
    if extent.kind != "stream" or not extent.places.grains:
        return None
    for sector in rng.sample(sorted(extent.places.grains.values()), min(3, len(extent.places.grains))):
        offset = rng.choice([0, 8, 12, 13, 14, 20, rng.randrange(400)])
        patch(path, sector * SECTOR + offset, rng.choice([*NASTY_NUMBERS, rng.getrandbits(32)]), rng.choice([1, 4]))
    return Damage("grains")


def damage(rng, links, directory):
    """Damages something; says what."""
    link = rng.choice(links)
    extent = rng.choice(link.extents)
    ways = [damage_header, damage_header, damage_directory, damage_directory, damage_table, damage_table, damage_length]
    ways += [damage_grains] * 3 if extent.kind == "stream" else []
    way = rng.choice([*ways, damage_text])
    name = link.name if way is damage_text or not extent.file_name else extent.file_name
    done = way(rng, directory / name, extent)
    # What a flat delta hides is not opened.
    hidden = any(not shows_parent(above) for above in links[: links.index(link)])
    return Damage(f"{name}: {done.text}", done.is_fault and not hidden) if done else None


def shows_parent(link):
    return any(extent.kind in SPARSE_WORDS for extent in link.extents)


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def run_limited(command, directory, limited):
    return subprocess.run(
        command,
        cwd=directory,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
        preexec_fn=limit_memory if limited else None,
    )


def check_hash(program, arguments, runs, directory, limited):
    """Where the map says that there are bytes, they can be read; a hash of exabytes of zeros is not waited for."""
    if sum(run["length"] for run in runs) > HASHED_BYTES:
        return
    command = [program, "hash", "--json", "--algorithm=md5", "--allow-damaged", *arguments]
    result = run_limited(command, directory, limited)
    message = result.stderr.decode(errors="replace")
    if result.returncode != 0 or "Sanitizer" in message or "runtime error" in message:
        raise Difference(f"hash: status {result.returncode}: {message}")
    unreadable = sum(run["length"] for run in runs if run["kind"] == "unreadable")
    compressed = sum(run["length"] for run in runs if run["kind"] == "compressed")
    damaged = sum(damage["length"] for damage in json.loads(result.stdout)["damaged"])
    if not unreadable <= damaged <= unreadable + compressed:
        raise Difference(f"hash: {damaged} bytes are damaged, expected {unreadable} to {unreadable + compressed}")


def check_status(result):
    message = result.stderr.decode(errors="replace")
    if "Sanitizer" in message or "runtime error" in message:
        raise Difference(message)
    if result.returncode != 0 and result.returncode not in ERRORS:
        raise Difference(f"status {result.returncode}: {message}")
    if result.returncode != 0 and not message.strip() and not result.stdout:
        raise Difference(f"status {result.returncode} without a word")


def check_answer(result, links):
    check_status(result)
    if result.returncode != 0:
        return
    runs = json.loads(result.stdout)
    check_shape(runs, sum(run["length"] for run in runs))
    for run in runs:
        if run["kind"] in ("data", "compressed"):
            needed = run["length"] if run["kind"] == "data" else 1
            if run["offset"] + needed > os.stat(run["file"]).st_size:
                raise Difference(f"a run beyond its file: {run}")
        if not 0 <= run["depth"] < len(links):
            raise Difference(f"a run of no layer: {run}")


def check_verdict(result, plain_map, is_fault):
    """What `check` says, against the map that is read without options."""
    check_status(result)
    if len(result.stdout) + len(result.stderr) > MAX_OUTPUT_BYTES:
        raise Difference(f"check prints {len(result.stdout)} bytes")
    if result.returncode != 0:
        return
    if is_fault:
        raise Difference("check calls it sound")
    if plain_map.returncode != 0:
        raise Difference(f"check calls sound what cannot be read: {plain_map.stderr.decode(errors='replace')}")
    for run in json.loads(plain_map.stdout):
        if run["kind"] == "unreadable" and "NOACCESS" not in run["why"]:
            raise Difference(f"check calls sound what is damaged: {run}")


def check_chain(seed, program, directory, limited):
    """Returns whether the chain was refused."""
    rng = random.Random(seed)
    links = random_chain.make_chain(seed)
    random_chain.write_chain(links, directory)
    faults = [fault for _ in range(rng.randint(1, 3)) if (fault := damage(rng, links, directory))]
    options = [option for option in ("--ignore-cid", "--use-redundant", "--allow-short") if rng.random() < 0.2]

    def run(*words):
        return run_limited([program, *words, links[0].name], directory, limited)

    try:
        result = run("map", "--json", *options)
        check_answer(result, links)
        if result.returncode == 0:
            check_hash(program, [*options, links[0].name], json.loads(result.stdout), directory, limited)
        plain_map = run("map", "--json") if options else result
        check_verdict(run("check"), plain_map, len(faults) == 1 and faults[0].is_fault)
    except (Difference, subprocess.TimeoutExpired, ValueError) as error:
        texts = "; ".join(fault.text for fault in faults)
        raise Difference(f"{texts}; {' '.join(options)}: {error}") from error
    return result.returncode != 0


def main():
    parser = argparse.ArgumentParser(description="Damages random chains of snapshots and watches vmdk-dm read them.")
    parser.add_argument("seed", type=int, help="of the first chain")
    parser.add_argument("count", type=int, help="how many chains, each with the next seed")
    parser.add_argument("program", type=pathlib.Path, help="the vmdk-dm to test")
    parser.add_argument("--unlimited", action="store_true", help="do not limit memory: for a sanitizer's sake")
    arguments = parser.parse_args()
    os.environ["LC_ALL"] = "C.UTF-8"

    failures = refused = 0
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        directory = workshop()
        keep = False
        try:
            refused += check_chain(seed, arguments.program.resolve(), directory, not arguments.unlimited)
        except Difference as difference:
            failures += 1
            keep = failures == 1
            print(f"seed {seed}: {difference}", f"(see {directory})" if keep else "")
        finally:
            if not keep:
                shutil.rmtree(directory)
    print(f"{arguments.count} damaged chains, {refused} refused, {failures} answered wrongly")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
