"""Plots by gnuplot, as SVG."""

import math
import subprocess

COLOURS = ("#d95f02", "#444444", "#7570b3", "#1b9e77", "#66a61e", "#e6ab02", "#a6761d", "#e7298a", "#999999", "#1f78b4")


def gnuplot(script):
    return subprocess.run(["gnuplot"], input=script, capture_output=True, text=True, check=True).stdout


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def data_block(name, rows):
    return f"${name} << END\n" + "".join(" ".join(row) + "\n" for row in rows) + "END\n"


def bars(title, groups, panels):
    """Clustered bars on a logarithmic scale. `panels`: {title: {contestant: [value or None, a group each]}}."""
    script = [f"set terminal svg size 1100,{320 * len(panels) + 60} font 'sans,13' background 'white'",
              "set style data histograms", "set style histogram clustered gap 1.5", "set style fill solid 0.9 noborder",
              "set logscale y", "set grid y lc rgb '#dddddd'", "set tics nomirror out", "set border 3", "set xtics scale 0",
              f"set ytics ({', '.join(str(digit * 10 ** power) for power in range(5) for digit in (1, 2, 5))})",
              f"set multiplot layout {len(panels)},1 title {quoted(title)}"]
    for number, (panel, contestants) in enumerate(panels.items()):
        rows = [[f'"{group}"', *(f"{values[i]:.6g}" if values[i] else "NaN" for values in contestants.values())]
                for i, group in enumerate(groups)]
        largest = max(value for values in contestants.values() for value in values if value)
        smallest = min(value for values in contestants.values() for value in values if value)
        script += [data_block(f"panel{number}", rows), f"set title {quoted(panel)} font ',14'",
                   "set key outside right top Left reverse" if number == 0 else "set key off",
                   "set rmargin 36", f"set yrange [{smallest / 2:.6g}:{largest * 1.5:.6g}]"]
        columns = [f"$panel{number} using {i + 2}{':xtic(1)' if i == 0 else ''} title {quoted(who)} lc rgb '{COLOURS[i % len(COLOURS)]}'"
                   for i, who in enumerate(contestants)]
        script.append("plot " + ", ".join(columns))
    return gnuplot("\n".join(script) + "\n")


def lines(panels):
    """Curves, both axes logarithmic. `panels`: [(title, x title, y title, {contestant: [(x, y)]})]."""
    names = list(dict.fromkeys(who for *_, curve in panels for who in curve))
    rows = math.ceil(len(panels) / 2)
    script = [f"set terminal svg size 1100,{360 * rows} font 'sans,13' background 'white'", "set logscale xy",
              "set grid lc rgb '#dddddd'", "set tics nomirror out", "set border 3", "set format x '%.0s%c'", "set key left top Left reverse",
              f"set multiplot layout {rows},{min(2, len(panels))}"]
    for number, (title, x_title, y_title, curve) in enumerate(panels):
        script += [f"set title {quoted(title)}", f"set xlabel {quoted(x_title)}", f"set ylabel {quoted(y_title)}"]
        for i, points in enumerate(curve.values()):
            script.append(data_block(f"curve{number}_{i}", [[f"{x:.6g}", f"{y:.6g}"] for x, y in sorted(points)]))
        script.append("plot " + ", ".join(
            f"$curve{number}_{i} with linespoints pt 7 ps 0.6 lw 2 lc rgb '{COLOURS[names.index(who) % len(COLOURS)]}' title {quoted(who)}"
            for i, who in enumerate(curve)))
    return gnuplot("\n".join(script) + "\n")
