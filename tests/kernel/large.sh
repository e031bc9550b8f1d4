#!/usr/bin/env bash
# A disk in 600,000 pieces, in both ways of showing it: a line for each, in several devices since one cannot hold so many,
# and as a snapshot. Chosen sectors are compared, not the whole disk.
set -eu
. "$(dirname -- "$0")/lib.sh"
start stat
before=$(now_ms)
make_grain_images large
printf '  image: %d ms\n' $(($(now_ms) - before))
name=vmdkdm-test-large
image=$images/large/$name.vmdk
facts=$(stat -c '%s %y' "$image") # it is too large for sums

# What tables, exceptions and stores take, in KiB. Pages of files come and go and are not counted.
kernel_memory() {
    local key value sum=0
    while read -r key value _; do
        case $key in
        SUnreclaim: | VmallocUsed: | Shmem:) sum=$((sum + value)) ;;
        esac
    done </proc/meminfo
    echo "$sum"
}

# attach_as STRATEGY LIMIT-IN-MIB DEVICE...: with exactly these inner devices.
attach_as() {
    local strategy=$1 limit=$2 memory before attached compared listed detached took layer before_detach
    measure_command
    memory=$(kernel_memory)
    before=$(now_ms)
    must attach --strategy "$strategy" "$image"
    attached=$(now_ms)
    took=$((($(kernel_memory) - memory) / 1024))
    printed "/dev/mapper/$name"
    for layer in "${@:3}"; do is_device "$name-$layer"; done
    run_script grain_images.py compare "/dev/mapper/$name" "$work/expected/large"
    compared=$(now_ms)
    must list --json
    listed=$(now_ms)
    json_holds "$work/out" "d[0]['image'] == '$image'" 'len(d) == 1' \
        "sorted(e['path'] for e in d[0]['inner']) == sorted('/dev/mapper/$name-' + e for e in '${*:3}'.split())"
    [ $((listed - compared)) -lt $((3000 + 10 * unit_ms)) ] || fail "list took $((listed - compared)) ms"
    before_detach=$(now_ms)
    must detach "$name"
    detached=$(now_ms)
    [ $((detached - before_detach)) -lt $((5000 + 20 * unit_ms)) ] || fail "detach took $((detached - before_detach)) ms"
    nothing_left "$strategy"
    check "$strategy: attach $((attached - before)) ms, $took MiB of the kernel's memory"
    printf '  list %d ms, detach %d ms, compare %d ms\n' $((listed - compared)) $((detached - before_detach)) \
        $((compared - attached))
    [ "$took" -lt "$limit" ] || fail "$strategy took $took MiB of the kernel's memory, expected less than $limit"
    took=$((($(kernel_memory) - memory) / 1024))
    [ "$took" -lt 5 ] || fail "$took MiB are not given back after detach"
}

attach_as linear 200 map0 map1 pages
attach_as exceptions 60 origin cow pages
attach_as auto 60 origin cow pages
check 'where there is no place for a store, auto shows the disk line by line and says so'
must attach --run-dir "$work/missing/run" "$image"
says "cannot hold an exception store (see --run-dir)"
is_device "$name-map1"
must detach "$name"
nothing_left 'auto without a store'

[ "$(stat -c '%s %y' "$image")" = "$facts" ] || fail 'the image has changed'
conclude
