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
for kind in twice beyond descending many; do
    check "a store with chunks listed so that they are $kind"
    rm -f "$overlay"
    stores list "$images" "$chunk" "$kind"
    read -r capacity limit <<<"$answer"
    show
    dd if="$device" of="$work/shown" bs=1M iflag=direct status=none
    hide
    reads_as "$work/shown"
done

# ---- What is damaged so that writing would lose what was written before

# read_chunk NUMBER FILE: of the device, past the page cache.
read_chunk() { dd if="$device" of="$2" bs=4096 skip="$1" count=1 iflag=direct status=none; }
write_chunk() { dd if="$2" of="$device" bs=4096 seek="$1" oflag=direct conv=notrunc,fsync status=none; }

check 'the kernel loses an acknowledged write where a changed chunk lies in the tables; attach refuses such an overlay'
rm -f "$overlay"
stores list "$images" "$chunk" tables
read -r capacity limit <<<"$answer"
refuses 3 attach --overlay "$overlay" "$image"
says "overlay '$overlay': it is damaged: bytes 12288 to 16383 of the disk: a changed chunk lies in the tables of the overlay"
says 'see vmdk-dm overlay info; overlay merge-to --allow-damaged saves the rest'
nothing_left 'an attach with a damaged overlay'
show
head -c 4096 /dev/urandom >"$work/acknowledged"
write_chunk 20 "$work/acknowledged"
head -c 4096 /dev/zero >"$work/zeros"
write_chunk 3 "$work/zeros"
read_chunk 20 "$work/shown"
same_bytes "$work/shown" "$work/acknowledged"
hide
show
read_chunk 20 "$work/shown"
if cmp -s "$work/shown" "$work/acknowledged"; then fail 'the kernel has kept it: there is no reason to refuse'; fi
hide

# damaged KIND WHY PLACE:LENGTH... -- GOOD-PLACE: places in chunks; chunk 7 of the disk is good, and lies at GOOD-PLACE of the COW area.
damaged() {
    local kind=$1 why=$2 ranges=''
    shift 2
    rm -f "$overlay"
    stores list "$images" "$chunk" "$kind"
    read -r capacity limit <<<"$answer"
    cp "$images/disk-flat.vmdk" "$work/should"
    while [ "$1" != -- ]; do
        ranges+="{'start': $((${1%:*} * 4096)), 'length': $((${1#*:} * 4096)), 'why': '$why'}, "
        dd if=/dev/zero of="$work/should" bs=4096 seek="${1%:*}" count="${1#*:}" conv=notrunc status=none
        shift
    done
    dd if="$overlay" of="$work/should" bs=4096 skip=$((256 + $2)) seek=7 count=1 conv=notrunc status=none
    refuses 3 attach --overlay "$overlay" "$image"
    says "$why"
    refuses 3 table --overlay "$overlay" "$image"
    must overlay info --json "$overlay"
    json_holds "$work/out" "d['damaged'] == [$ranges]"
    must overlay info "$overlay"
    [[ $(<"$work/out") == *$'\nDamaged:    '*"attach refuses it"*"$why"* ]] || fail 'it is not shown'
    refuses 3 overlay merge-to --overlay "$overlay" "$image" "$work/none"
    [ ! -e "$work/none" ] || fail 'a damaged overlay was merged'
    must overlay merge-to --no-sync --force --allow-damaged --overlay "$overlay" "$image" "$work/raw"
    says "are taken for zeros: '$overlay': $why"
    same_bytes "$work/raw" "$work/should"
}
check 'every overlay with such a chunk is refused, shown, and saved but for that'
damaged tables 'a changed chunk lies in the tables of the overlay' 3:1 -- 2
damaged later-tables 'a changed chunk lies in the tables of the overlay' 5:1 -- 2
damaged outside 'a changed chunk lies beyond the end of the overlay' 3:2 -- 2
damaged shared 'several changed chunks lie on one place of the overlay' 0:2 -- 3

check 'one that lists a chunk twice is read as the kernel shows it, and not attached'
rm -f "$overlay"
stores list "$images" "$chunk" twice
refuses 3 attach --overlay "$overlay" "$image"
says 'the overlay lists a changed chunk twice, and there are'
must overlay merge-to --no-sync --force --overlay "$overlay" "$image" "$work/raw"

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
