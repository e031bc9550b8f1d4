#!/usr/bin/env bash
# The bytes of /dev/mapper/NAME are those of the disk, for every kind of flat image; what cannot be read gives EIO
# and its neighbours do not.
set -eu
. "$(dirname -- "$0")/lib.sh"
start cp

mkdir "$work/elsewhere"
make_images bytes "$work/elsewhere"

# The disk below the device extents is a loop device; its name is known before it is bound.
disk=$(losetup --find)
make_images devices "$disk" 4096
cp -- "$work/expected/disk" "$work/disk"
losetup --read-only --partscan "$disk" "$work/disk"
remember_images

descriptor_of() { echo "$images/$1/vmdkdm-test-$1.vmdk"; }

# The device's own sectors, read one by one past the page cache, with zeros for what fails.
read_sectors() {
    dd if="$1" of="$work/read" bs=512 iflag=direct conv=noerror,sync status=none 2>"$work/dd" || true
}

fails_with_eio() {
    if dd if="$1" of=/dev/null bs=512 skip="$2" count=1 iflag=direct status=none 2>"$work/dd"; then
        fail "$1: sector $2 can be read"
    fi
    [[ $(<"$work/dd") == *'Input/output error'* ]] || fail "$1: sector $2: $(<"$work/dd")"
}

for expected in "$work"/expected/*.options; do
    case=${expected##*/}
    case=${case%.options}
    check "$case"
    mapfile -t options <"$expected"
    expected=${expected%.options}
    name=vmdkdm-test-$case
    name=${name//[!a-zA-Z0-9-]/_}
    must attach ${options[0]+"${options[@]}"} "$(descriptor_of "$case")"
    device=/dev/mapper/$name
    printed "$device"
    if [ -s "$expected.bad" ]; then
        read_sectors "$device"
        same_bytes "$work/read" "$expected"
        while read -r first count; do
            fails_with_eio "$device" "$first"
            fails_with_eio "$device" $((first + count - 1))
        done <"$expected.bad"
    else
        same_bytes "$device" "$expected"
    fi
    # A disk and its partition cannot be in use both, so these do not stay attached together.
    [[ ${options[*]-} != *--allow-devices* ]] || must detach "$name"
done

check 'through the page cache, EIO stays within the unreadable range when that is aligned to pages'
status=0
dd if=/dev/mapper/vmdkdm-test-no-access of="$work/read" bs=64k status=none 2>"$work/dd" || status=$?
[ "$status" -ne 0 ] || fail 'dd without noerror read through the hole'
dd if=/dev/mapper/vmdkdm-test-no-access of="$work/read" bs=4096 conv=noerror,sync status=none 2>"$work/dd" || true
same_bytes "$work/read" "$work/expected/no-access"

must detach --all
nothing_left_but_the_disk() { [ "$(loops_on "$work")" = "$disk" ]; }
wait_until 60 nothing_left_but_the_disk || fail "loops are left: $(loops_on "$work")"

for case in short short-in-sector all-short; do
    check "$case is refused without --allow-short"
    refuses 3 attach "$(descriptor_of "$case")"
    says '(see --allow-short)'
done
check 'far is refused without --allow-path'
refuses 4 attach "$(descriptor_of far)"
says '(see --allow-path)'
for case in full-device vmfs-raw partitioned device-part; do
    check "$case is refused without --allow-devices"
    refuses 4 attach "$(descriptor_of "$case")"
    says '(see --allow-devices)'
done

same_bytes "$work/disk" "$work/expected/disk"
losetup --detach "$disk"
conclude
