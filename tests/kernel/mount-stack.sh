#!/usr/bin/env bash
# mount and umount of what lies deeper in an image: logical volumes, encrypted containers, and both in each other; only
# what was mounted is kept, and it all goes with the last umount.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$(dirname -- "$0")/stack.sh"
start lvm sfdisk cryptsetup mdadm mke2fs mount umount
printf 'correct horse' >"$work/key"
mkdir "$work/tree" "$work/a" "$work/b"

# file_system DEVICE LABEL: with a file "who" that says its label.
file_system() {
    echo "$2" >"$work/tree/who"
    quiet mke2fs -q -t ext4 -L "$2" -d "$work/tree" "$1"
}

# Partition 1: LUKS with a file system. Partition 2: a VG with two file systems and a LUKS with a third.
blank "$work/disk" 64
sfdisk --quiet "$work/disk" <<<$'2048,12MiB,83\n,48MiB,8e'
first=$(loop_of "$work/disk" --offset $((2048 * 512)) --sizelimit $((12 << 20)))
second=$(loop_of "$work/disk" --offset $((2048 * 512 + (12 << 20))) --sizelimit $((48 << 20)))
format_luks() {
    quiet cryptsetup luksFormat --batch-mode --type luks1 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \
        --key-file "$work/key" "$1"
    quiet cryptsetup open --key-file "$work/key" "$1" vmdkdm-test-host
    file_system /dev/mapper/vmdkdm-test-host "$2"
    quiet cryptsetup close vmdkdm-test-host
}
format_luks "$first" secret
quiet lvm pvcreate "$second"
quiet lvm vgcreate -s 1M vg0 "$second"
for lv in root home safe; do quiet lvm lvcreate -y -Wn -Zn -L 12M -n $lv vg0; done
file_system /dev/mapper/vg0-root root
file_system /dev/mapper/vg0-home home
format_luks /dev/mapper/vg0-safe safe
quiet lvm vgchange -an vg0
losetup --detach "$first"
losetup --detach "$second"
wrap "$work/disk" deep

# Two halves of a mirror.
export MDADM_NO_UDEV=1
declare -A loop
for name in one two; do
    blank "$work/$name" 16
    loop[$name]=$(loop_of "$work/$name")
done
quiet mdadm --create /dev/md/vmdkdm_mirror --run --level=1 --raid-devices=2 --metadata=1.2 --homehost=guest \
    --name=data --bitmap=none --assume-clean "${loop[one]}" "${loop[two]}"
file_system /dev/md/vmdkdm_mirror mirror
quiet mdadm --stop /dev/md/vmdkdm_mirror
losetup --detach "${loop[one]}"
losetup --detach "${loop[two]}"
wrap "$work/one" one
wrap "$work/two" two
remember_images
deep=$(image_of deep)
disk=vmdkdm-test-deep

no_devices() { [ "$(dmsetup ls)" = 'No devices found' ]; }

# holds DIRECTORY LABEL
holds() { [ "$(<"$1/who")" = "$2" ] || fail "$1 holds $(<"$1/who") and not $2"; }

check 'a logical volume, by name and by label; the others are not kept'
for volume in vg0/root LABEL=root; do
    must mount "$deep:$volume" "$work/a"
    printed "/dev/mapper/$disk-vg0-root on $work/a (ext4, ro,nosuid,nodev,noexec,noatime)"
    holds "$work/a" root
    for name in $disk-vg0-home $disk-vg0-safe ${disk}1; do is_gone "$name"; done
    must umount "$work/a"
    nothing_left "umount of $volume"
done

check 'a plain umount takes the volume, its partition and the disk down'
must mount "$deep:vg0/root" "$work/a"
umount "$work/a"
wait_until 60 no_devices || fail 'devices are left'
dmsetup mknodes
nothing_left 'a plain umount'

check 'none chosen: a list, with what is closed'
refuses 4 mount "$deep" "$work/a"
says "$deep:1  crypto_LUKS, 12.0 MiB (closed)"
says "$deep:vg0/root  ext4 'root', 12.0 MiB"
says "$deep:vg0/safe  crypto_LUKS, 12.0 MiB (closed)"
refuses 4 mount "$deep:2" "$work/a"
says "'2' holds several volumes"
refuses 6 mount --key-file "$work/key" "$deep:vg0/none" "$work/a"
nothing_left 'refused volumes'

check 'an encrypted partition, and an encrypted logical volume inside another mount'
refuses 4 mount "$deep:1" "$work/a"
says 'needs a key (see --key-file)'
nothing_left 'a mount without a key'
must mount --key-file "$work/key" "$deep:1" "$work/a"
holds "$work/a" secret
must umount "$work/a"
nothing_left 'umount of an encrypted partition'
must mount --key-file "$work/key" "$deep:vg0/home" "$work/a" "$deep:vg0/safe" "$work/b"
holds "$work/a" home
holds "$work/b" safe
must umount "$work/a"
holds "$work/b" safe
must umount "$work/b"
nothing_left 'umount of an encrypted volume'

check 'what activate brought up is used, and stays'
must attach "$deep"
must activate --key-file "$work/key" $disk
must mount "$deep:vg0/safe" "$work/a"
holds "$work/a" safe
must umount "$work/a"
is_device $disk-vg0-safe-crypt
must deactivate $disk
must detach $disk
nothing_left 'an activated disk'

check 'an array, beside its other half that is attached; umount stops it'
must attach "$(image_of two)"
must mount "$(image_of one)" "$work/a"
holds "$work/a" mirror
must umount "$work/a"
is_silent
is_gone vmdkdm-test-one
is_device vmdkdm-test-two
must detach vmdkdm-test-two
nothing_left 'umount of an array'

check 'a failure after volumes came up leaves nothing'
refuses 6 mount --key-file "$work/key" "$deep:vg0/root" "$work/a" "$deep:vg0/none" "$work/b"
nothing_left 'a failure'

check 'written through --scratch'
must mount --scratch=8M --rw "$deep:vg0/root" "$work/a"
echo changed >"$work/a/who"
must umount "$work/a"
must mount "$deep:vg0/root" "$work/a"
holds "$work/a" root
must umount "$work/a"
conclude
