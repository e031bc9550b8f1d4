#!/usr/bin/env python3
"""Writes the seeds of the readers' fuzz targets anew, with the generator of tests/generate.

    make_seeds.py           # the seeds among corpus/TARGET

The files are the same every time. `scripts/fuzz --minimise` adds what campaigns found, under names that are hashes. A seed of an extent is its size and those of its pieces that are not zeros, as
image_files.h reads them. Inputs of crashes that were fixed are called found-*, and are kept.
"""

import io
import pathlib
import random
import struct
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "generate"))
# pylint: disable=wrong-import-position
import cow_store  # noqa: E402
import vmdk_writer as vw  # noqa: E402
from vmdk_writer import ZERO, Placement  # noqa: E402

DESCRIPTOR = 'version=1\nCID=1\nparentCID=ffffffff\ncreateType="{}"\nRW {} SPARSE "x"\n'
PIECE = 64


def grains(numbers, grain_size, zeros=()):
    rng = random.Random(len(numbers))
    made = {number: rng.randbytes(16).ljust(grain_size * vw.SECTOR, b"\0") for number in numbers}
    made.update({number: ZERO for number in zeros})
    return made


def sparse_seeds():
    def text(capacity):
        return DESCRIPTOR.format("monolithicSparse", capacity)

    small = {"grain_size": 8, "descriptor_sectors": 1}
    yield "plain", vw.write_sparse, (100, grains([0, 1, 5], 8)), {**small, "entries": 4, "descriptor": text(100)}
    yield "zeros", vw.write_sparse, (64, grains([0], 8, [3])), {**small, "entries": 16, "descriptor": text(64)}
    yield "empty", vw.write_sparse, (1 << 20, {}), {**small, "descriptor": text(1 << 20), "preallocated": False}
    for name, lines in {
        "embedded-flat": 'RW 64 FLAT "x" 0',
        "embedded-zero": "RW 64 ZERO",
        "embedded-two": 'RW 64 SPARSE "x"\nRW 64 FLAT "y" 0',
    }.items():
        inside = f"version=1\nCID=1\nparentCID=ffffffff\n{lines}\n"
        yield name, vw.write_sparse, (64, grains([0], 8)), {**small, "descriptor": inside}
    yield "unclean", vw.write_sparse, (64, grains([2], 8)), {
        **small,
        "entries": 8,
        "descriptor": text(64),
        "unclean": True,
        "version": 3,
    }
    yield "shuffled", vw.write_sparse, (90, grains([0, 1, 2, 11], 8)), {
        **small,
        "entries": 2,
        "descriptor": text(90),
        "redundant": False,
        "placement": Placement("shuffled", (3,), "scattered", True, 4),
    }


def stream_seeds():
    for layout in ("footer", "known-directory", "front", "redundant-front"):
        yield layout, vw.write_stream, (100, grains([0, 3, 12], 8, [5])), {
            "grain_size": 8,
            "entries": 8,
            "layout": layout,
            "short_last": True,
        }


def cowd_seeds():
    for order, size in (("ascending", 1), ("shuffled", 8)):
        yield order, vw.write_cowd, (5000, grains([0, 2, 3, 40], size, [7])), {
            "grain_size": size,
            "placement": Placement(order, tables="scattered", seed=1),
        }


def se_sparse_seeds():
    yield "plain", vw.write_se_sparse, (40000, grains([0, 1, 9], 8, [4])), {"unmapped": {4}}
    yield "journal", vw.write_se_sparse, (100, grains([2], 8)), {"journal": 1}


def chain_seeds():
    base = "version=1\nCID=a\nparentCID=ffffffff\nRW 64 FLAT \"f\" 0\n"

    def child(cid, parent_cid, hint, line):
        return f'version=1\nCID={cid}\nparentCID={parent_cid}\nparentFileNameHint="{hint}"\n{line}\n'

    top = child("c", "b", "middle.vmdk", 'RW 64 SPARSE "s"')
    middle = child("b", "a", "C:\\vm\\base.vmdk", 'RW 64 VMFSSPARSE "c"')
    yield "three", f"{top}FILE middle.vmdk\n{middle}FILE base.vmdk\n{base}"
    yield "datastore", child("b", "a", "[ds] vm/base.vmdk", 'RW 64 SPARSE "s"') + f"FILE base.vmdk\n{base}"
    yield "loop", child("b", "b", "disk.vmdk", 'RW 64 SPARSE "s"')
    yield "other-cid", child("b", "b", "base.vmdk", 'RW 60 SPARSE "s"') + f"FILE base.vmdk\n{base}"
    yield "outside", child("b", "a", "/etc/base.vmdk", 'RW 64 SPARSE "s"') + f"FILE elsewhere/base.vmdk\n{base}"
    yield "elsewhere", child("b", "a", "C:\\x\\base.vmdk", 'RW 64 SPARSE "s"') + f"FILE elsewhere/x/base.vmdk\n{base}"
    link = 'FILE {}\nversion=1\nCID=1\nparentCID=1\nparentFileNameHint={}\nRW 1 SPARSE "s"\n'
    yield "too-long", "".join(link.format(i, i + 1) for i in range(258)).removeprefix("FILE 0\n")
    yield "same-extent", top + "FILE middle.vmdk\n" + child("b", "a", "x/base.vmdk", 'RW 64 SPARSE "s"')


def descriptor_seeds():
    def text(*lines, head="version=1\nCID=1\nparentCID=ffffffff\n"):
        return head + "\n".join(lines) + "\n"

    yield "shared-ranges", text('RW 64 FLAT "a" 0', 'RW 64 FLAT "b" 8', 'RW 64 FLAT "a" 32')
    yield "itself", text('RW 8 FLAT "disk.vmdk" 0')
    yield "windows-device", text('RW 8 FLAT "\\\\.\\PhysicalDrive0" 63')
    yield "unread-types", text('RW 8 VMFSRDM "r"', 'RW 8 VSANSPARSE "v"', 'RW 8 VMFSRAW "w"')
    yield "passthrough", text('RW 8 VMFSPASSTHROUGHRAWDEVICEMAP "r"')
    yield "hidden", text('NOACCESS 63 FLAT "pt" 0', 'RDONLY 8 VMFS "a"', "NOACCESS 8 SPARSE", "RW 8 ZERO")
    yield "encrypted-filter", text('RW 8 FLAT "a" 0', 'ddb.iofilters = "vmwarevmcrypt"')
    yield "filters", text('changeTrackPath="c-ctk.vmdk"', 'RW 8 FLAT "a" 0', 'ddb.iofilters = "cache"')
    yield "twice", text("CID=2", "RW 8 ZERO")
    yield "no-parent", text('parentFileNameHint="p.vmdk"', "RW 8 ZERO")
    yield "too-large", text("RW 18014398509481983 ZERO", "RW 1 ZERO")
    yield "offset-too-large", text('RW 8 FLAT "a" 18014398509481980')
    yield "esx-extent", "COWD" + 60 * "\0"
    yield "change-tracking", b"\xa2\x72\x19\xf6" + bytes(60)
    yield "control", text('RW 8 FLAT "a\x01b" 0')
    yield "windows-player", text('RW 8 FLAT "a" 0 11111111-2222 disk0', 'RW 8 FLAT "a" 0 x y z')


def changes_seeds():
    def store(chunk, exceptions, capacity, **options):
        file = io.BytesIO()
        numbers = [new for _, new in exceptions]
        cow_store.write_store(file, 0, chunk, [(old, b"") for old, _ in exceptions], numbers=numbers, **options)
        data = file.getvalue().ljust(300 * chunk * vw.SECTOR, b"\0")
        return struct.pack("<Q", capacity) + in_pieces(data)

    yield "plain", store(8, [(0, 2), (1, 3), (9, 4)], 75)
    yield "invalid", store(8, [(0, 2)], 75, valid=0)
    yield "two-areas", store(1, [(number, 2 + number + number // 32) for number in range(40)], 1000)
    yield "hostile", store(8, [(1, 20), (1, 30), (2, 21), (3, 1), (1 << 63, 5), (4, 1 << 40)], 75)


def overlay_seeds():
    """A header, a NUL, and the COW area."""
    header = ("vmdk-dm overlay 1\nlimit=00000000000001048576\ncapacity=75\nchunk=8\ncreated=2026-11-22T19:30:00Z\n"
              "image=/vm/web.vmdk\nlink=0000000f ffffffff \nfile=300 1 web.vmdk\nend\n")
    for name, exceptions in {"good": [(0, 2), (1, 3), (9, 4)], "none": [], "tables": [(0, 2), (1, 1), (2, 258)],
                             "shared": [(0, 2), (1, 2), (3, 3)], "outside": [(0, 2), (1, 256)]}.items():
        file = io.BytesIO()
        numbers = [new for _, new in exceptions]
        cow_store.write_store(file, 0, 8, [(old, b"") for old, _ in exceptions], numbers=numbers)
        yield f"store-{name}", header.encode() + b"\0" + file.getvalue()


def any_bytes():
    """For targets that make something valid of whatever bytes there are."""
    rng = random.Random(7)
    for number, size in enumerate((16, 64, 200, 800)):
        yield f"random-{number}", rng.randbytes(size)


def in_pieces(data):
    seed = struct.pack("<I", len(data))
    for at in range(0, len(data), PIECE):
        piece = data[at : at + PIECE]
        if any(piece):
            seed += struct.pack("<H", at // PIECE) + piece.ljust(PIECE, b"\0")
    return seed


def value(*parts):
    """As src/confine/value.h writes it: numbers, and texts with their length."""
    made = b""
    for part in parts:
        if isinstance(part, str):
            made += struct.pack("<Q", len(part)) + part.encode()
        else:
            made += struct.pack("<Q", part)
    return made


def answers_seeds():
    """One of each kind that answers_fuzzer.cc knows, by its number there, whole and with a count that is far too large."""
    extent = (0, 8, 0, "b", 0, 7, 1)
    descriptor = (1, "UTF-8", 1, 0xFFFFFFFF, "custom", "", 1, "key", "value", 1, *extent, 1, "ddb.uuid", "60 00")
    header = (0, 0, 1, 0, 3, 512, 2048, 128, 1, 20, 0, 21, 128, 0)
    run = [0 << 56 | 8, 3, 0, 1 << 56 | 8, 0, 1, 2 << 56 | 16, 5, 1, 3 << 56 | 8, 0, 0]
    finding = (2, "/vm/b", 512, "a grain twice")
    sha256 = "0123456789abcdef" * 4
    answers = {
        "chain": (0, value(2, 0, *descriptor, 0, 1, *descriptor, 1, *header, 2, "a note", "another")),
        "map": (1, value(2, 0, 0, 0, 1, 1, 1, 0, 50, 16, 2, 2, "why", 2, "why", 4, *run)),
        "report": (2, value("/vm/disk.vmdk", 1, 2, 1, 2, 1, 1, *finding, 0, 0)),
        "copy": (3, value(512000, 0, 0, 512000, 1, 8, 8, 0, 512, "damaged", 2, sha256, "0" * 32)),
        "hashes": (4, value(0, sha256, 1, 981173106, 789, 1, 1, "cannot be read", "", 0, 0, sha256, 512)),
        "partitions": (5, value(0, 2, 2, 4096, 8192, 0, "0x83", "", "", 1, 2048, 2048, 1, "0x5", "label", "uuid")),
        "content": (6, value(1, "ext4", "filesystem", "label", "uuid", "1.0")),
        "request": (7, value(1, 0, "./disk.vmdk")),
        "encoding": (7, value(2, "windows-1251")),
    }
    for name, (number, data) in answers.items():
        yield name, bytes([number, 6]) + data
        for at in range(0, min(len(data) - 7, 80), 8):
            yield f"{name}-{at}", bytes([number, 6]) + data[:at] + struct.pack("<Q", 20_000_000) + data[at + 8 :]
    times = struct.pack("<qI", 981173106, 789)
    text = struct.pack("<I", 4) + b"name"
    mode = struct.pack("<I", 0o755)
    records = (b"D" + text + mode + times + b"F" + text + mode + times + b"B" + struct.pack("<QI", 4096, 3) + b"abc"
               + b"E" + struct.pack("<Q", 8192) + b"L" + text + text + times + b"S" + text + b"p"
               + b"N" + text + struct.pack("<I", 5) + b"UZ")
    yield "tree", bytes([8, 0]) + records


def write_seed(directory, name, data):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(data)


def damaged(data, rng):
    """An entry, or a field, with a number that is hard on readers."""
    at = rng.randrange(0, min(len(data) - 8, 2048), 4)
    return data[:at] + struct.pack("<I", rng.choice([1, 2, 0xFFFFFFFF, 0x7FFFFFFF])) + data[at + 4 :]


def main():
    rng = random.Random(1)
    kinds = {"sparse": sparse_seeds, "stream": stream_seeds, "cowd": cowd_seeds, "se_sparse": se_sparse_seeds}
    with tempfile.TemporaryDirectory(prefix="vmdkdm-test-") as temporary:
        path = pathlib.Path(temporary) / "extent"
        for kind, seeds in kinds.items():
            for name, writer, arguments, options in seeds():
                writer(path, *arguments, **options)
                data = path.read_bytes()
                write_seed(HERE / "corpus" / kind, name, in_pieces(data))
                write_seed(HERE / "corpus" / kind, f"{name}-damaged", in_pieces(damaged(data, rng)))
    for kind, seeds in {"chain": chain_seeds, "descriptor": descriptor_seeds, "delta": any_bytes,
                        "exceptions": any_bytes, "overlay": overlay_seeds, "qemu": any_bytes}.items():
        for name, data in seeds():
            write_seed(HERE / "corpus" / kind, name, data.encode() if isinstance(data, str) else data)
    for kind, seeds in {"changes": changes_seeds, "answers": answers_seeds}.items():
        for name, data in seeds():
            write_seed(HERE / "corpus" / kind, name, data)


if __name__ == "__main__":
    main()
