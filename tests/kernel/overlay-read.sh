#!/usr/bin/env bash
# What is read out of an overlay without the kernel is what the kernel's own dm-snapshot shows of it: of what was
# written through it, and of exception stores that no kernel would write. Here the snapshot is put together by hand.
set -eu
. "$(dirname -- "$0")/lib.sh"
start dmsetup losetup
stores() { run_script overlay_stores.py "$@"; }
image=$images/disk.vmdk
overlay=$work/overlay
device=/dev/mapper/vmdkdm-test-overlay

# show [MODE]: the snapshot of $overlay appears, by default writable; $capacity and $limit are set.
show() {
    base=$(losetup --find --show --read-only "$images/disk-flat.vmdk")
    cow=$(losetup --find --show --offset $((1 << 20)) --sizelimit "$limit" "$overlay")
    dmsetup create --verifyudev vmdkdm-test-overlay --table "0 $capacity snapshot $base $cow PO $chunk"
}

hide() {
    dmsetup remove --verifyudev vmdkdm-test-overlay
    losetup --detach "$base" "$cow"
}

# reads_as EXPECTED: by every command that reads it.
reads_as() {
    must compact --no-sync --force --overlay "$overlay" "$image" "$work/raw"
    same_bytes "$work/raw" "$1"
    must overlay merge-to --no-sync --force --overlay "$overlay" "$image" "$work/raw"
    same_bytes "$work/raw" "$1"
    must overlay merge-to --no-sync --force --overlay "$overlay" --format vmdk-delta "$image" "$work/delta.vmdk"
    must check "$work/delta.vmdk"
    must compact --no-sync --force "$work/delta.vmdk" "$work/raw"
    same_bytes "$work/raw" "$1"
}

for chunk in 8 128; do
    check "chunks of $chunk sectors: what was written is read, and went on after a second attach"
    stores make "$images" "$chunk"
    read -r capacity limit <<<"$answer"
    [ -e "$work/facts" ] || remember_images
    must overlay info --json "$overlay"
    json_holds "$work/out" "d['state'] == 'untouched'" "d['changes'] == []" "d['used'] == 0"
    for seed in 1 2; do
        show
        stores write "$device" "$seed"
        dd if="$device" of="$work/shown" bs=1M iflag=direct status=none
        must overlay info --json "$overlay"
        json_holds "$work/out" "d['state'] == 'valid'" "len(d['changes']) > 20" "d['loop'] == '$cow'"
        cp "$work/out" "$work/info"
        line=$(dmsetup status vmdkdm-test-overlay)
        refuses 5 overlay discard "$overlay"
        says "is attached: $cow is bound to it"
        refuses 5 overlay merge-to --overlay "$overlay" "$image" "$work/none"
        refuses 5 hash --overlay "$overlay" "$image"
        hide
        # "0 16003 snapshot 808/32200 16": sectors used, of how many.
        line=${line#*snapshot }
        json_holds "$work/info" "d['used'] == 512 * ${line%%/*}"
        reads_as "$work/shown"
    done
done

check 'an overlay that was discarded shows the image, also to the kernel'
must overlay discard "$overlay"
printed "$overlay"
show
dd if="$device" of="$work/shown" bs=1M iflag=direct status=none
hide
same_bytes "$work/shown" "$images/disk-flat.vmdk"
reads_as "$images/disk-flat.vmdk"

chunk=8
for kind in twice beyond shared descending many; do
    check "a store with chunks listed so that they are $kind"
    rm -f "$overlay"
    stores list "$images" "$chunk" "$kind"
    read -r capacity limit <<<"$answer"
    show
    dd if="$device" of="$work/shown" bs=1M iflag=direct status=none
    hide
    reads_as "$work/shown"
done

check 'a store that the kernel gave up is not shown by it, and read by us'
rm -f "$overlay"
stores list "$images" "$chunk" invalid
read -r capacity limit <<<"$answer"
show
if dd if="$device" of="$work/shown" bs=1M iflag=direct status=none 2>"$work/dd"; then fail 'the kernel shows it'; fi
hide
must overlay info --json "$overlay"
json_holds "$work/out" "d['state'] == 'invalid'" "d['bytesChanged'] == 8192"
must hash --overlay "$overlay" "$image"
says 'is not valid any more'

conclude
