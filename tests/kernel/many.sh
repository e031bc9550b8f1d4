#!/usr/bin/env bash
# A disk in 1,000 pieces: each in a file of its own, and all in three files.
set -eu
. "$(dirname -- "$0")/lib.sh"
start cp
make_images many 1000
remember_images

for case in many few; do
    name=vmdkdm-test-$case
    before=$(now_ms)
    must attach "$images/$case/$name.vmdk"
    attached=$(now_ms)
    printed "/dev/mapper/$name"
    same_bytes "/dev/mapper/$name" "$work/expected/$case"
    loops=$(loops_on "$images" | wc -l)
    lines=$(dmsetup table "$name" | wc -l)
    [ "$lines" -eq 1000 ] || fail "$lines table lines, expected 1000"
    if [ "$case" = many ]; then expected=1000; else expected=3; fi
    [ "$loops" -eq "$expected" ] || fail "$loops loops, expected $expected"
    compared=$(now_ms)
    must list --json
    json_holds "$work/out" "len(d[0]['lowers']) == $expected"
    listed=$(now_ms)
    must detach "$name"
    detached=$(now_ms)
    nothing_left "$case"
    check "$case: $loops loops, $lines lines: attach $((attached - before)) ms, detach $((detached - listed)) ms (compare $((compared - attached)) ms)"
done
conclude
