"""What the benchmarks' reports share: medians of pairs, aligned tables, and the machine in words."""

import math
import os
import re
import statistics

median = statistics.median


def ratios(values, others):
    return [value / other for value, other in zip(values, others, strict=True)]


class Spread:
    """The median of values, its 95 % confidence interval (by rank: no assumption on the distribution), quartiles."""

    def __init__(self, values):
        ordered = sorted(values)
        rank = max(0, math.floor(len(ordered) / 2 - 0.98 * math.sqrt(len(ordered))))
        self.median = median(ordered)
        self.low, self.high = ordered[rank], ordered[-1 - rank]
        self.lower_quartile, _, self.upper_quartile = statistics.quantiles(ordered, n=4)

    def interval(self, form="{:.2f}"):
        return f"{form.format(self.low)} to {form.format(self.high)}"

    def quartiles(self, form="{:.2f}"):
        return f"{form.format(self.lower_quartile)} to {form.format(self.upper_quartile)}"


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def table(head, rows):
    """A Markdown table whose columns are aligned in plain text too; all but the first column to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells):
        padded = [cell.ljust(width) if i == 0 else cell.rjust(width)
                  for i, (cell, width) in enumerate(zip(cells, widths))]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * max(3, width) if i == 0 else "-" * (max(3, width) - 1) + ":") for i, width in enumerate(widths)]
    widths = [max(3, width) for width in widths]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else "unknown processor"


def machine(kernel):
    return (f"Machine: {processor()}, {os.cpu_count()} processors, load {os.getloadavg()[1]:.1f} "
            f"(others use this machine too). Kernel: {kernel}.")


def kernel_version():
    """Without what a distributor appends."""
    return re.match(r"[0-9.]*[0-9]", os.uname().release).group()
