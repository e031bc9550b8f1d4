"""What the benchmarks' reports share: medians of pairs, aligned tables, a plot, and the machine in words."""

import math
import os
import re
import statistics
from xml.sax.saxutils import escape

median = statistics.median


def flatten(lists):
    return [value for values in lists for value in values]


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


def verdict(spread, least):
    if spread.median >= least:
        return "met"
    return "MISSED" if spread.high < least else "missed, within the error"


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


def machine(kernel):
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    load = os.getloadavg()[1]
    return (f"Machine: {models[0] if models else 'unknown processor'}, {os.cpu_count()} processors, load {load:.1f} "
            f"(others use this machine too). Kernel: {kernel}.")


def kernel_version():
    """Without what a distributor appends."""
    return re.match(r"[0-9.]*[0-9]", os.uname().release).group()


def panels(title, groups, ours):
    """An SVG: one panel a group, each with bars on a scale of its own. groups: [(title, [(label, value)])]."""
    left, bar, gap, width, head = 150, 22, 6, 420, 40
    panel = head + max(len(bars) for _, bars in groups) * (bar + gap) + 14
    height = head + panel * len(groups)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 110} {height}" '
             'font-family="sans-serif" font-size="14">',
             f'<rect width="{left + width + 110}" height="{height}" fill="white"/>',
             f'<text x="12" y="26" font-size="17">{escape(title)}</text>']
    for i, (name, bars) in enumerate(groups):
        top = head + i * panel
        parts.append(f'<text x="12" y="{top + 24}" font-weight="bold">{escape(name)}</text>')
        largest = max(value for _, value in bars)
        for j, (label, value) in enumerate(bars):
            y = top + head + j * (bar + gap)
            length = max(1, round(width * value / largest))
            parts += [f'<text x="{left - 8}" y="{y + 16}" text-anchor="end">{escape(label)}</text>',
                      f'<rect x="{left}" y="{y}" width="{length}" height="{bar}" '
                      f'fill="{"#d95f02" if label == ours else "#7f8fa6"}"/>',
                      f'<text x="{left + length + 6}" y="{y + 16}">{number(value)}</text>']
    return "\n".join([*parts, "</svg>", ""])
