"""What bench/run found, in words and pictures: the numbers that were kept -> Markdown and SVG."""

import os

import report
from suite import copies, curves, files, images, peers, plots, reads
from suite.peers import OURS
from suite.reads import CONTROL, YARDSTICK

MIB = 1 << 20
LEAST_TO_LOOP = {"flat": 0.98, "split": 0.95}
MOST_MICROSECONDS_A_RUN = 0.5
MOST_MEMORY_OF_LARGEST = 1 << 30

# Why another is before vmdk-dm in a row of reads: image, state, workload ("" stands for any), and the reason.
IN_A_ROW = "a raw copy, which had to be made first, or the page cache of a FUSE file has it in a row"
REASONS = [
    ("flat", "", "", "what a mapped device above the loop device costs"),
    ("split", "", "", "presumably the thousand loop devices, each with a worker to be woken; a single one takes reads that wait in one go"),
    ("sparse", "", "", "what a mapped device above the loop device costs"),
    ("shuffled", "", "1 MiB in a row", f"each MiB lies in sixteen places of the file; {IN_A_ROW}"),
    ("shuffled", "", "", "what a table with a line for each grain costs"),
    *((f"chain{links}", "", "", f"the disk lies scattered over the files of the chain; {IN_A_ROW}") for links in (1, 4, 16)),
    ("stream", "", "", "what a mapped device above the loop device costs"),
]


def reason(*row):
    return next((text for *key, text in REASONS if all(not part or part == have for part, have in zip(key, row))), None)


def machine():
    return {"processor": report.processor(), "processors": os.cpu_count(), "kernel": report.kernel_version(),
            "load at the start": os.getloadavg()[1]}


def describe(result, stem):
    """Markdown, and plots by name."""
    bars, parts, drawn = [], [], {}
    if "reads" in result:
        # In whatever order they were measured.
        result["reads"] = {key: result["reads"][key] for key in images.READ_IMAGES if key in result["reads"]}
        parts += reads_part(result["reads"], bars)
        for state in reads.STATES:
            parts += [f"![Reads, {state}]({stem}-reads-{state}.svg)", ""]
            drawn[f"reads-{state}"] = plots.bars(f"Reads, page cache {state}, MiB/s", *panels_of_reads(result["reads"], state))
        parts += opening_part(result["reads"], bars)
    if "files" in result:
        parts += files_part(result["files"])
    if "curves" in result:
        parts += curves_part(result["curves"], bars)
    if "maps" in result:
        parts += maps_part(result["maps"], bars)
    if "curves" in result or "maps" in result:
        drawn["curves"] = plots.lines(panels_of_curves(result))
        parts += [f"![Curves]({stem}-curves.svg)", ""]
    if "copies" in result:
        parts += copies_part(result["copies"], bars)
    head = [f"# Every peer beside vmdk-dm: {result['date']}", "", *method(result), "",
            report.table(["bar", "measured", "limit", ""], bars), ""]
    return "\n".join([*head, *parts]).rstrip() + "\n", drawn


KERNEL_NAMES = {"running": "the running kernel", "embedded": "the embedded kernel (User-Mode Linux; scripts/run-in-kernel)",
                "vm": "Debian's kernel in a virtual machine without KVM (scripts/run-in-vm)"}
KERNEL_NOTES = {
    "running": "",
    "embedded": " System calls of user space, page faults and the start of a process cost far more in that kernel than on "
                "hardware, which weighs most on those that serve reads by a process; its own code runs at full speed. It has one "
                "processor. What lies on its disk is in the page cache of its host.",
    "vm": " Every instruction is emulated, so that only ratios mean something.",
}


def method(result):
    host = result["machine"]
    load = f"load {host['load at the start']:.1f} at the start, {result['load at the end']:.1f} at the end (others use it too)"
    text = [f"Machine: {host['processor']}, {host['processors']} processor{'s' * (host['processors'] > 1)}, {load}; Linux {host['kernel']}."]
    if "kernel release" in result:
        place = "beside the build" if result["kernel"] == "running" else "on an ext4 of their own"
        text.append(f"Disks were attached in {KERNEL_NAMES[result['kernel']]}, Linux {result['kernel release']}, with images {place}."
                    f"{KERNEL_NOTES[result['kernel']]}")
    text.append("Peers: " + "; ".join(result["versions"].values()) + ".")
    if result["quick"]:
        text.append("**A quick run: these numbers say nothing.**")
    return ["\n".join(text)]


def interval(spread, form="{:.2f}"):
    return f"{form.format(spread[0])} ({form.format(spread[1])} to {form.format(spread[2])})"


def verdict(spread, least):
    if spread[0] >= least:
        return "met"
    return "MISSED" if spread[2] < least else "missed, within the error"


# ---- reads -------------------------------------------------------------------------------------------------------------


def reads_part(samples, bars):
    parts = ["## Reads", "",
             "Linux AIO with O_DIRECT (bench/reader.cc), in turns. Warm: all that is read lies in the page cache below the device. "
             "Cold: that page cache is dropped before each turn. MiB/s, medians; in brackets vmdk-dm's ratio to it, "
             f"as median of pairs. *{YARDSTICK}* is the same disk as one raw file, and no peer but for the image that is "
             "one. The last column says who is first of those that give a block device, else by how much another is before vmdk-dm, "
             "with the 95 % interval.", ""]
    for key, sample in samples.items():
        parts += [f"### {sample['title']}", "", table_of_reads(key, sample), ""]
        for state, workloads in sample["reads"].items():
            for title, rates in workloads.items():
                if key in LEAST_TO_LOOP and state == "warm":
                    ratio = rates[YARDSTICK]["vmdk-dm to it"]
                    bars.append([f"{sample['title']}, {state}, {title}: to a plain loop device",
                                 f"{interval(ratio, '{:.3f}')}, of two such loops {rates[CONTROL]['to the other'][0]:.3f}",
                                 f">= {LEAST_TO_LOOP[key]}", verdict(ratio, LEAST_TO_LOOP[key])])
    rows = [(key, state, title, rates) for key, sample in samples.items() for state, workloads in sample["reads"].items()
            for title, rates in workloads.items()]
    behind = [row for row in rows if standing(*row)[0] == "behind"]
    unexplained = [row for row in behind if not reason(*row[:3])]
    bars.append(["rows of reads in which vmdk-dm is first, or within the error of the first", f"{len(rows) - len(behind)} of {len(rows)}",
                 "all, or a reason", "met" if not unexplained else f"{len(unexplained)} without a reason"])
    return parts


def rivals(rates):
    """Peers with a block device."""
    return {who: rate for who, rate in rates.items() if who not in (OURS, YARDSTICK, CONTROL)}


def standing(key, state, title, rates):
    """("first" | "equal" | "behind", text)"""
    behind = {who: rate["vmdk-dm to it"] for who, rate in rivals(rates).items() if rate["vmdk-dm to it"][0] < 1}
    if not behind:
        return "first", "vmdk-dm"
    who = min(behind, key=lambda peer: behind[peer][0])
    text = f"{who}: {interval(behind[who])}"
    if behind[who][2] >= 1:
        return "equal", f"{text}, within the error"
    why = reason(key, state, title)
    return "behind", f"{text}{f': {why}' if why else ''}"


def table_of_reads(key, sample):
    rows, contestants = [], []
    for state, workloads in sample["reads"].items():
        for title, rates in workloads.items():
            contestants = [YARDSTICK, OURS, *rivals(rates)]
            row = [f"{state}, {title}"]
            for who in contestants:
                shown = report.number(rates[who]["mib_s"])
                row.append(shown if who == OURS else f"{shown} ({rates[who]['vmdk-dm to it'][0]:.2f})")
            rows.append([*row, standing(key, state, title, rates)[1]])
    refused = "".join(f"\n{who}: {why.strip()}  " for who, why in sample["refused"].items())
    return report.table(["", *contestants, "first"], rows) + (f"\n\nNot opened:\n{refused}" if refused else "")


def panels_of_reads(samples, state):
    """Groups, contestants, and for each workload the values by contestant."""
    contestants = [OURS, YARDSTICK, *(peer.title for peer in peers.PEERS)]
    found = {title: {who: [] for who in contestants} for title in reads.WORKLOADS}
    for sample in samples.values():
        for title, rates in sample["reads"][state].items():
            for who in contestants:
                found[title][who].append(rates[who]["mib_s"] if who in rates else None)
    present = [who for who in contestants if any(value for panel in found.values() for value in panel[who])]
    return (list(samples),
            {title: {who: panel[who] for who in present} for title, panel in found.items()})


# ---- from the command to the first byte --------------------------------------------------------------------------------


def opening_part(samples, bars):
    parts = ["## From the command to the first byte", "",
             "Milliseconds until 4 KiB were read from the start of the disk, and until all was gone again; memory meanwhile: "
             "what the kernel has beyond the page cache, and the processes that must stay. Medians. streamOptimized: with an empty "
             "cache each time. Who is before vmdk-dm looks at less: losetup and dmsetup by hand at nothing but sizes; qemu-nbd at "
             "a grain table, a parent's grains and a compressed grain only when they are read; vmdk-dm checks them all, confined, and "
             "finds the partitions, before there is a disk. vmdkmount has one loop device whatever the image, over a file that it "
             "serves by itself.", ""]
    rows, first = [], 0
    for sample in samples.values():
        fastest = min(sample["opening"], key=lambda who: sample["opening"][who]["open"])
        first += fastest == OURS
        for who, row in sample["opening"].items():
            ours = sample["opening"][OURS]["open"]
            rows.append([sample["title"], who, f"{row['open'] * 1000:.0f}", f"{row['open'] / ours:.2f}", f"{row['close'] * 1000:.0f}",
                         f"{max(0, row['kernel']) / MIB:.1f}", f"{row['process'] / MIB:.1f}"])
    bars.append(["images of which vmdk-dm gives the first byte first", f"{first} of {len(samples)}", "all, or a reason",
                 "met" if first == len(samples) else "see the reasons there"])
    return [*parts, report.table(["image", "", "open, ms", "to vmdk-dm", "close, ms", "kernel, MiB", "process, MiB"], rows), ""]


def files_part(found):
    parts = ["## The first byte of a file", "",
             "In the running kernel, for what gives files and no block device. Both start a kernel of their own; libguestfs uses KVM "
             "where that works, else emulation. Medians.", ""]
    rows = []
    for title, contestants in found.items():
        for who, row in contestants.items():
            if "refused" in row:
                rows.append([title, who, row["refused"], ""])
            else:
                rows.append([title, who, f"{row['open']:.2f}", f"{row['memory'] / MIB:.0f}" if "memory" in row else ""])
    return [*parts, report.table(["image", "", "seconds", "memory, MiB"], rows), ""]


# ---- curves ------------------------------------------------------------------------------------------------------------


def curve_rows(points, label):
    rows = []
    for point, contestants in points.items():
        for who, row in contestants.items():
            if "refused" in row:
                rows.append([label(int(point)), who, row["refused"], *[""] * 4])
                continue
            a_run = f"{row['open'] * 1e6 / int(point):.2f}" if who == OURS and label is runs_label and int(point) >= 100_000 else ""
            rows.append([label(int(point)), who, f"{row['open'] * 1000:,.0f}", a_run, f"{row['close'] * 1000:,.0f}",
                         f"{max(0, row['kernel']) / MIB:.1f}", f"{row['process'] / MIB:.1f}"])
    return rows


def runs_label(runs):
    return f"{runs:,}"


def size_label(size):
    return f"{size >> 40} TiB" if size >= 1 << 40 else f"{size >> 30} GiB"


def curves_part(found, bars):
    head = ["open, ms", "us a run", "close, ms", "kernel, MiB", "process, MiB"]
    parts = ["## Attaching, by the number of runs", "",
             "Grains of 64 KiB, each of them a run. Until a first byte is there, as before; a peer that takes more than "
             f"{curves.SECONDS} s is left out from there on. vmdk-dm takes all runs over into the kernel first; qemu-nbd "
             "reads a grain table when it is asked for.", "",
             report.table(["runs", "", *head], curve_rows(found["runs"], runs_label)), "",
             "## Attaching, by the size of the disk", "",
             f"{images.RUNS_OF_SIZES:,} runs; all grain tables exist, as VMware makes them, 128 MiB for 2 TiB. vmdk-dm reads and checks "
             "all of them before there is a disk, qemu-nbd each one when it is asked for.", "",
             report.table(["size", "", *head], curve_rows(found["sizes"], size_label)), ""]
    if "largest" in found:
        parts += [f"{size_label(images.SIZES[-1])} with {images.LARGEST_SIZE_RUNS:,} runs:", "",
                  report.table(["runs", "", *head], curve_rows({images.LARGEST_SIZE_RUNS: found["largest"]}, runs_label)), ""]
    ours = {int(runs): row[OURS]["open"] for runs, row in found["runs"].items() if "open" in row.get(OURS, {})}
    large = sorted(runs for runs in ours if runs >= 100_000)
    for fewer, more in zip(large, large[1:]):
        slope = (ours[more] - ours[fewer]) / (more - fewer) * 1e6
        bars.append([f"attaching there: microseconds for each further run from {fewer:,} to {more:,}", f"{slope:.2f}",
                     f"< {MOST_MICROSECONDS_A_RUN}", "met" if slope < MOST_MICROSECONDS_A_RUN else "MISSED"])
    return parts


def key_label(key):
    kind, _, number = key.partition("-")
    if kind == "runs":
        return f"{int(number):,} runs"
    if kind == "size":
        return size_label(int(number) << 30)
    return f"{size_label(images.SIZES[-1])}, {images.LARGEST_SIZE_RUNS:,} runs"


def maps_part(found, bars):
    rows = []
    for key, commands in found.items():
        for title, row in commands.items():
            theirs = commands.get(curves.QEMU_MAP, {}).get("seconds")
            rows.append([key_label(key), title, f"{row['seconds'] * 1000:,.0f}",
                         f"{theirs / row['seconds']:.1f}" if theirs and title != curves.QEMU_MAP else "", f"{row['memory'] / MIB:,.0f}"])
    planned = [(runs, found[curves.run_key(runs)][curves.TABLE]["seconds"]) for runs in images.RUN_COUNTS
               if curves.run_key(runs) in found]
    if len(planned) >= 2:
        (fewer, sooner), (more, later) = planned[-2:]
        slope = (later - sooner) / (more - fewer) * 1e6
        bars.append([f"reading and planning in the running kernel: microseconds for each further run from {fewer:,} to {more:,}",
                     f"{slope:.2f}", f"< {MOST_MICROSECONDS_A_RUN}", "met" if slope < MOST_MICROSECONDS_A_RUN else "MISSED"])
    if curves.LARGEST in found:
        memory = found[curves.LARGEST][curves.TABLE]["memory"]
        bars.append([f"memory of planning {key_label(curves.LARGEST)}, all processes together", f"{memory / MIB:,.0f} MiB", "< 1,024 MiB",
                     "met" if memory < MOST_MEMORY_OF_LARGEST else "MISSED"])
    return ["## Printing the grain map", "",
            "In the running kernel, page cache warm, to /dev/null; `map` and `qemu-img map` as JSON. Peak memory of all processes of the "
            "command together.", "", report.table(["", "", "ms", "times as fast as qemu-img", "memory, MiB"], rows), ""]


def panels_of_curves(result):
    """[(title, x title, y title, {contestant: [(x, y)]})]"""
    panels = []
    for axis, title, x_title, scale in (("runs", "Attaching, by the number of runs", "runs", 1),
                                        ("sizes", "Attaching, by the size of the disk", "GiB", 1 << 30)):
        curve = {}
        for point, contestants in result.get("curves", {}).get(axis, {}).items():
            for who, row in contestants.items():
                if "open" in row:
                    curve.setdefault(who, []).append((int(point) / scale, row["open"]))
        panels.append((title, x_title, "seconds", curve))
    for prefix, title, x_title in (("runs", "Printing the grain map, by the number of runs", "runs"),
                                   ("size", "Printing the grain map, by the size of the disk", "GiB")):
        curve = {}
        for key, commands in result.get("maps", {}).items():
            if key.startswith(f"{prefix}-"):
                for who, row in commands.items():
                    curve.setdefault(who, []).append((int(key.removeprefix(f"{prefix}-")), row["seconds"]))
        panels.append((title, x_title, "seconds", curve))
    return [panel for panel in panels if panel[3]]


# ---- copies ------------------------------------------------------------------------------------------------------------


def copies_part(found, bars):
    rows, first, all_rows = [], 0, 0
    for title, ways in found.items():
        for way, seconds in ways.items():
            others = {who: row for who, row in seconds.items() if who != copies.OURS}
            first += all(row["times as long as vmdk-dm"][2] >= 1 for row in others.values())
            all_rows += 1
            rows.append([title, way, f"{seconds[copies.OURS]['seconds']:.2f}", *(
                f"{others[who]['seconds']:.2f}: {interval(others[who]['times as long as vmdk-dm'])}" if who in others else ""
                for who in (copies.QEMU, copies.CP))])
    bars.append(["copies in which compact is first, or within the error of the first", f"{first} of {all_rows}", "all, or a reason",
                 "met" if first == all_rows else "see the reasons there"])
    return ["## Copies", "",
            "To a raw file, in the running kernel. Seconds, and how many times as long as vmdk-dm with the 95 % interval. `cp` copies the "
            "raw disk. Cold: the image is dropped from the page cache before each turn. With fsync: `compact` as it is, `qemu-img "
            "convert -t writeback`, `cp` and `sync`; without: `compact --no-sync`, `qemu-img convert`, `cp`. Where `cp` is before it, it copies a "
            "file in a row without a look at a map, and starts one process where `compact` has two more that are confined.", "",
            report.table(["image", "", copies.OURS, copies.QEMU, copies.CP], rows), ""]
