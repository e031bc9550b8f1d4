#!/usr/bin/env bash
# Images with everything that a system looks for by itself (file systems, swap, LVM, LUKS, MD) are attached: nothing of it
# is activated. With --expose the same images are, so that the test shows what it would see.
set -eu
. "$(dirname -- "$0")/lib.sh"
start sfdisk blkdiscard mke2fs mkswap pvcreate vgcreate lvcreate mdadm cryptsetup udisksctl
[ -b /dev/vda ] || missing 'a disk /dev/vda of 72 MiB (see scripts/run-in-vm --new-disk)'

# The images are copies of a disk of this machine, which is then overwritten. Two have no partitions: of these the loop below
# the mapped disk shows udev the very same bytes.
check 'images with ext4, swap, LVM, LUKS and MD, in partitions and on whole disks'
overwritten() {
    run blkdiscard --zeroout --force /dev/vda
    settled
}
partitioned /dev/vda guest
run vgchange -q --activate n guest-vg
run mdadm --stop /dev/md/guest-md
flat_image guest /dev/vda
run sfdisk --delete /dev/vda
overwritten
logical_volume /dev/vda guest-pv
run vgchange -q --activate n guest-pv
flat_image guest-pv /dev/vda
overwritten
array /dev/vda guest-member
run mdadm --stop /dev/md/guest-member
flat_image guest-member /dev/vda
overwritten
remember_images
remember_system

check 'attached, they are found below /dev/disk/by-vmdk; nothing else in the system changes'
for name in guest guest-pv guest-member; do attach "$name"; done
nothing_changed 'after foreign images were attached'
for name in guest guest-pv guest-member; do is_linked "$name" "$name"; done
for number in 1 2 3 4 5; do is_linked "guest-part$number" "guest$number"; done
ours_are_left_alone
check 'so it stays when udev is told of all devices again'
run udevadm trigger --settle
nothing_changed 'after foreign images were attached and all devices triggered'
ours_are_left_alone
check 'detach: nothing is left'
must detach vmdkdm-test-guest vmdkdm-test-guest-pv vmdkdm-test-guest-member
nothing_changed 'after foreign images were detached'
no_links_left

check '--expose: now the file system has its links, udisks offers it, and LVM and MD are activated'
attach guest --expose
settled
wait_until 60 test -b /dev/guest-vg/data || fail 'LVM has not activated the exposed volume group'
[ "$(sys_of /dev/disk/by-label/guest-files)" = "$(sys_of /dev/mapper/vmdkdm-test-guest1)" ] || fail 'the exposed file system has no link'
wait_until 60 grep -q '^md.*dm-' /proc/mdstat || fail "MD has not assembled the exposed member: $(</proc/mdstat)"
wait_until 60 udisks_offers /dev/mapper/vmdkdm-test-guest1 || fail 'udisks does not offer the exposed file system'
system_state >"$work/system-now"
! cmp -s "$work/system" "$work/system-now" || fail 'what is compared does not show it'
run vgchange -q --activate n guest-vg
run mdadm --stop --scan
must detach vmdkdm-test-guest
nothing_changed 'after the exposed image was detached'
no_links_left
conclude
