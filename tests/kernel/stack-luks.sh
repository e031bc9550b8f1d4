#!/usr/bin/env bash
# Encrypted volumes inside images: LUKS1 and LUKS2 on partitions, LUKS inside LVM, LVM inside LUKS; keys from files,
# standard input and descriptors; a wrong key leaves nothing; a chain moved onto an encrypted logical volume.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$(dirname -- "$0")/stack.sh"
start lvm sfdisk cryptsetup mke2fs

printf 'correct horse' >"$work/key1"
printf 'correct horse\n' >"$work/key1-with-line-feed"
printf 'battery staple' >"$work/key2"
printf 'wrong' >"$work/wrong"

# format_luks TYPE DEVICE KEY: with the cheapest key derivation that there is.
format_luks() {
    local pbkdf=(--pbkdf pbkdf2 --pbkdf-force-iterations 1000)
    quiet cryptsetup luksFormat --batch-mode --type "$1" "${pbkdf[@]}" --key-file "$3" "$2"
}

# Partition 1: LUKS1 with a file system. Partition 2: LUKS2 with a VG that has a volume with LUKS2 again.
blank "$work/disk" 64
sfdisk --quiet "$work/disk" <<<$'2048,12MiB,83\n,48MiB,83'
first=$(loop_of "$work/disk" --offset $((2048 * 512)) --sizelimit $((12 << 20)))
second=$(loop_of "$work/disk" --offset $((2048 * 512 + (12 << 20))) --sizelimit $((48 << 20)))
format_luks luks1 "$first" "$work/key1"
quiet cryptsetup open --key-file "$work/key1" "$first" vmdkdm-test-host-one
quiet mke2fs -q -t ext4 -L inside-luks1 /dev/mapper/vmdkdm-test-host-one
cp /dev/mapper/vmdkdm-test-host-one "$work/plain1"
format_luks luks2 "$second" "$work/key2"
quiet cryptsetup open --key-file "$work/key2" "$second" vmdkdm-test-host-two
quiet lvm pvcreate /dev/mapper/vmdkdm-test-host-two
quiet lvm vgcreate -s 1M vg0 /dev/mapper/vmdkdm-test-host-two
quiet lvm lvcreate -y -Wn -Zn -L 20M -n safe vg0
format_luks luks2 /dev/mapper/vg0-safe "$work/key1"
quiet cryptsetup open --key-file "$work/key1" /dev/mapper/vg0-safe vmdkdm-test-host-three
fill /dev/mapper/vmdkdm-test-host-three innermost
cp /dev/mapper/vmdkdm-test-host-three "$work/plain3"
quiet cryptsetup close vmdkdm-test-host-three
quiet lvm vgchange -an vg0
quiet cryptsetup close vmdkdm-test-host-two
quiet cryptsetup close vmdkdm-test-host-one
losetup --detach "$first"
losetup --detach "$second"
wrap "$work/disk" luks
mkdir "$images/small"
remember_images
disk=vmdkdm-test-luks
inner=$disk-vg0-safe-crypt

must attach "$(image_of luks)"
check 'without a key: refused, nothing is made'
refuses 4 activate $disk
says "${disk}1: it is encrypted and needs a key (see --key-file)"
is_gone ${disk}1-crypt
check 'a wrong key for the innermost: refused by name, and all that was opened is closed again'
refuses 4 activate --key "1=$work/key1" --key "2=$work/key2" --key "vg0/safe=$work/wrong" $disk
says "$disk-vg0-safe: the key does not open it"
for name in ${disk}1-crypt ${disk}2-crypt $disk-vg0-safe $inner; do is_gone "$name"; done
check 'a key for a volume that is not there is a mistake, and leaves nothing'
refuses 2 activate --key "1=$work/key1" --key "2=$work/key2" --key "vg0/safe=$work/key1" --key "vg0/sofa=$work/key1" $disk
says '--key vg0/sofa=...: there is no such encrypted volume to be opened'
is_gone ${disk}1-crypt
check 'LUKS1, LUKS2, LVM inside, LUKS2 inside that: all with the right bytes, read-only'
must activate --key "1=$work/key1" --key "2=$work/key2" --key "vg0/safe=$work/key1" $disk
printed /dev/mapper/${disk}1-crypt /dev/mapper/${disk}2-crypt /dev/mapper/$disk-vg0-safe /dev/mapper/$inner
is_silent
same_bytes /dev/mapper/${disk}1-crypt "$work/plain1"
same_bytes /dev/mapper/$inner "$work/plain3"
for name in ${disk}1-crypt ${disk}2-crypt $disk-vg0-safe $inner; do
    [ "$(blockdev --getro "/dev/mapper/$name")" = 1 ] || fail "$name is writable"
done
check 'filesystems shows the whole stack of an attached disk'
must filesystems --json $disk
json_holds "$work/out" '[c["type"] for c in d["children"]] == ["crypto_LUKS"] * 2' \
    '[c["version"] for c in d["children"]] == ["1", "2"]' \
    'd["children"][0]["children"][0]["label"] == "inside-luks1"' \
    'd["children"][1]["children"][0]["type"] == "LVM2_member"' \
    'd["children"][1]["children"][0]["children"][0]["name"] == "vg0/safe"' \
    "d['children'][1]['children'][0]['children'][0]['children'][0]['path'] == '/dev/mapper/$inner'"
check 'detach is refused; deactivate takes all of it down'
refuses 5 detach $disk
says '(see vmdk-dm deactivate)'
must deactivate --json $disk
json_holds "$work/out" 'len(d) == 4'
for name in ${disk}1-crypt ${disk}2-crypt $disk-vg0-safe $inner; do is_gone "$name"; done
must detach $disk

check 'filesystems of an image that is not attached: containers as such, and with keys what is inside; nothing is left'
must filesystems --json "$(image_of luks)"
json_holds "$work/out" '[c["type"] for c in d["children"]] == ["crypto_LUKS"] * 2' \
    '[c["children"] for c in d["children"]] == [[], []]' 'd["path"] is None'
says 'is encrypted and stays closed (see --key-file)'
nothing_left filesystems
must filesystems --json --key "1=$work/key1-with-line-feed" "$(image_of luks)"
json_holds "$work/out" 'd["children"][0]["children"][0]["type"] == "ext4"' 'd["children"][1]["children"] == []'
nothing_left 'filesystems with a key'
refuses 4 filesystems --key-file "$work/wrong" "$(image_of luks)"
says 'the key does not open it'
nothing_left 'filesystems with a wrong key'

check 'one key for all, from standard input and from a descriptor'
blank "$work/small" 8
loop=$(loop_of "$work/small")
format_luks luks1 "$loop" "$work/key2"
losetup --detach "$loop"
wrap "$work/small" small
remember_images
must attach "$(image_of small)"
must activate --key-file - vmdkdm-test-small <"$work/key2"
printed /dev/mapper/vmdkdm-test-small-crypt
must deactivate vmdkdm-test-small
must activate --key-fd 7 vmdkdm-test-small 7<"$work/key2"
printed /dev/mapper/vmdkdm-test-small-crypt
must deactivate vmdkdm-test-small
refuses 2 activate --key-fd 99 vmdkdm-test-small
says '--key-fd 99: it is not open'
must detach vmdkdm-test-small

check 'a snapshot chain moved onto an encrypted logical volume, and a VMDK that lies on one: the same bytes'
blank "$work/host" 96
loop=$(loop_of "$work/host")
quiet lvm pvcreate "$loop"
quiet lvm vgcreate -s 1M vmdkdm_host "$loop"
quiet lvm lvcreate -y -Wn -Zn -L 24M -n target vmdkdm_host
format_luks luks2 /dev/mapper/vmdkdm_host-target "$work/key2"
quiet cryptsetup open --key-file "$work/key2" /dev/mapper/vmdkdm_host-target vmdkdm-test-host-target
must attach --no-partitions --overlay "$work/overlay" "$(image_of small)"
fill /dev/mapper/vmdkdm-test-small moved
cp /dev/mapper/vmdkdm-test-small "$work/moved"
must detach vmdkdm-test-small
snapshot=$work/vmdkdm-test-snapshot.vmdk
must overlay merge-to --format vmdk-delta --overlay "$work/overlay" "$(image_of small)" "$snapshot"
must compact --to-device "$snapshot" /dev/mapper/vmdkdm-test-host-target
cmp -n $((8 << 20)) "$work/moved" /dev/mapper/vmdkdm-test-host-target || fail 'the moved disk differs'
quiet cryptsetup close vmdkdm-test-host-target
quiet cryptsetup open --key-file "$work/key2" /dev/mapper/vmdkdm_host-target vmdkdm-test-host-target
cmp -n $((8 << 20)) "$work/moved" /dev/mapper/vmdkdm-test-host-target || fail 'read back, it differs'
quiet mke2fs -q -t ext4 -O ^has_journal /dev/mapper/vmdkdm-test-host-target
mkdir "$work/mnt"
mount /dev/mapper/vmdkdm-test-host-target "$work/mnt"
cp -r "$images/small" "$work/mnt/"
sha256sum "$work/mnt/small/"* >"$work/sums"
must attach --name vmdkdm-test-onlv "$work/mnt/small/vmdkdm-test-small.vmdk"
same_bytes /dev/mapper/vmdkdm-test-onlv "$work/small"
must detach vmdkdm-test-onlv
sha256sum --quiet --check "$work/sums" || fail 'the image on the encrypted volume has changed'
umount "$work/mnt"
quiet cryptsetup close vmdkdm-test-host-target
quiet lvm vgchange -an vmdkdm_host
losetup --detach "$loop"
conclude
