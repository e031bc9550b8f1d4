#!/usr/bin/env bash
# A disk that carries an image is plugged in, pulled out and plugged in again: its entry of vmdktab is attached and mounted each
# time, and nothing is left in between. (hot-plug.prepare.sh has filled it.)
set -eu
. "$(dirname -- "$0")/lib.sh"
start findmnt journalctl systemctl

unit=vmdk-dm@guest.service
plug() { echo "$1" >/dev/virtio-ports/plug; }
state_is() { [ "$(systemctl show --property ActiveState --value "$1")" = "$2" ]; }
shows_guest() { [ "$(cat /mnt/guest/who 2>/dev/null)" = guest ]; }
nothing_is_left() {
    [ ! -e /dev/mapper/guest ] && [ ! -e /dev/mapper/guest1 ] && ! findmnt /mnt/guest >/dev/null \
        && ! findmnt /run/vmdk-dm/mnt/LABEL=stick >/dev/null && state_is "$unit" inactive \
        && ! grep -q /guest-flat.vmdk /sys/block/loop*/loop/backing_file 2>/dev/null
}
tell_all() {
    findmnt || true
    lsblk || true
    systemctl list-jobs || true
    systemctl status --no-pager --full "$unit" mnt-guest.mount 'run-vmdk\x2ddm-mnt-LABEL\x3dstick.mount' || true
    journalctl --boot --no-pager | tail -n 80
}
comes() { wait_until 120 shows_guest || { tell_all; fail "the image is not mounted $1"; }; }
goes() { wait_until 120 nothing_is_left || { tell_all; fail "something is left $1"; }; }

check 'the machine is up without the disk'
state_is multi-user.target active || fail 'multi-user.target is not reached'
[ ! -e /dev/mapper/guest ] || fail 'the image is attached already'

check 'a disk is plugged in: its image is attached, and mounted by fstab'
plug plug
comes 'after the disk was plugged in'
[[ $(findmnt --noheadings --output OPTIONS /run/vmdk-dm/mnt/LABEL=stick) == ro,* ]] || fail "$(findmnt)"

check 'it is pulled out without a word: the image is unmounted and detached'
plug unplug
goes 'after the disk was pulled out'

check 'it is plugged in again: as the first time'
plug plug
comes 'after the disk was plugged in again'

check 'pulled out while the image is in use: it goes with its last user, and the disk works again'
exec {user}</mnt/guest/who
plug unplug
wait_until 120 state_is "$unit" inactive || { tell_all; fail 'the unit still runs'; }
exec {user}<&-
umount --lazy /mnt/guest 2>/dev/null || true
goes 'after the last user of a disk that was pulled out had gone'
plug plug
comes 'the third time'

check 'stopped by hand: the disk can be pulled out'
run systemctl stop "$unit"
goes 'after the unit was stopped'
plug unplug
wait_until 60 test ! -e /dev/disk/by-label/stick || fail 'the disk is still there'
leave
