#!/usr/bin/env bash
# The device under the image's files has bad sectors: exactly the sectors of the disk that lie there cannot be read, and all
# others are right. Where the metadata is bad, the image is refused, and it is said which byte of which file. What writes or
# hashes reports it and leaves nothing half made.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$here/stage.sh"
start cp mke2fs mount umount
make_images small 1
make_grain_images inner
make_grain_images stream
make_grain_images ext4
remember_images
make_stage 32
cp -r --preserve=timestamps "$images/." "$work/stage"
(cd "$work/stage" && find . -type f ! -path './lost+found/*' -exec sha256sum {} + | sort) >"$work/stage-sums"
injected=0

stage_images_unchanged() {
    (cd "$work/stage" && find . -type f ! -path './lost+found/*' -exec sha256sum {} + | sort) >"$work/stage-sums-now"
    same_bytes "$work/stage-sums-now" "$work/stage-sums"
}

# bad_sectors NAME SEED COUNT BLOCK: from now on COUNT sectors of the image's data are bad.
bad_sectors() {
    stage_is_sound
    run_script bad_sectors.py plan "$work/stage/$1" "$work/expected/$1" "$2" "$3" "$stage_device" 0 "$4" \
        "$work/bad-table" "$work/bad"
    printf '%s' "$answer"
    stage_becomes "$work/bad-table"
    injected=$((injected + $(grep -c error "$work/bad-table")))
}

reads_exactly() {
    run_script bad_sectors.py compare "$1" "$2" "$work/bad"
}

# reads_right_or_not_at_all FIRST DEVICE: at each alignment, around what cannot be read.
reads_right_or_not_at_all() {
    run_script bad_sectors.py alignments "$2" "$expected" "$1" "$work/bad"
    printf '%s' "$answer"
}

# each_way NAME COUNT OPTION...: by the host's page cache, where blocks of 4 KiB fail together, and past it.
each_way() {
    local name=vmdkdm-test-$1 round expected=$work/expected/$1
    for round in 'off 8' 'auto 1'; do
        check "$1 ${*:3}, direct I/O ${round% *}: $2 bad sectors"
        bad_sectors "$1" "$((seed += 1))" "$2" "${round#* }"
        must attach "--direct-io=${round% *}" "${@:3}" "$work/stage/$1/$name.vmdk"
        reads_exactly "/dev/mapper/$name" "$expected"
        reads_right_or_not_at_all 0 "/dev/mapper/$name"
        # A file system reads through a page cache of its own, on a partition that may begin anywhere.
        for first in 1 63; do
            dmsetup create vmdkdm-test-odd --verifyudev --readonly \
                --table "0 $(($(blockdev --getsz "/dev/mapper/$name") - first)) linear /dev/mapper/$name $first"
            reads_right_or_not_at_all $first /dev/mapper/vmdkdm-test-odd
            dmsetup remove --retry --verifyudev vmdkdm-test-odd
        done
        # The errors go when the device is well again: nobody remembers them.
        stage_is_sound
        blockdev --flushbufs "/dev/mapper/$name"
        same_bytes "/dev/mapper/$name" "$expected"
        must detach "$name"
        nothing_left "bad sectors under $1"
    done
}

seed=4711
each_way small1 24
each_way inner 24 --strategy linear
each_way inner 40 --strategy exceptions
each_way inner 24 --strategy exceptions --no-partitions --scratch=1M

small1=$work/stage/small1 inner=$work/stage/inner stream=$work/stage/stream ext4=$work/stage/ext4
error='Input/output error'

# refused_for WHAT ARGUMENT...: exit status 1, WHAT and the error in the message, and nothing is left.
refused_for() {
    refuses 1 "${@:2}"
    says "$1"
    says "$error"
    nothing_left "$2 of what cannot be read"
}

check 'a descriptor that cannot be read: refused by all that read it, and its file and byte are named'
stage_fails "$small1/vmdkdm-test-small1.vmdk" 0 1
for command in attach info check map table hash; do
    refused_for "cannot read '$small1/vmdkdm-test-small1.vmdk' at byte 0: " $command "$small1/vmdkdm-test-small1.vmdk"
done
check 'a header, a directory or a table of grains that cannot be read'
for sector in 0 21 26; do
    stage_fails "$inner/vmdkdm-test-inner.vmdk" $sector 1
    for command in attach map hash; do
        refused_for "cannot read '$inner/vmdkdm-test-inner.vmdk' at byte " $command "$inner/vmdkdm-test-inner.vmdk"
    done
    injected=$((injected + 1))
done
check 'a partition table that cannot be read: the disk is there, and it is said'
stage_fails "$small1/a.bin" 0 1
must attach "$small1/vmdkdm-test-small1.vmdk"
printed /dev/mapper/vmdkdm-test-small1
says "the partition table cannot be read ($error), so there are no partitions (see --no-partitions)"
must detach vmdkdm-test-small1
must attach --no-partitions "$small1/vmdkdm-test-small1.vmdk"
is_silent
must detach vmdkdm-test-small1

check 'data that cannot be read: hash, compact and certificates report it, and nothing half made is left'
stage_fails "$inner/base-flat.vmdk" 3000 2
mkdir "$work/out-there"
bad="cannot read '$inner/base-flat.vmdk' at byte 1536000: "
refused_for "$bad" hash "$inner/vmdkdm-test-inner.vmdk"
refused_for "$bad" compact "$inner/vmdkdm-test-inner.vmdk" "$work/out-there/raw"
refused_for "$bad" attach --strategy materialise --cache-dir "$work/out-there/cache" "$inner/vmdkdm-test-inner.vmdk"
refused_for "$bad" attach --seal "$work/out-there/seal" "$inner/vmdkdm-test-inner.vmdk"
check 'and so with grains that are compressed'
stage_fails "$stream/vmdkdm-test-stream.vmdk" 300 2
bad="cannot read '$stream/vmdkdm-test-stream.vmdk' at byte 151552: "
refused_for "$bad" hash "$stream/vmdkdm-test-stream.vmdk"
refused_for "$bad" compact "$stream/vmdkdm-test-stream.vmdk" "$work/out-there/raw"
refused_for "$bad" attach --cache-dir "$work/out-there/cache" "$stream/vmdkdm-test-stream.vmdk"
left=$(find "$work/out-there" -type f)
[ -z "$left" ] || fail "half a file is left: $left"


check 'a file system whose superblock cannot be read: that is what filesystems and mount say'
mkdir "$work/mnt"
stage_fails "$ext4/base-flat.vmdk" 10 1
must filesystems "$ext4/vmdkdm-test-ext4.vmdk"
[[ $(<"$work/out") == *unreadable* ]] || fail "it is not said: $(<"$work/out")"
refuses 6 mount "$ext4/vmdkdm-test-ext4.vmdk" "$work/mnt"
says 'a file system is not there; this is:'
says ' unreadable, '
nothing_left 'a mount of what cannot be read'

# ---- Overlays

disk=/dev/mapper/vmdkdm-test-small1
cp "$work/expected/small1" "$work/should"

# write_block BYTES SEEK: one block of so many bytes, to the disk and to what it should be; false when the disk refuses.
write_block() {
    printf 'block %d of %d bytes' "$2" "$1" >"$work/block"
    truncate -s "$1" "$work/block"
    dd if="$work/block" of="$disk" bs="$1" seek="$2" oflag=direct conv=fsync,notrunc status=none 2>"$work/dd" || {
        [[ $(<"$work/dd") == *"$error"* ]] || fail "a write failed otherwise: $(<"$work/dd")"
        return 1
    }
    dd if="$work/block" of="$work/should" bs="$1" seek="$2" conv=notrunc status=none
}
overlay_is() {
    try list --json
    [ "$status" -eq "$2" ] || fail "list ends with $status, expected $2"
    json_holds "$work/out" "d[0]['overlay']['state'] == '$1'"
}
disk_is_as_it_should_be() {
    dd if="$disk" of="$work/read" bs=65536 iflag=direct status=none
    same_bytes "$work/read" "$work/should"
}

check 'the device of an overlay fails: writes are errors, list says so, and detach works'
# In the page cache, what was not acknowledged may still be there to be written.
must attach --direct-io=off --overlay "$work/stage/overlay" "$images/small1/vmdkdm-test-small1.vmdk"
for block in 20 30; do write_block 4096 "$block" || fail "a sound overlay: $(<"$work/dd")"; done
overlay_is ok 0
stage_becomes "0 $stage_sectors error"
injected=$((injected + 1))
! write_block 4096 40 || fail 'a write to a dead device went well'
overlay_is invalid 7
refuses 1 detach vmdkdm-test-small1
says "it is detached, but the overlay '$work/stage/overlay' could not be written to the disk: $error"
nothing_left 'an overlay whose device failed'
stage_is_sound
umount "$work/stage"
mount -t ext4 -o errors=continue "/dev/mapper/$stage" "$work/stage"
check 'and every write that was acknowledged is there when the device is well again'
must attach --overlay "$work/stage/overlay" "$images/small1/vmdkdm-test-small1.vmdk"
overlay_is ok 0
disk_is_as_it_should_be
write_block 4096 40 || fail "the overlay cannot be written: $(<"$work/dd")"
disk_is_as_it_should_be
must detach vmdkdm-test-small1
nothing_left 'an overlay that is well again'

check 'an image below an overlay fails: only what needs it does, until a write needs it'
cp "$work/expected/small1" "$work/should"
stage_fails "$small1/b.bin" 80 1
must attach --overlay "$work/overlay" "$small1/vmdkdm-test-small1.vmdk"
write_block 4096 20 || fail "a chunk elsewhere: $(<"$work/dd")"
write_block 16384 14 || fail "a whole chunk elsewhere: $(<"$work/dd")"
overlay_is ok 0
# A part of the chunk that holds the bad sector: the rest of it must be copied, and the kernel gives the overlay up.
! write_block 512 404 || fail 'a chunk was copied that cannot be read'
overlay_is invalid 7
must detach vmdkdm-test-small1
nothing_left 'an overlay over what cannot be read'
check 'and what was written before that is there again'
must attach --overlay "$work/overlay" "$small1/vmdkdm-test-small1.vmdk"
says "'$work/overlay' is not valid any more: the kernel gave it up when a write to it, or a read of the image below it, failed"
overlay_is ok 0
echo 400 >"$work/bad"
reads_exactly "$disk" "$work/should"
check 'a write of the whole chunk needs nothing of it, and heals it'
write_block 16384 12 || fail "a whole chunk: $(<"$work/dd")"
must detach vmdkdm-test-small1
nothing_left 'an overlay over what cannot be read'

check 'an overlay whose header or exceptions cannot be read is refused, and is not changed'
stage_is_sound
cp "$work/overlay" "$work/stage/overlay"
sync
for place in '0 0' '2048 1048576' '2080 1064960'; do
    stage_fails "$work/stage/overlay" "${place% *}" 1
    injected=$((injected + 1))
    refused_for "cannot read '$work/stage/overlay' at byte ${place#* }: " attach --overlay "$work/stage/overlay" \
        "$images/small1/vmdkdm-test-small1.vmdk" --accept-touched
done
stage_is_sound
same_bytes "$work/stage/overlay" "$work/overlay"
rm "$work/stage/overlay"
stage_images_unchanged
remove_stage
printf '  %d bad sectors\n' "$injected"
conclude
