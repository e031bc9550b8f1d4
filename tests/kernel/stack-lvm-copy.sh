#!/usr/bin/env bash
# Volume groups that need lvm itself: with a snapshot inside. On a read-only disk what is plain comes up and the rest is
# named; on an overlay lvm brings up all of it, under a new name, beside the original that the host has active.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$(dirname -- "$0")/stack.sh"
start lvm

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
same_bytes /dev/mapper/vg0-snap "$work/before"
sync
wrap "$work/disk" copy
remember_images
host_sum=$(sha256sum "$work/disk")
image=$(image_of copy)

check 'read-only: the origin as it is; its snapshot is named, with what helps'
must attach "$image"
must activate vmdkdm-test-copy
printed /dev/mapper/vmdkdm-test-copy-vg0-plain
says 'note: vg0/snap is not brought up: it is snapshot (attach the disk with --scratch or --overlay, then activate it)'
same_bytes /dev/mapper/vmdkdm-test-copy-vg0-plain "$work/after"
must deactivate vmdkdm-test-copy
must detach vmdkdm-test-copy

# What attach makes of an overlay: a snapshot, written to a file, over the read-only image.
blank "$work/cow" 16
base=$(loop_of "$images/copy/copy-flat.vmdk" --read-only)
cow=$(loop_of "$work/cow")
sectors=$((48 << 11))
dmsetup create --verifyudev --readonly vmdkdm-test-ov-base --uuid VMDK-1.2-base --table "0 $sectors linear $base 0"
dmsetup create --verifyudev vmdkdm-test-ov --uuid VMDK-1.2-disk \
    --table "0 $sectors snapshot /dev/mapper/vmdkdm-test-ov-base $cow P 8"

check 'on an overlay, beside the original: lvm brings up all of it'
must activate vmdkdm-test-ov
printed /dev/mapper/vmdkdm--test--ov_vg0-plain /dev/mapper/vmdkdm--test--ov_vg0-snap
is_silent
same_bytes /dev/mapper/vmdkdm--test--ov_vg0-plain "$work/after"
same_bytes /dev/mapper/vmdkdm--test--ov_vg0-snap "$work/before"
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
must deactivate --json vmdkdm-test-ov
json_holds "$work/out" \
    'd == ["/dev/mapper/vmdkdm--test--ov_vg0-plain", "/dev/mapper/vmdkdm--test--ov_vg0-snap"]'
is_gone vmdkdm--test--ov_vg0-plain
check 'filesystems on the overlay writes nothing to it'
cow_sum=$(sha256sum "$cow")
must filesystems --json vmdkdm-test-ov
json_holds "$work/out" 'd["type"] == "LVM2_member"' \
    '[c["name"] for c in d["children"]] == ["vmdkdm-test-ov_vg0/plain"]'
[ "$(sha256sum "$cow")" = "$cow_sum" ] || fail 'the overlay was written to'
check 'again: the group has its name already; and with a name of the choice'
must activate vmdkdm-test-ov
printed /dev/mapper/vmdkdm--test--ov_vg0-plain /dev/mapper/vmdkdm--test--ov_vg0-snap
must deactivate vmdkdm-test-ov
must activate --vg-name vmdkdm_chosen vmdkdm-test-ov
printed /dev/mapper/vmdkdm_chosen-plain /dev/mapper/vmdkdm_chosen-snap
same_bytes /dev/mapper/vmdkdm_chosen-snap "$work/before"
must deactivate vmdkdm-test-ov

check 'the original and its group are as they were'
same_bytes /dev/mapper/vg0-snap "$work/before"
dmsetup remove vmdkdm-test-ov
dmsetup remove vmdkdm-test-ov-base
losetup --detach "$base"
losetup --detach "$cow"
[ "$(sha256sum "$work/disk")" = "$host_sum" ] || fail 'the original has changed'
quiet lvm vgchange -an vg0
losetup --detach "$host"
conclude
