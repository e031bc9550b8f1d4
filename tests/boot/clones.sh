#!/usr/bin/env bash
# Clones of the disks that a system uses right now (ext4, swap, LVM, LUKS, MD) are attached to it, each twice: they take no
# link over, nothing of the system's changes, and nobody is confused by what is there three times.
set -eu
. "$(dirname -- "$0")/lib.sh"
start sfdisk mke2fs mkswap pvcreate vgcreate lvcreate mdadm cryptsetup udisksctl findmnt journalctl
[ -b /dev/vdc ] || missing 'disks /dev/vda of 72 MiB, /dev/vdb and /dev/vdc (see scripts/run-in-vm --new-disk)'

check 'a system that uses its disks: ext4, swap, LVM, LUKS and MD, from fstab and crypttab'
partitioned /dev/vda host
logical_volume /dev/vdb host-pv
array /dev/vdc host-member
printf secret >/run/key
chmod 600 /run/key
cat >>/etc/fstab <<'END'
LABEL=host-files /mnt/files ext4 defaults,X-mount.mkdir 0 0
LABEL=host-lv /mnt/lv ext4 defaults,X-mount.mkdir 0 0
LABEL=host-md /mnt/md ext4 defaults,X-mount.mkdir 0 0
LABEL=host-swap none swap defaults 0 0
END
echo 'host-secrets LABEL=host-luks /run/key luks' >>/etc/crypttab
run systemctl daemon-reload
run systemctl start mnt-files.mount mnt-lv.mount mnt-md.mount 'systemd-cryptsetup@host\x2dsecrets.service' swap.target
settled
for path in /dev/mapper/host-secrets /dev/host-vg/data /dev/md/host-md /dev/md/host-member; do
    [ -b "$path" ] || fail "the system has no $path"
done
[[ $(</proc/swaps) == */dev/* ]] || fail 'the system has no swap'
sync
for number in 1 2; do
    for letter in a b c; do flat_image "clone$number$letter" "/dev/vd$letter"; done
done
remember_images
# What lvcreate told udev of its volume's first moments goes with the next event, whoever sends it.
run udevadm trigger --settle
settled
kernel_state
state_at_start=$state
remember_system

clones=()
for number in 1 2; do
    check "clone $number of each disk: nothing in the system changes"
    for letter in a b c; do
        attach "clone$number$letter"
        clones+=("vmdkdm-test-clone$number$letter")
    done
    nothing_changed "after clones ($number) were attached"
done
for name in "${clones[@]#vmdkdm-test-}"; do is_linked "$name" "$name"; done
ours_are_left_alone
check 'so it stays when udev is told of all devices again'
run udevadm trigger --settle
nothing_changed 'after clones were attached and all devices triggered'
ours_are_left_alone

check 'LVM was not started to see a duplicate; called by hand it does, and keeps to the devices that are in use'
! journalctl --boot --quiet | grep -e 'Not using device' -e 'duplicate PV' || fail 'LVM has complained of duplicates'
LVM_SUPPRESS_FD_WARNINGS=1 pvs --noheadings --options pv_name,vg_name >"$work/pvs" 2>"$work/pvs-says"
sed 's/^/    pvs: /' "$work/pvs" "$work/pvs-says"
grep -q 'Not using device' "$work/pvs-says" || fail 'pvs does not say what the journal was searched for'
for path in /dev/vda3 /dev/vdb; do
    grep -q "$path " "$work/pvs" || fail "pvs does not list the $path of the system"
done
check 'the system works on with its own devices'
run umount /mnt/files
run mount /mnt/files
[ "$(findmnt --noheadings --output SOURCE /mnt/files)" = /dev/vda1 ] || fail "mounted is $(findmnt /mnt/files)"
run systemctl restart 'systemd-cryptsetup@host\x2dsecrets.service'
cryptsetup status host-secrets >"$work/run"
grep -q 'device: */dev/vda4' "$work/run" || fail "$(<"$work/run")"
settled

check 'detach: nothing changes, nothing is left'
remember_system
must detach "${clones[@]}"
nothing_changed 'after clones were detached'
no_links_left
conclude
