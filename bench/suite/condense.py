"""Raw samples of bench/run -> the few numbers of them that are kept."""

import statistics

import report
from suite import copies
from suite.peers import OURS
from suite.reads import CONTROL, YARDSTICK



def condense(result):
    result = dict(result)
    if "reads" in result:
        result["reads"] = {key: condense_image(sample) for key, sample in result["reads"].items()}
    if "copies" in result:
        result["copies"] = {title: {way: condense_copies(seconds) for way, seconds in ways.items()}
                            for title, ways in result["copies"].items()}
    if "files" in result:
        result["files"] = {title: {who: rows if "refused" in rows else medians(rows) for who, rows in contestants.items()}
                           for title, contestants in result["files"].items()}
    return result


def condense_image(sample):
    return {"title": sample["title"], "refused": sample["refused"],
            "opening": {who: medians(rows) for who, rows in sample["opening"].items()},
            "reads": {state: {title: condense_rates(rates) for title, rates in workloads.items()}
                      for state, workloads in sample["reads"].items()}}


def medians(rows):
    """Of each figure, over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: statistics.median(row[name] for row in rows if name in row) for name in names}


def condense_rates(rates):
    by_round = {who: [statistics.median(turns) for turns in rounds] for who, rounds in rates.items()}
    found = {}
    for who, values in by_round.items():
        found[who] = {"mib_s": statistics.median(values)}
        if who != OURS:
            found[who]["vmdk-dm to it"] = spread(report.ratios(by_round[OURS], values))
    found[CONTROL]["to the other"] = spread(report.ratios(by_round[CONTROL], by_round[YARDSTICK]))
    return found


def condense_copies(seconds):
    found = {who: {"seconds": statistics.median(values)} for who, values in seconds.items()}
    for who in seconds:
        if who != copies.OURS:
            found[who]["times as long as vmdk-dm"] = spread(report.ratios(seconds[who], seconds[copies.OURS]))
    return found


def spread(values):
    """Median and the ends of its 95 % confidence interval."""
    found = report.Spread(values)
    return [found.median, found.low, found.high]
