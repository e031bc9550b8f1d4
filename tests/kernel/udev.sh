#!/usr/bin/env bash
# With a real udevd, started here in the embedded kernel, and without our rules, as from a build tree: nodes are udev's
# links, the devices carry the quarantine flags, nothing is left; and a udevd that stops in the middle is given up, with
# whatever it left undone done by us. What our rules add is in quarantine.sh.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$(dirname -- "$0")/udevd.sh"
start mke2fs udevadm pidof umount
start_udevd

make_images disks 2
make_grain_images ext4
remember_images
one=$images/disk1/vmdkdm-test-disk1.vmdk
two=$images/disk2/vmdkdm-test-disk2.vmdk
disk=/dev/mapper/vmdkdm-test-disk

# in_quarantine PATH...: flags, and no trace of anybody who looked for what is on it.
in_quarantine() {
    for path in "$@"; do
        properties "$path"
        for flag in DISABLE_DISK_RULES DISABLE_OTHER_RULES LOW_PRIORITY; do has_property "DM_UDEV_${flag}_FLAG=1"; done
        for key in ID_FS_TYPE ID_FS_UUID ID_PART_TABLE_TYPE; do lacks_property "$key"; done
        ! grep -q -e '^DEVLINKS=.*/dev/disk/' "$work/cmp" || fail "$path has $(grep -e '^DEVLINKS=' "$work/cmp")"
    done
}

check 'the nodes are links made by udev, and there when attach returns'
must attach "$one"
is_silent
for path in "${disk}1" "${disk}1p1"; do
    { [ -L "$path" ] && [ -b "$path" ]; } || fail "$path is not a link to a device"
done
same_bytes "${disk}1" "$work/expected/disk1"
check 'nobody looks into them; into partitions neither'
in_quarantine "${disk}1" "${disk}1p1"
check 'the flags survive a re-trigger'
udevadm trigger --settle --name-match "${disk}1p1"
in_quarantine "${disk}1p1"
check 'list says so'
must list --json
json_holds "$work/out" 'd[0]["exposed"] is False'
check 'detach: the links go'
must detach vmdkdm-test-disk1
is_silent
is_gone vmdkdm-test-disk1
is_gone vmdkdm-test-disk1p1

check '--no-udev: the nodes are ours, and an udevd that is there all the same looks into nothing'
must attach --no-udev "$one"
is_silent
for path in "${disk}1" "${disk}1p1"; do
    { [ ! -L "$path" ] && [ -b "$path" ]; } || fail "$path is not a node"
done
udevadm settle --timeout=30
in_quarantine "${disk}1" "${disk}1p1"
must detach --no-udev vmdkdm-test-disk1
is_silent
is_gone vmdkdm-test-disk1

# Nothing below /dev/disk, and no record that anybody has looked into them.
inner_devices_are_private() {
    local path layer link target devices=()
    for layer in origin cow grains pages; do
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

check 'inner devices have nodes, and neither links under /dev/disk nor anybody who looks into them; exposed or not'
must attach --strategy exceptions "$images/ext4/vmdkdm-test-ext4.vmdk"
is_silent
inner_devices_are_private
in_quarantine /dev/mapper/vmdkdm-test-ext4
must detach vmdkdm-test-ext4
must attach --expose --strategy exceptions "$images/ext4/vmdkdm-test-ext4.vmdk"
is_silent
inner_devices_are_private
check 'the exposed disk itself is known as what it is, an ext4 with its links'
properties /dev/mapper/vmdkdm-test-ext4
has_property ID_FS_TYPE=ext4
uuid=$(grep -e '^ID_FS_UUID=' "$work/cmp")
[ /dev/disk/by-uuid/"${uuid#*=}" -ef /dev/mapper/vmdkdm-test-ext4 ] || fail 'its by-uuid link does not lead to it'
check 'so it stays after a re-trigger'
for layer in '' -origin -cow -grains -pages; do
    udevadm trigger --settle --name-match "/dev/mapper/vmdkdm-test-ext4$layer"
done
inner_devices_are_private
[ /dev/disk/by-uuid/"${uuid#*=}" -ef /dev/mapper/vmdkdm-test-ext4 ] || fail 'its by-uuid link does not lead to it'
must detach vmdkdm-test-ext4
is_silent
for layer in '' -origin -cow -grains -pages; do is_gone "vmdkdm-test-ext4$layer"; done
[ ! -L /dev/disk/by-uuid/"${uuid#*=}" ] || fail 'a link in /dev/disk/by-uuid is left'
check 'detach --deferred of it while it is open: nobody is waited for; then all goes, links too'
must attach --strategy exceptions "$images/ext4/vmdkdm-test-ext4.vmdk"
exec {reader}</dev/mapper/vmdkdm-test-ext4
measure_command
before=$(now_ms)
must detach --deferred vmdkdm-test-ext4
is_silent
[ $(($(now_ms) - before)) -lt $((5000 + 10 * unit_ms)) ] || fail 'it waited'
same_bytes /dev/mapper/vmdkdm-test-ext4 "$work/expected/ext4"
for layer in -origin -cow -grains -pages; do is_device "vmdkdm-test-ext4$layer"; done
exec {reader}<&-
nothing_left 'a deferred detach with udev'

check 'a mount that somebody else undoes: the links go with it; and one that umount undoes'
mkdir "$work/mnt"
must mount "$images/ext4/vmdkdm-test-ext4.vmdk" "$work/mnt"
is_silent
{ [ -L /dev/mapper/vmdkdm-test-ext4 ] && [ -b /dev/mapper/vmdkdm-test-ext4 ]; } || fail 'the disk has no link'
umount "$work/mnt"
nothing_left 'a plain umount with udev'
must mount "$images/ext4/vmdkdm-test-ext4.vmdk" "$work/mnt"
must umount "$work/mnt"
is_silent
nothing_left 'umount with udev'

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
wait_until 60 test -e /sys/block/dm-1 || fail 'the attach does not come to its partition'
kill -TERM "$attach"
status=0
wait "$attach" || status=$?
[ "$status" -ne 0 ] || fail 'an interrupted attach says that it is well'
[ ! -s "$work/out" ] || fail 'an interrupted attach printed paths'
check 'udevd goes on'
kill -CONT "$pid"
udevadm settle --timeout=30
is_gone vmdkdm-test-disk1

stop_udevd
conclude
