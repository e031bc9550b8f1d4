"""The part of bench/sparse that needs no device mapper: how fast a grain map is read and printed, beside qemu-img."""

import os
import subprocess
import sys
import time

import report

MIB = 1 << 20
GRAIN = 128  # sectors
MILLION = 1_000_000
# Sector numbers of grains have 32 bits, so of 2 TiB a little less can be allocated.
WHOLE_DISK_GIB, ALLOCATED_GIB = 2048, 2047
GRAINS_A_GIB = (1 << 21) // GRAIN


class Command:
    """A command whose standard output goes nowhere: its seconds, its processor seconds, its peak memory."""

    def __init__(self, *words):
        self.words = list(map(str, words))

    def run(self):
        start = time.monotonic()
        with subprocess.Popen(self.words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            errors = process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"bench/sparse: '{' '.join(self.words)}' failed:\n{errors.decode(errors='replace')}")
        return {"wall": time.monotonic() - start, "cpu": usage.ru_utime + usage.ru_stime,
                "memory": usage.ru_maxrss * 1024}


def measure(tool, directory, rounds):
    """The image files are left to whoever made the directory."""
    print("making images without data", file=sys.stderr, flush=True)
    images = {name: directory / f"{name}.vmdk" for name in ("million", "two million", "empty", "full")}
    make_image(images["million"], MILLION)
    make_image(images["two million"], 2 * MILLION)
    make_image(images["empty"], 0, "--capacity-gib", WHOLE_DISK_GIB)
    metadata = make_image(images["full"], ALLOCATED_GIB * GRAINS_A_GIB, "--runs", 1, "--capacity-gib", WHOLE_DISK_GIB)

    def tables(name):
        return Command("dd", f"if={images[name]}", "of=/dev/null", "bs=1M", "iflag=count_bytes", f"count={metadata}",
                       "status=none")

    pairs = [
        ("table of 1,000,000 runs", rounds, Command(tool, "table", images["million"]),
         "qemu-img map", Command("qemu-img", "map", images["million"]), 20),
        ("map --json of 1,000,000 runs", rounds, Command(tool, "map", "--json", images["million"]),
         "qemu-img map --output=json", Command("qemu-img", "map", "--output=json", images["million"]), 8),
        ("map of an empty 2 TiB disk", max(2, rounds // 10), Command(tool, "map", images["empty"]),
         "qemu-img map", Command("qemu-img", "map", images["empty"]), 20),
        ("map of an empty 2 TiB disk", rounds, Command(tool, "map", images["empty"]),
         "dd of its grain tables", tables("empty"), 0.5),
        ("map of a full 2 TiB disk", rounds, Command(tool, "map", images["full"]),
         "dd of its grain tables", tables("full"), 0.5),
    ]
    results = []
    for title, pair_rounds, ours, peer_name, peer, least in pairs:
        print(f"measuring: {title}, {peer_name}", file=sys.stderr, flush=True)
        samples = {"ours": [], "peer": []}
        ours.run()  # warms the page cache
        for number in range(pair_rounds):
            order = [("ours", ours), ("peer", peer)]
            for who, command in order if number % 2 else reversed(order):
                samples[who].append(command.run())
        results.append({"title": title, "against": peer_name, "least": least, **samples})
    peak = {name: min(Command(tool, "map", images[name]).run()["memory"] for _ in range(3))
            for name in ("million", "two million")}
    return {"pairs": results, "bytes per run": (peak["two million"] - peak["million"]) / MILLION,
            "peak": peak["million"]}


def make_image(path, grains, *options):
    """Where its data begins. A process of its own, because a child's peak memory counts what its parent had."""
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sparse_image.py")
    made = subprocess.run([sys.executable, "-B", program, path, "--grains", str(grains), *map(str, options)], check=True,
                          stdout=subprocess.PIPE)
    return int(made.stdout)


def summarise(samples):
    """Text, and a list of (bar, figure, limit, verdict)."""
    rows, bars = [], []
    for pair in samples["pairs"]:
        def column(who, what, pair=pair):
            return [sample[what] for sample in pair[who]]

        ratio = report.Spread(report.ratios(column("peer", "wall"), column("ours", "wall")))
        cpu = report.median(column("peer", "cpu")) / report.median(column("ours", "cpu"))
        rows.append([pair["title"], f"{report.median(column('ours', 'wall')) * 1000:.0f}", pair["against"],
                     f"{report.median(column('peer', 'wall')) * 1000:.0f}", f"{ratio.median:.3g}",
                     ratio.interval("{:.3g}"), f"{cpu:.3g}"])
        least = pair["least"]
        shown = (f"{ratio.median:.3g} times as fast", f">= {least}") if least >= 1 else (
            f"{1 / ratio.median:.2f} times as long", f"<= {1 / least:g}")
        bars.append([f"{pair['title']}, against {pair['against']}", *shown, report.verdict(ratio, least)])
    per_run = samples["bytes per run"]
    bars.append(["memory of a run, by the peak memory of 1,000,000 and 2,000,000 runs", f"{per_run:.1f} bytes", "<= 32",
                 "met" if per_run <= 32.5 else "MISSED"])
    text = "\n".join([
        "## Metadata", "",
        "In the running kernel, data of the images being holes, page cache warm, output to /dev/null. Milliseconds from start "
        "to end of the process, medians; the ratio is that of the peer's time to ours, pair by pair, and last the ratio of "
        "processor times.", "",
        report.table(["", "ms", "peer", "ms", "ratio", "95 % interval", "processor"], rows), "",
        f"Peak memory of `map` at 1,000,000 runs: {samples['peak'] / MIB:.0f} MiB; {per_run:.1f} bytes for each further run.",
        ""])
    return text, bars
