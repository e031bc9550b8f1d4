#!/usr/bin/env bash
# What becomes of a disk whose files are cut short, deleted or replaced while it is attached. With direct I/O what is cut off
# cannot be read; without, the kernel gives zeros for it, without any error. list and detach say so. Everything else reads as
# ever, and detach works.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$here/stage.sh"
start cp mke2fs mount mv truncate umount
make_images small 1
make_grain_images inner
remember_images
name=vmdkdm-test-small1
disk=/dev/mapper/$name
expected=$work/expected/small1

# fresh: a copy of the image, attached; the copy is what is spoilt.
fresh() {
    rm -rf "$work/copy"
    cp -r "$images/small1" "$work/copy"
    image=$work/copy/$name.vmdk
    must attach "$image"
    is_silent
    must list
    is_silent
}

# read_past_cache: the whole disk, as the files are now.
read_past_cache() { dd if="$disk" of="$work/read" bs=65536 iflag=direct status=none; }

gone() {
    nothing_left "$1"
    images_unchanged
}

check 'an extent is cut short: list and detach say so, and what is not cut is right'
fresh
truncate -s $((100 * 512)) "$work/copy/a.bin"
note="note: '$work/copy/a.bin' has been cut short since $disk was attached: its last $((156 * 512)) bytes are gone, and a read that reaches into them gives zeros"
cp "$expected" "$work/should"
dd if=/dev/zero of="$work/should" bs=512 seek=100 count=156 conv=notrunc status=none
# Sector by sector: a loop device gives zeros for all of a read that reaches beyond the end.
dd if="$disk" of="$work/read" bs=512 iflag=direct status=none
same_bytes "$work/read" "$work/should"
must list
says "$note"
must list --json
json_holds "$work/out" "sorted(e['missing'] for e in d[0]['lowers']) == [0, $((156 * 512))]"
must detach "$name"
says "$note"
gone 'an extent that was cut short'
refuses 3 attach "$image"
says "'$work/copy/a.bin' is too short: 51200 bytes, expected 131072"
check 'and with direct I/O: errors'
make_stage 16
cp -r "$images/small1" "$work/stage/copy"
image=$work/stage/copy/$name.vmdk
must attach "$image"
truncate -s $((104 * 512)) "$work/stage/copy/a.bin"
printf '%s\n' '104 152' >"$work/should.bad"
dd if="$expected" of="$work/should" bs=512 skip=100 seek=100 count=4 conv=notrunc status=none
compare_around_errors "$disk" "$work/should"
must list
says "'$work/stage/copy/a.bin' has been cut short since $disk was attached: its last $((152 * 512)) bytes are gone, and a read that reaches into them fails"
must detach "$name"
nothing_left 'an extent that was cut short, with direct I/O'
remove_stage
check 'cut to nothing, and in the middle of a sector'
for size in 0 700; do
    fresh
    truncate -s "$size" "$work/copy/b.bin"
    must list
    says "its last $((192 * 512 - size)) bytes are gone, and a read that reaches into them gives zeros"
    must detach "$name"
    gone 'an extent that was cut short'
done
check 'one that has grown is as it was'
fresh
truncate -s 1M "$work/copy/b.bin"
must list
is_silent
same_bytes "$disk" "$expected"
must detach "$name"
gone 'an extent that has grown'

check 'an extent, then the descriptor, is deleted: everything is there until detach, by name or image'
fresh
rm "$work/copy/a.bin"
must list
says "note: '$work/copy/a.bin' has been deleted or replaced since $disk was attached: what is shown is the old file, until it is detached"
read_past_cache
same_bytes "$work/read" "$expected"
must detach "$image"
says "'$work/copy/a.bin' has been deleted or replaced"
gone 'an extent that was deleted'
fresh
rm -r "$work/copy"
read_past_cache
same_bytes "$work/read" "$expected"
must list --json
json_holds "$work/out" 'd[0]["image"] is None'
refuses 6 detach "$image"
must detach "$name"
gone 'an image that was deleted'
check 'an extent is replaced by another file: the old one is shown, and the new one after detach'
fresh
{ printf 'another'; tail -c +8 "$work/copy/b.bin"; } >"$work/copy/new"
mv "$work/copy/new" "$work/copy/b.bin"
read_past_cache
same_bytes "$work/read" "$expected"
must list
says "'$work/copy/b.bin' has been deleted or replaced"
refuses 5 attach "$image"
says "it is attached already, as $disk"
must detach "$name"
must attach "$image"
read_past_cache
cp "$expected" "$work/should"
printf 'another' | dd of="$work/should" bs=512 seek=320 conv=notrunc status=none
same_bytes "$work/read" "$work/should"
must detach "$name"
gone 'an extent that was replaced'
check 'the exception store and an overlay in memory have no name, and nothing is said of them'
must attach --strategy exceptions --scratch=1M "$images/inner/vmdkdm-test-inner.vmdk"
must list
is_silent
must detach vmdkdm-test-inner
is_silent
rm -rf "$work/copy"
conclude
