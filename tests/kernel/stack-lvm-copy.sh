#!/usr/bin/env bash
# Volume groups that need lvm itself: with a snapshot inside. On a read-only disk what is plain comes up and the rest is
# named; on an overlay lvm brings up all of it, under a new name, beside the original that the host has active. A real udevd
# runs: it looks into nothing of that, and the host's links stay where they are.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$(dirname -- "$0")/stack.sh"
. "$(dirname -- "$0")/udevd.sh"
. "$(dirname -- "$0")/listened.sh"
start lvm mke2fs udevadm pidof mount umount
start_listened_udevd

blank "$work/disk" 48
host=$(loop_of "$work/disk")
quiet lvm pvcreate "$host"
quiet lvm vgcreate -s 1M vg0 "$host"
quiet lvm lvcreate -y -Wn -Zn -L 8M -n plain vg0
fill /dev/mapper/vg0-plain before
cp /dev/mapper/vg0-plain "$work/before"
quiet lvm lvcreate -y -s -L 12M -n snap vg0/plain
fill /dev/mapper/vg0-plain after
cp /dev/mapper/vg0-plain "$work/after"
quiet lvm lvcreate -y -Wn -Zn -L 8M -n root vg0
quiet mke2fs -q -t ext4 -L $label -U $uuid /dev/mapper/vg0-root
cp /dev/mapper/vg0-root "$work/root"
udevadm trigger --settle --name-match /dev/mapper/vg0-root
links_lead_to /dev/mapper/vg0-root $uuid $label
same_bytes /dev/mapper/vg0-snap "$work/before"
sync
wrap "$work/disk" copy
remember_images
host_sum=$(sha256sum "$work/disk")
image=$(image_of copy)

check 'read-only: the origin as it is; its snapshot is named, with what helps'
must attach "$image"
must activate vmdkdm-test-copy
printed /dev/mapper/vmdkdm-test-copy-vg0-{plain,root}
says 'note: vg0/snap is not brought up: it is snapshot (attach the disk with --scratch or --overlay, then activate it)'
same_bytes /dev/mapper/vmdkdm-test-copy-vg0-plain "$work/after"
must deactivate vmdkdm-test-copy
must detach vmdkdm-test-copy

must attach --overlay "$work/overlay" --name vmdkdm-test-ov "$image"

check 'without udev, lvm is not asked: udevd would hear of what it makes all the same'
must activate --no-udev vmdkdm-test-ov
printed /dev/mapper/vmdkdm-test-ov-vg0-root
says 'note: lvm is not asked to bring up vg0: an udevd that may hear of it cannot be told to leave it alone'
says 'note: vg0/plain is not brought up: it is origin of snapshots'
must deactivate vmdkdm-test-ov
check 'where udevd does not follow our rule, lvm is not asked either'
echo 'ENV{DM_UDEV_DISABLE_DISK_RULES_FLAG}=""' >/run/udev/rules.d/99-z.rules
udevadm control --reload
listen
refuses 4 activate vmdkdm-test-ov
says 'udevd does not follow the rule in /run/udev/rules.d that keeps it from looking into what is made'
heard_nothing_of $uuid $label
rm /run/udev/rules.d/99-z.rules
udevadm control --reload
no_rules_left
[ "$(dmsetup ls | grep -c -e vmdkdm--test -e vmdkdm_probe)" = 0 ] || fail "there is $(dmsetup ls)"

check 'on an overlay, beside the original: lvm brings up all of it'
copy=/dev/mapper/vmdkdm--test--ov_vg0
listen
must activate vmdkdm-test-ov
printed $copy-plain $copy-snap $copy-root
is_silent
heard_nothing_of $uuid $label
check 'the links of the host lead to the host, and stay there when udev looks once more'
links_lead_to /dev/mapper/vg0-root $uuid $label
is_hidden $copy-plain $copy-root $copy-snap
listen
udevadm trigger --settle --name-match $copy-root
quiet lvm vgchange --refresh vmdkdm-test-ov_vg0
heard_nothing_of $uuid $label
is_hidden $copy-root
links_lead_to /dev/mapper/vg0-root $uuid $label
same_bytes $copy-plain "$work/after"
same_bytes $copy-snap "$work/before"
same_bytes $copy-root "$work/root"
check 'detach is refused; a second activate finds nothing to do'
refuses 5 detach vmdkdm-test-ov
says '(see vmdk-dm deactivate)'
must activate vmdkdm-test-ov
printed ''
check 'in use: deactivate is refused by name'
exec {reader}</dev/mapper/vmdkdm--test--ov_vg0-snap
refuses 5 deactivate vmdkdm-test-ov
says '/dev/mapper/vmdkdm--test--ov_vg0-snap is in use: process '
exec {reader}<&-
listen
must deactivate --json vmdkdm-test-ov
json_holds "$work/out" \
    'd == ["/dev/mapper/vmdkdm--test--ov_vg0-" + lv for lv in ("plain", "snap", "root")]'
heard_nothing_of $uuid $label
links_lead_to /dev/mapper/vg0-root $uuid $label
is_gone vmdkdm--test--ov_vg0-plain
no_rules_left
check 'filesystems on the overlay writes nothing to it'
cow_sum=$(sha256sum "$work/overlay")
must filesystems --json vmdkdm-test-ov
json_holds "$work/out" 'd["type"] == "LVM2_member"' \
    '[c["name"] for c in d["children"]] == ["vmdkdm-test-ov_vg0/plain", "vmdkdm-test-ov_vg0/root"]'
[ "$(sha256sum "$work/overlay")" = "$cow_sum" ] || fail 'the overlay was written to'
check 'again: the group has its name already, and gets new UUIDs all the same'
must activate vmdkdm-test-ov
printed $copy-plain $copy-snap $copy-root
is_hidden $copy-root
first=$(dmsetup info -c --noheadings -o uuid $copy-root)
must deactivate vmdkdm-test-ov
must activate vmdkdm-test-ov
printed $copy-plain $copy-snap $copy-root
[ "$(dmsetup info -c --noheadings -o uuid $copy-root)" != "$first" ] || fail 'the UUIDs are as they were'
must deactivate vmdkdm-test-ov
check 'a name of the choice'
must activate --vg-name vmdkdm_chosen vmdkdm-test-ov
printed /dev/mapper/vmdkdm_chosen-{plain,snap,root}
same_bytes /dev/mapper/vmdkdm_chosen-snap "$work/before"
is_hidden /dev/mapper/vmdkdm_chosen-root
must deactivate vmdkdm-test-ov
must detach vmdkdm-test-ov

check 'mount --scratch: of the copy, which udev leaves alone as well'
mkdir "$work/mnt"
listen
must mount --scratch --name vmdkdm-test-ov "$image:vmdkdm-test-ov_vg0/root" "$work/mnt"
heard_nothing_of $uuid $label
links_lead_to /dev/mapper/vg0-root $uuid $label
is_hidden $copy-root
umount "$work/mnt"
must deactivate vmdkdm-test-ov
wait_until 30 test ! -e /dev/mapper/vmdkdm-test-ov || fail "the disk is still there"
no_rules_left

check 'the original and its group are as they were'
same_bytes /dev/mapper/vg0-snap "$work/before"
[ "$(sha256sum "$work/disk")" = "$host_sum" ] || fail 'the original has changed'
quiet lvm vgchange -an vg0
losetup --detach "$host"
udevadm settle --timeout=30
stop_udevd
conclude
