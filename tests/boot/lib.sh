# Common ground of the tests on a whole system. A test is a bash script that sources this file, is given the path of the
# installed vmdk-dm, and runs as root in the virtual machine:
#
#   scripts/run-in-vm --install build/release --new-disk 128M -- bash tests/boot/NAME.sh /usr/local/sbin/vmdk-dm
#
# (CMakeLists.txt has the disks that each needs; those that share a machine there, devices.sh, run alone too.)
#
# It stands on the lib.sh of the kernel tests: start, must, refuses, remember_images, conclude and the rest are there.
# The machine is thrown away at the end, so that nothing need be undone but what the test is about.
# shellcheck shell=bash
. "$(dirname -- "${BASH_SOURCE[0]}")/../kernel/lib.sh"
boot=$(dirname -- "${BASH_SOURCE[0]}")

# Longer than there: what is asked again costs an emulated processor 100 ms, which those that are waited for need.
pause() { read -r -t 0.4 _ <&"$never" || true; }

# run COMMAND...: it must succeed; what it says is shown only if it does not.
run() {
    local status=0
    "$@" >"$work/run" 2>&1 || status=$?
    [ "$status" -eq 0 ] || { cat -- "$work/run"; fail "exit status $status of: $*"; }
}

# leave: ends a test that leaves the machine as it is.
leave() {
    concluded=true
    printf '%s: %d checks in %d s\n' "${0##*/}" "$checks" "$SECONDS"
}

# settled: udev and systemd have done all that they were told of.
settled() {
    udevadm settle --timeout=60 || fail 'udev does not come to rest'
    wait_until 60 no_jobs || { systemctl list-jobs; fail 'systemd does not come to rest'; }
}
# The end of the boot itself may wait for the test.
no_jobs() { ! systemctl list-jobs --no-legend | grep -q -v -e run-in-vm -e graphical.target -e update-utmp; }

# flat_image NAME DISK: an image of one flat extent, a copy of the whole disk, at $images/NAME/vmdkdm-test-NAME.vmdk.
flat_image() {
    local directory=$images/$1 file=vmdkdm-test-$1
    mkdir -p "$directory"
    dd if="$2" of="$directory/$file-flat.vmdk" bs=1M conv=sparse status=none
    cat >"$directory/$file.vmdk" <<END
# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="monolithicFlat"
RW $(($(stat --format %s "$directory/$file-flat.vmdk") / 512)) FLAT "$file-flat.vmdk" 0
END
}

# system_state: what the rest of the system has and does about block devices, one line each. What is ours, by the name of
# the mapped device or the file of the loop, and /dev/disk/by-vmdk, are left out.
system_state() { "$python" "$boot/system_state.py" "$images"; }

# nothing_changed WHEN: system_state is what remember_system saw.
remember_system() { system_state >"$work/system"; }
nothing_changed() {
    settled
    system_state >"$work/system-now"
    cmp -s "$work/system" "$work/system-now" || {
        diff "$work/system" "$work/system-now" || true
        fail "the system has changed $1"
    }
}

# our_devices: the kernel's names of our mapped devices, and of the loops below them.
our_devices() {
    local path name
    for path in /sys/block/dm-*/dm/name; do
        { read -r name <"$path"; } 2>/dev/null || continue
        [[ $name != vmdkdm-test-* ]] || { path=${path#/sys/block/}; echo "${path%%/*}"; }
    done
    loops_on "$images" | while read -r name; do echo "${name#/dev/}"; done
}

# ours_are_left_alone: nobody has looked into our devices, and udisks does not offer them to desktops.
ours_are_left_alone() {
    local name key
    wait_until 60 udisks_offers /dev/vda || fail 'udisks does not even offer /dev/vda'
    our_devices >"$work/ours"
    [ -s "$work/ours" ] || fail 'there are no devices of ours'
    while read -r name; do
        udevadm info --query=property "/dev/$name" >"$work/properties"
        for key in ID_FS_TYPE ID_FS_UUID ID_FS_LABEL ID_PART_TABLE_TYPE; do
            ! grep -q -e "^$key=" "$work/properties" || fail "udev knows of $name: $(grep -e "^$key=" "$work/properties")"
        done
        ! udisks_offers "/dev/$name" || fail "udisks offers $name: $(<"$work/udisks")"
    done <"$work/ours"
}
# Events with DM_UDEV_DISABLE_OTHER_RULES_FLAG it does not look at: mapped devices it then does not know, and a loop
# that it knew stays the idle one of size 0 that it was. UDISKS_IGNORE makes a hint.
udisks_offers() {
    udisksctl info --block-device "$1" >"$work/udisks" 2>&1 \
        && grep -q 'Size: *[1-9]' "$work/udisks" && ! grep -q 'HintIgnore: *true' "$work/udisks"
}

# is_linked LINK DEVICE: by their numbers, as without an answer of udev's in time the node in /dev/mapper is one of ours.
is_linked() {
    [ -b "/dev/disk/by-vmdk/vmdkdm-test-$1" ] || { ls -l /dev/disk/by-vmdk; fail "there is no link for $1"; }
    [ "$(sys_of "/dev/disk/by-vmdk/vmdkdm-test-$1")" = "$(sys_of "/dev/mapper/vmdkdm-test-$2")" ] \
        || fail "/dev/disk/by-vmdk/vmdkdm-test-$1 does not lead to vmdkdm-test-$2"
}
no_links_left() {
    [ -z "$(find /dev/disk -path '*vmdk*' ! -type d)" ] || fail "left: $(find /dev/disk -path '*vmdk*')"
}

# attach NAME OPTION...: of the image that flat_image made. On a busy machine udev may take longer than attach waits, which
# is then said and no failure: what it does in the end is looked at.
attach() {
    must attach "${@:2}" "$images/$1/vmdkdm-test-$1.vmdk"
    cat -- "$work/err"
}

# partitioned DISK NAME: ext4, swap, LVM, LUKS and MD, one partition each, all with NAME in their labels and names. 72M is enough.
partitioned() {
    run sfdisk --quiet "$1" <<END
label: gpt
size=12M
size=8M, type=swap
size=20M, type=lvm
size=18M
size=8M, type=raid
END
    settled
    run mke2fs -q -t ext4 -L "$2-files" "${1}1"
    run mkswap -L "$2-swap" "${1}2"
    logical_volume "${1}3" "$2-vg"
    run mke2fs -q -t ext4 -L "$2-lv" "/dev/$2-vg/data"
    printf secret | run cryptsetup luksFormat --batch-mode --label "$2-luks" --pbkdf pbkdf2 \
        --pbkdf-force-iterations 1000 --key-file - "${1}4"
    array "${1}5" "$2-md"
}
logical_volume() {
    run pvcreate -q "$1"
    run vgcreate -q --setautoactivation y "$2" "$1"
    run lvcreate -q --yes --wipesignatures n --extents 50%FREE --name data "$2"
}
array() {
    run mdadm --create "/dev/md/$2" --run --level 1 --raid-devices 2 --homehost any --name "$2" "$1" missing
    settled # the link is udev's
    run mke2fs -q -t ext4 -L "$2" "/dev/md/$2"
}
unused() {
    run vgchange -q --activate n "$1"
    run mdadm --stop "/dev/md/$2"
}
