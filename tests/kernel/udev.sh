#!/usr/bin/env bash
# With a real udevd, started here in the embedded kernel: nodes are udev's links, the devices carry the quarantine
# flags, a clone's links do not replace those of an earlier disk, nothing is left; and a udevd that stops in the middle
# is given up, with whatever it left undone done by us.
set -eu
. "$(dirname -- "$0")/lib.sh"
start mke2fs udevadm pidof
udevd=/lib/systemd/systemd-udevd
[ -x "$udevd" ] || missing 'no systemd-udevd (package udev)'
[ ! -e /run/udev/control ] || missing 'an udevd runs here already (see scripts/run-in-kernel)'
mkdir -p /run/udev
"$udevd" --daemon >"$work/udevd" 2>&1 || fail "udevd does not start: $(<"$work/udevd")"
udevadm control --ping --timeout=20 || fail 'udevd does not answer'
udevadm settle --timeout=30

make_images disks 2
make_grain_images ext4
remember_images
one=$images/disk1/vmdkdm-test-disk1.vmdk
two=$images/disk2/vmdkdm-test-disk2.vmdk
disk=/dev/mapper/vmdkdm-test-disk

properties() { udevadm info --query=property "$1" >"$work/cmp"; }
has_property() { grep -q -x -F -e "$1" "$work/cmp" || fail "udev's database lacks $1"; }
lacks_property() { ! grep -q -e "^$1=" "$work/cmp" || fail "udev's database has $(grep -e "^$1=" "$work/cmp")"; }

check 'the nodes are links made by udev, and there when attach returns'
must attach "$one"
is_silent
for path in "${disk}1" "${disk}1p1"; do
    { [ -L "$path" ] && [ -b "$path" ]; } || fail "$path is not a link to a device"
done
same_bytes "${disk}1" "$work/expected/disk1"
check 'LVM and udisks are told to keep out, and links of others win; for partitions too'
for path in "${disk}1" "${disk}1p1"; do
    properties "$path"
    has_property DM_UDEV_DISABLE_OTHER_RULES_FLAG=1
    has_property DM_UDEV_LOW_PRIORITY_FLAG=1
done
check 'the flags survive a re-trigger'
udevadm trigger --settle --name-match "${disk}1p1"
properties "${disk}1p1"
has_property DM_UDEV_DISABLE_OTHER_RULES_FLAG=1
has_property DM_UDEV_LOW_PRIORITY_FLAG=1
check 'detach: the links go'
must detach vmdkdm-test-disk1
is_silent
is_gone vmdkdm-test-disk1
is_gone vmdkdm-test-disk1p1
[ ! -e /dev/disk/by-id/dm-name-vmdkdm-test-disk1 ] || fail 'a link in /dev/disk/by-id is left'

# Nothing below /dev/disk, and no record that anybody has looked into them.
inner_devices_are_private() {
    local path layer link target devices=()
    for layer in origin cow grains; do
        path=/dev/mapper/vmdkdm-test-ext4-$layer
        { [ -L "$path" ] && [ -b "$path" ]; } || fail "$path is not a link to a device"
        devices+=("$(readlink -f "$path")")
        properties "$path"
        for key in ID_FS_TYPE ID_FS_UUID ID_PART_TABLE_TYPE; do lacks_property "$key"; done
        for flag in DISK SUBSYSTEM OTHER; do has_property "DM_UDEV_DISABLE_${flag}_RULES_FLAG=1"; done
        ! grep -q -e '^DEVLINKS=.*/dev/disk/' "$work/cmp" || fail "$path has $(grep -e '^DEVLINKS=' "$work/cmp")"
    done
    for link in /dev/disk/*/*; do
        target=$(readlink -f "$link")
        [[ " ${devices[*]} " != *" $target "* ]] || fail "$link leads to the inner device $target"
    done
}

check 'inner devices have nodes, and neither links under /dev/disk nor anybody who looks into them'
must attach --strategy exceptions "$images/ext4/vmdkdm-test-ext4.vmdk"
is_silent
inner_devices_are_private
check 'the disk itself is known as what it is, an ext4 with its links'
properties /dev/mapper/vmdkdm-test-ext4
has_property ID_FS_TYPE=ext4
uuid=$(grep -e '^ID_FS_UUID=' "$work/cmp")
[ /dev/disk/by-uuid/"${uuid#*=}" -ef /dev/mapper/vmdkdm-test-ext4 ] || fail 'its by-uuid link does not lead to it'
check 'so it stays after a re-trigger'
for layer in '' -origin -cow -grains; do
    udevadm trigger --settle --name-match "/dev/mapper/vmdkdm-test-ext4$layer"
done
inner_devices_are_private
[ /dev/disk/by-uuid/"${uuid#*=}" -ef /dev/mapper/vmdkdm-test-ext4 ] || fail 'its by-uuid link does not lead to it'
must detach vmdkdm-test-ext4
is_silent
for layer in '' -origin -cow -grains; do is_gone "vmdkdm-test-ext4$layer"; done
[ ! -L /dev/disk/by-uuid/"${uuid#*=}" ] || fail 'a link in /dev/disk/by-uuid is left'
check 'detach --deferred of it while it is open: nobody is waited for; then all goes, links too'
must attach --strategy exceptions "$images/ext4/vmdkdm-test-ext4.vmdk"
exec {reader}</dev/mapper/vmdkdm-test-ext4
before=$(now_ms)
must detach --deferred vmdkdm-test-ext4
is_silent
[ $(($(now_ms) - before)) -lt 5000 ] || fail 'it waited'
same_bytes /dev/mapper/vmdkdm-test-ext4 "$work/expected/ext4"
for layer in -origin -cow -grains; do is_device "vmdkdm-test-ext4$layer"; done
exec {reader}<&-
nothing_left 'a deferred detach with udev' 10

check 'two disks by turns, five times'
for _ in 1 2 3 4 5; do
    must attach "$one"
    must attach "$two"
    must detach "$one" "$two"
    is_silent
done

check 'a udevd that is stopped: a note, the nodes are there; detach removes them'
pid=$(pidof systemd-udevd)
pid=${pid%% *}
kill -STOP "$pid"
must attach "$one"
says 'note: udev did not answer within 10 s'
same_bytes "${disk}1" "$work/expected/disk1"
is_device vmdkdm-test-disk1p1
must detach "$one"
says 'note: udev did not answer within 10 s'
is_gone vmdkdm-test-disk1
is_gone vmdkdm-test-disk1p1
check 'SIGTERM while attach waits for it: nothing is attached, nothing left'
"$vmdk_dm" attach "$one" >"$work/out" 2>"$work/err" &
attach=$!
wait_until 5 test -e /sys/block/dm-1 || fail 'the attach does not come to its partition'
kill -TERM "$attach"
status=0
wait "$attach" || status=$?
[ "$status" -ne 0 ] || fail 'an interrupted attach says that it is well'
[ ! -s "$work/out" ] || fail 'an interrupted attach printed paths'
check 'udevd goes on'
kill -CONT "$pid"
udevadm settle --timeout=30
is_gone vmdkdm-test-disk1

udevadm control --exit --timeout=20
wait_until 10 test ! -d "/proc/$pid" || fail 'udevd does not end'
rm -rf /run/udev
conclude
