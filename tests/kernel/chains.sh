#!/usr/bin/env bash
# Sparse extents and chains of snapshots: the bytes of /dev/mapper/NAME are those of the disk, random chains and chosen
# cases; what cannot be attached is refused.
set -eu
. "$(dirname -- "$0")/lib.sh"
start mke2fs mount umount
mkdir "$work/expected" "$work/mnt"
before=$(now_ms)
run_script chain_images.py "$images" "$work/expected" 1 15
remember_images
printf '  images and their sums: %d ms\n' $(($(now_ms) - before))

mount_shows_the_snapshot() {
    mount -o ro,noload "${device}1" "$work/mnt"
    [ "$(<"$work/mnt/hello.txt")" = 'hello from the snapshot 001' ] || fail 'the file is not the one of the snapshot'
    umount "$work/mnt"
}

# What the device must be like, however it was made.
device_is_right() {
    if [ "$case" = overlay ]; then printed "$device" "${device}1"; else printed "$device"; fi
    [ "$(blockdev --getro "$device")" = 1 ] || fail "$device is writable"
    if [ -s "$expected.bad" ]; then
        compare_around_errors "$device" "$expected"
    else
        same_bytes "$device" "$expected"
    fi
    [ "$case" != overlay ] || mount_shows_the_snapshot
}

# attach_and_compare STRATEGY: false when the strategy does not apply.
attach_and_compare() {
    local strategy=$1 before attached detached compared lines note=''
    before=$(now_ms)
    try attach --name "$disk" --strategy "$strategy" --cache-dir "$work/cache" "${options[@]}"
    if [ "$strategy,$status" = exceptions,4 ]; then
        says 'no run of the disk is short and aligned to 4 KiB'
        nothing_left 'a strategy that does not apply'
        return 1
    fi
    [ "$status" -eq 0 ] || fail "exit status $status"
    attached=$(now_ms)
    device_is_right
    if [ "$strategy,$case" = linear,shuffled ]; then
        lines=$(dmsetup table "$disk" | wc -l)
        [ "$lines" -gt 16000 ] || fail "$lines table lines, expected more than 16000"
        note=", $lines table lines"
    fi
    if [ "$strategy" = exceptions ]; then
        [[ $(dmsetup table "$disk") == *' snapshot '* || -b $device-grains ]] || fail 'there is no snapshot'
        is_device "$disk-origin"
        is_device "$disk-cow"
    fi
    if [ "$strategy" = materialise ]; then
        [ -n "$(loops_on "$work/cache")" ] || fail 'the disk does not lie on the cache'
    fi
    compared=$(now_ms)
    must detach "$disk"
    detached=$(now_ms)
    nothing_left "$case"
    check "$case $strategy$note: attach $((attached - before)) ms, detach $((detached - compared)) ms (compare $((compared - attached)) ms)"
}

snapshots=0
for arguments in "$work"/expected/*.arguments; do
    expected=${arguments%.arguments}
    case=${expected##*/}
    disk=vmdkdm-test-$case
    device=/dev/mapper/$disk
    mapfile -t options <"$arguments"
    attach_and_compare linear || fail "linear does not apply to $case"
    attach_and_compare materialise || fail "materialise does not apply to $case"
    if attach_and_compare exceptions; then snapshots=$((snapshots + 1)); fi
done
[ "$snapshots" -ge 12 ] || fail "only $snapshots disks were attached as snapshots"

check 'compressed grains are inflated once: the second attach finds them in the cache'
must table --cache-dir "$work/cache" "$images/stream/link0.vmdk"
[[ $(<"$work/out") == *$'
'"cached $work/cache/link0."* ]] || fail 'they are not in the cache'
must cache --clear --cache-dir "$work/cache"
must table --cache-dir "$work/cache" "$images/stream/link0.vmdk"
[[ $(<"$work/out") == *$'
'"copy 128.0 KiB to $work/cache/link0."* ]] || fail 'the cache is not empty'

check 'a damaged grain is refused without --allow-damaged'
refuses 3 attach --name vmdkdm-test-damaged "$images/damaged/link0.vmdk"
says '--allow-damaged)'
nothing_left 'a refused damaged image'
is_gone vmdkdm-test-damaged

conclude
