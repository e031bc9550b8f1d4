#!/usr/bin/env bash
# Overlays: what is written to the disk lands in a file or in memory, is there again after the next attach, and the
# image stays as it is. An overlay of another disk is refused; one that is full can still be read.
set -eu
. "$(dirname -- "$0")/lib.sh"
start cp mount stat touch umount
make_images disks 1 2
make_grain_images inner
# Apart: both kinds make a file system in the directory of the expected disks.
mkdir "$work/expected-4k"
"$python" "$here/images.py" partitions "$images" "$work/expected-4k"
remember_images
image=$images/disk1/vmdkdm-test-disk1.vmdk
original=$work/expected/disk1
name=vmdkdm-test-disk1
disk=/dev/mapper/$name
overlay=$work/overlay

# write_text FILE OFFSET TEXT: 4 KiB that begin with the text, past the page cache on a device.
write_text() {
    local flags=nocreat,notrunc
    printf '%s' "$3" >"$work/block"
    truncate -s 4096 "$work/block"
    [ ! -b "$1" ] || flags=notrunc,nocreat
    if [ -b "$1" ]; then
        dd if="$work/block" of="$1" bs=4096 seek="$2" oflag=direct,seek_bytes conv="$flags" status=none
    else
        dd if="$work/block" of="$1" bs=4096 seek="$2" oflag=seek_bytes conv="$flags" status=none
    fi
}

# write_both OFFSET TEXT: to the disk, and to what it should be.
write_both() {
    write_text "$disk" "$1" "$2"
    write_text "$work/should" "$1" "$2"
}

# fill DEVICE START: writes chunks of 16 KiB from there on until one fails; $written has how many went well.
fill() {
    run_script fill.py "$1" "$work/should" "$2"
    written=${answer%$'\n'}
}

# reads_as_it_should: past the page cache, which still has what could not be written.
reads_as_it_should() {
    blockdev --flushbufs "$disk" 2>"$work/cmp" || true
    dd if="$disk" of="$work/read" bs=65536 iflag=direct status=none
    same_bytes "$work/read" "$work/should"
}

state_is() {
    try list --json
    json_holds "$work/out" "d[0]['overlay']['state'] == '$1'"
    [ "$status" -eq "$2" ] || fail "list ends with $status, expected $2"
}

gone() {
    must detach "$name"
    nothing_left "${1:-an overlay}"
    images_unchanged
}

cp "$original" "$work/should"

check 'table shows what attach would do, and makes nothing'
must table --overlay "$overlay" "$image"
[[ $(<"$work/out") == *"rw 512 $overlay (4243456 bytes from byte 1048576 on)"*"$name-base ro "*"device $name rw "* ]] ||
    fail 'the overlay is not in the table'
[ ! -e "$overlay" ] || fail 'table made the overlay'

check 'what is written is on the disk and its partitions, and not in the image'
must attach --overlay "$overlay" "$image"
printed "$disk" "${disk}p1" "${disk}p2"
is_silent
[ "$(stat -c '%a %s' "$overlay")" = "600 $((1048576 + 4243456))" ] || fail "the file is $(stat -c '%a %s' "$overlay")"
for device in "$disk" "${disk}p1" "${disk}p2"; do
    [ "$(blockdev --getro "$device")" = 0 ] || fail "$device is read-only"
done
[ "$(blockdev --getro "$disk-base")" = 1 ] || fail 'what lies below is writable'
for loop in $(loops_on "$images"); do
    [ "$(blockdev --getro "$loop")" = 1 ] || fail "$loop on the image is writable"
done
[[ $(dmsetup table "$name") == *' PO 32' ]] || fail 'it is another kind of snapshot'
must list --json
json_holds "$work/out" 'd[0]["readOnly"] is False' "d[0]['overlay']['file'] == '$overlay'" \
    'd[0]["overlay"]["limit"] == 4243456' 'd[0]["overlay"]["state"] == "ok"' \
    '[l["overlay"] for l in d[0]["lowers"]].count(True) == 1' \
    'all(l["readOnly"] != l["overlay"] for l in d[0]["lowers"])' "d[0]['image'] == '$image'"
write_both 0 'the first block'
write_both $((4194304 - 4096)) 'the last block'
# The border of the image's two files, and of chunks.
write_both $((4000 * 512 - 2048)) 'across two files'
write_both $((3 * 16384 - 2048)) 'across two chunks'
reads_as_it_should
gone

check 'it is there again after the next attach, and can be changed again'
must attach --overlay "$overlay" "$image"
is_silent
reads_as_it_should
write_both $((3 * 16384 - 2048)) 'a second time'
write_both 3002368 'for the first time'
reads_as_it_should
gone

check 'a file system on a partition'
mkdir "$work/mount"
must attach --overlay "$work/with-ext4" "$image"
mount "${disk}p1" "$work/mount"
for i in 1 2 3 4 5; do echo "file $i" >"$work/mount/$i"; done
refuses 5 detach "$name"
says 'is in use: mounted'
umount "$work/mount"
gone
must attach --overlay "$work/with-ext4" "$image"
mount -o ro "${disk}p1" "$work/mount"
for i in 1 2 3 4 5; do [ "$(<"$work/mount/$i")" = "file $i" ] || fail "file $i is not there"; done
check 'detach --deferred'
must detach --deferred "$name"
umount "$work/mount"
nothing_left 'a deferred detach'
images_unchanged

check 'the image without its overlay is what it was'
must attach "$image"
same_bytes "$disk" "$original"
gone

# ---- Refusals

# refused STATUS MESSAGE-PART OPTION...
refused() {
    refuses "$1" attach "${@:3}"
    says "$2"
    nothing_left 'a refused attach'
}

check 'an overlay is attached once'
must attach --overlay "$overlay" "$image"
cp -R "$images/disk1" "$work/copy"
copy=$work/copy/$name.vmdk
refuses 5 attach --name vmdkdm-test-copy --accept-touched --overlay "$overlay" "$copy"
says "the overlay '$overlay' is in use: it is attached (see vmdk-dm list)"
gone
check 'a copy of image and overlay in another place: accepted when times were kept, else with --accept-touched'
mkdir "$work/elsewhere"
cp --preserve=timestamps "$images/disk1/"* "$work/elsewhere"
cp --sparse=always "$overlay" "$work/elsewhere/overlay"
must attach --overlay "$work/elsewhere/overlay" "$work/elsewhere/$name.vmdk"
is_silent
reads_as_it_should
must detach "$name"
refused 4 "the overlay belongs to another disk, or the image has changed: '$name.vmdk' was modified on" \
    --overlay "$overlay" "$copy"
says '(if only its time has changed, as by a copy without -p, see --accept-touched)'
must attach --accept-touched --overlay "$overlay" "$copy"
says 'note: '
reads_as_it_should
must detach "$name"
check 'another disk, or another state of this one'
refused 4 'the disk has ' --overlay "$overlay" "$images/inner/vmdkdm-test-inner.vmdk"
sed 's/^CID=.*/CID=01234567/' "$image" >"$work/copy/other.vmdk"
refused 4 'the CID of the image is 01234567, then' --overlay "$overlay" "$work/copy/other.vmdk"
printf x >>"$work/copy/disk1-f002.vmdk"
refused 4 "'disk1-f002.vmdk' has " --accept-touched --overlay "$overlay" "$copy"
check 'what is no overlay, or no longer a whole one'
refused 4 "--overlay '$image' is a file of the image" --overlay "$image" "$image"
cp "$original" "$work/no-overlay"
refused 3 "'$work/no-overlay': not an overlay of vmdk-dm" --overlay "$work/no-overlay" "$image"
same_bytes "$work/no-overlay" "$original"
refused 4 "'$work' is not a regular file" --overlay "$work" "$image"
refused 4 "'/dev/loop0' is not a regular file" --overlay /dev/loop0 "$image"
cp --sparse=always "$overlay" "$work/short"
truncate -s -512 "$work/short"
refused 3 'the overlay is cut short: ' --overlay "$work/short" "$image"
cp --sparse=always "$overlay" "$work/damaged"
printf '\010' | dd of="$work/damaged" bs=1 seek=$((1048576 + 12)) conv=notrunc status=none
refused 3 'the exception store has chunks of 8 sectors' --overlay "$work/damaged" "$image"
printf X | dd of="$work/damaged" bs=1 seek=30 conv=notrunc status=none
refused 3 'the header of the overlay is damaged: line 2: ' --overlay "$work/damaged" "$image"
check 'options that do not go together'
refused 2 'excludes' --in-place --overlay "$work/new" "$image"
refused 2 'excludes' --in-place --scratch "$image"
refused 2 'excludes' --overlay "$work/new" --scratch "$image"
refused 2 '--overlay-size needs --overlay' --overlay-size 1G "$image"
refused 2 "--overlay-size '1 G' is not a size" --overlay-size '1 G' --overlay "$work/new" "$image"
refused 2 'has room for nothing' --overlay-size 4K --overlay "$work/new" "$image"
check 'an overlay that was made for an attach that fails is gone again'
dmsetup create "$name-base" --notable
refuses 5 attach --overlay "$work/new" "$image"
says "the device name '$name-base' is taken"
dmsetup remove "$name-base"
[ ! -e "$work/new" ] || fail 'the overlay of a failed attach is there'
nothing_left 'a refused attach'

# ---- Full

check 'full: writes fail, everything can be read, and list says so'
cp "$original" "$work/should"
must attach --overlay "$work/small" --overlay-size 1M "$image"
state_is ok 0
fill "$disk" 0
[ "$written" -eq 62 ] || fail "$written chunks of 64 were written, two are the kernel's own"
reads_as_it_should
state_is overflow 7
must detach "$name"
must attach --overlay "$work/small" "$image"
reads_as_it_should
check 'changed chunks can still be written after the next attach, until another one is'
write_both 0 'into a chunk that has room'
reads_as_it_should
state_is low 7
gone
refused 4 'cannot get a smaller one' --overlay "$work/small" --overlay-size 512K "$image"
check 'a larger limit makes room again'
must attach --overlay "$work/small" --overlay-size 2M "$image"
reads_as_it_should
state_is ok 0
fill "$disk" 1048576
[ "$written" -gt 60 ] || fail "only $written chunks more"
reads_as_it_should
state_is overflow 7
gone
check 'an overlay that ends where the kernel would put its next exceptions overflows too, and is not given up'
cp "$original" "$work/should"
must attach --overlay "$work/border" --overlay-size $((16384 * 1026)) "$image"
must list --json
json_holds "$work/out" 'd[0]["overlay"]["limit"] == 16384 * 1025'
gone
check 'list --wait-low'
must attach --overlay "$work/waits" --overlay-size 1M "$image"
"$vmdk_dm" list --wait-low=50 >"$work/waited" 2>&1 &
waiter=$!
fill "$disk" 0
status=0
wait "$waiter" || status=$?
[ "$status" -eq 7 ] || fail "it ended with $status: $(<"$work/waited")"
gone
must attach --overlay "$work/waits-2" "$image"
"$vmdk_dm" list --wait-low >"$work/waited" 2>&1 &
waiter=$!
gone 'an overlay that was waited for'
status=0
wait "$waiter" || status=$?
[ "$status" -eq 0 ] || fail "it ended with $status: $(<"$work/waited")"
refuses 2 list --wait-low=101

check 'the file system of the overlay is full: what was written before is there after the next attach'
mkdir "$work/tmpfs"
mount -t tmpfs -o size=3m none "$work/tmpfs"
cp "$original" "$work/should"
must attach --overlay "$work/tmpfs/overlay" "$image"
state_is low 7
fill "$disk" 0
[ "$written" -gt 100 ] || fail "only $written chunks were written"
state_is invalid 7
must detach "$name"
must attach --overlay "$work/tmpfs/overlay" "$image"
says "'$work/tmpfs/overlay' is not valid any more: the kernel gave it up when a write to it, or a read of the image below it, failed"
reads_as_it_should
must detach "$name"
mount -o remount,size=8m "$work/tmpfs"
must attach --overlay "$work/tmpfs/overlay" "$image"
is_silent
reads_as_it_should
write_both 4001792 'there is room again'
reads_as_it_should
gone
umount "$work/tmpfs"

# ---- In memory

check 'scratch: writable, and forgotten at detach'
cp "$original" "$work/should"
must attach --scratch "$image"
is_silent
write_both 0 'only for now'
reads_as_it_should
must list --json
json_holds "$work/out" 'd[0]["overlay"]["scratch"] is True' 'd[0]["overlay"]["file"] is None' \
    'd[0]["overlay"]["state"] == "ok"'
gone
must attach --scratch=1M "$image"
cp "$original" "$work/should"
reads_as_it_should
check 'scratch that is full'
fill "$disk" 0
[ "$written" -eq 62 ] || fail "$written chunks of 64 were written"
reads_as_it_should
state_is overflow 7
gone
check 'and its memory is given back'
shared_memory() { while read -r key value _; do [ "$key" != Shmem: ] || echo "$value"; done </proc/meminfo; }
before=$(shared_memory)
must attach --scratch "$image"
dd if=/dev/zero of="$disk" bs=1M count=4 oflag=direct status=none
[ "$(shared_memory)" -gt $((before + 3000)) ] || fail 'it is not in memory'
gone
is_given_back() { [ "$(shared_memory)" -lt $((before + 500)) ]; }
wait_until 60 is_given_back || fail "shared memory: $before KiB before, $(shared_memory) after"

# ---- Other disks

check 'over a snapshot of single grains'
for strategy in linear exceptions; do
    name=vmdkdm-test-inner disk=/dev/mapper/vmdkdm-test-inner
    cp "$work/expected/inner" "$work/should"
    must attach --strategy "$strategy" --overlay "$work/inner-$strategy" "$images/inner/$name.vmdk"
    write_both 4096 'one block'
    write_both 65536 'another'
    reads_as_it_should
    gone "an overlay over $strategy"
    must attach --strategy "$strategy" --overlay "$work/inner-$strategy" "$images/inner/$name.vmdk"
    reads_as_it_should
    gone "an overlay over $strategy"
done
check 'and over one strategy what was written over another'
must attach --strategy linear --overlay "$work/inner-exceptions" "$images/inner/$name.vmdk"
reads_as_it_should
gone

check 'a disk with sectors of 4096 bytes, and one that claims to have them'
for kind in gpt4k gpt4k-odd; do
    name=vmdkdm-test-$kind disk=/dev/mapper/vmdkdm-test-$kind
    cp "$work/expected-4k/$kind" "$work/should"
    for _ in 1 2; do
        must attach --overlay "$work/$kind" "$images/$kind/$name.vmdk"
        reads_as_it_should
        write_both 8192 'one sector'
        write_both $((256 * 4096)) 'the first of the partition'
        reads_as_it_should
        gone "$kind"
    done
done
conclude
