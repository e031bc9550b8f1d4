#!/usr/bin/env python3
"""Says how a run of the tests went, at the end of scripts/test.

    tests/summary.py [--budget] BUDGETS STEP RESULTS...

STEP has a line "SECONDS NAME" for each step that is no test, such as a build. RESULTS are the files that ctest --output-junit wrote.
Prints the twenty that took longest, what each label took beside its budget (BUDGETS has a line "LABEL SECONDS" for each), and the
number of tests. A label's seconds are those of its tests, added up: several run at the same time.

Exit status: 1 if a test failed or, in CI, was skipped; or, with --budget, if a label took longer than its budget or has none.
"""

import argparse
import collections
import os
import pathlib
import sys
import xml.etree.ElementTree

Result = collections.namedtuple("Result", "name seconds verdict")
SLOWEST = 20


def results_of(path):
    """Those of one build. What did not run for another reason than its own wish to be skipped has failed."""
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        skipped = case.find("skipped")
        if case.get("status") == "run":
            verdict = "passed"
        elif skipped is not None and skipped.get("message", "").startswith("SKIP_"):
            verdict = "skipped"
        else:
            verdict = "failed"
        yield Result(case.get("name"), float(case.get("time")), verdict)


def steps_of(path):
    for line in path.read_text().splitlines():
        seconds, name = line.split(maxsplit=1)
        yield Result(name, float(seconds), "")


def budgets_of(path):
    lines = (line.split("#")[0].split() for line in path.read_text().splitlines())
    return {label: float(seconds) for label, seconds in filter(None, lines)}


def print_slowest(results):
    print("\nThe slowest:")
    for result in sorted(results, key=lambda each: -each.seconds)[:SLOWEST]:
        print(f"{result.seconds:8.0f} s  {result.name}{'' if result.verdict in ('', 'passed') else '  ' + result.verdict}")


def print_labels(results, budgets):
    """Returns the labels that took longer than they may."""
    taken = collections.Counter()
    number = collections.Counter()
    for result in results:
        label = result.name.split("/")[0]
        taken[label] += result.seconds
        number[label] += 1
    over = [label for label in taken if taken[label] > budgets.get(label, 0)]
    print("\nLabel     tests  seconds  budget")
    for label, seconds in taken.most_common():
        print(f"{label:<8} {number[label]:6} {seconds:8.0f} {budgets.get(label, 0):7.0f}{'  OVER BUDGET' if label in over else ''}")
    return over


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", action="store_true")
    parser.add_argument("budgets", type=pathlib.Path)
    parser.add_argument("steps", type=pathlib.Path)
    parser.add_argument("results", type=pathlib.Path, nargs="*")
    options = parser.parse_args()

    steps = list(steps_of(options.steps))
    of_build = {path.stem: list(results_of(path)) for path in options.results}
    results = [result for of_one in of_build.values() for result in of_one]
    empty = [build for build, of_one in of_build.items() if not of_one]
    print_slowest(steps + results)
    over = print_labels(steps + results, budgets_of(options.budgets))
    of_verdict = collections.defaultdict(list)
    for result in results:
        of_verdict[result.verdict].append(result.name)
    print()
    for verdict in ("failed", "skipped"):
        for name in of_verdict[verdict]:
            print(f"{verdict}: {name}")
    for build in empty:
        print(f"no test ran in build/{build}")
    if options.budget and over:
        print(f"over budget (tests/budget): {', '.join(over)}")
    print(f"{len(of_verdict['passed'])} passed, {len(of_verdict['failed'])} failed, {len(of_verdict['skipped'])} skipped")
    in_ci = os.environ.get("CI") == "true"
    failed = of_verdict["failed"] or not results or empty or (in_ci and of_verdict["skipped"]) or (options.budget and over)
    sys.exit(1 if failed else 0)


main()
