#!/usr/bin/env bash
# MD arrays over images: RAID1 across two VMDKs, assembled read-only out of exactly those members, degraded with one of
# them, beside the array of the original; LVM inside an array; RAID0. A real udevd runs, and leaves them alone.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$(dirname -- "$0")/stack.sh"
. "$(dirname -- "$0")/udevd.sh"
. "$(dirname -- "$0")/listened.sh"
start lvm mdadm mke2fs sfdisk udevadm pidof
start_listened_udevd

for name in a b c d e f g; do blank "$work/$name" 24; done
declare -A loop
for name in a b c d e f g; do loop[$name]=$(loop_of "$work/$name"); done
quiet mdadm --create /dev/md/vmdkdm_mirror --run --level=1 --raid-devices=2 --metadata=1.2 --homehost=guest \
    --name=data --bitmap=none --assume-clean "${loop[a]}" "${loop[b]}"
quiet lvm pvcreate /dev/md/vmdkdm_mirror
quiet lvm vgcreate -s 1M vg0 /dev/md/vmdkdm_mirror
quiet lvm lvcreate -y -Wn -Zn -L 8M -n files vg0
fill /dev/mapper/vg0-files mirrored
cp /dev/mapper/vg0-files "$work/files"
quiet lvm vgchange -an vg0
quiet mdadm --create /dev/md/vmdkdm_stripes --run --level=0 --raid-devices=2 --metadata=1.2 --homehost=guest \
    --name=fast "${loop[c]}" "${loop[d]}"
fill /dev/md/vmdkdm_stripes striped
cp /dev/md/vmdkdm_stripes "$work/stripes"
# A file system of the host, and a partition with one.
quiet mdadm --create /dev/md/vmdkdm_root --run --level=1 --raid-devices=2 --metadata=1.0 --homehost=guest --name=root \
    --bitmap=none --assume-clean "${loop[e]}" "${loop[f]}"
quiet mke2fs -q -t ext4 -L $label -U $uuid /dev/md/vmdkdm_root
blank "$work/table" 20
quiet mdadm --create /dev/md/vmdkdm_parts --run --level=1 --raid-devices=2 --metadata=1.2 --homehost=guest --name=parts \
    --bitmap=none "${loop[g]}" missing
sfdisk --quiet --no-tell-kernel "$work/table" <<<'2048,16MiB,83'
dd if="$work/table" of=/dev/md/vmdkdm_parts bs=512 count=1 conv=fsync status=none
udevadm settle --timeout=30
blockdev --rereadpt /dev/md/vmdkdm_parts
partition=$(readlink -f /dev/md/vmdkdm_parts)p1
wait_until 30 test -b "$partition"
quiet mke2fs -q -t ext4 -L $label-2 -U "${uuid/aaaa/ffff}" "$partition"
links_lead_to /dev/md/vmdkdm_root $uuid $label
links_lead_to "$partition" "${uuid/aaaa/ffff}" $label-2
sync
for name in a b c d e f g; do wrap "$work/$name" "$name"; done
remember_images
state_before=$state_at_start
kernel_state
state_at_start=$state

check 'RAID1 across two images beside the active original, LVM inside it: the right bytes'
must attach "$(image_of a)"
must attach "$(image_of b)"
must activate vmdkdm-test-a vmdkdm-test-b
printed /dev/md/vmdkdm-test-a-data /dev/mapper/vmdkdm-test-a-vg0-files
is_silent
same_bytes /dev/mapper/vmdkdm-test-a-vg0-files "$work/files"
[ "$(blockdev --getro /dev/md/vmdkdm-test-a-data)" = 1 ] || fail 'the array is writable'
check 'detach is refused and names deactivate, which takes it down'
refuses 5 detach vmdkdm-test-b
says "in use: device 'md"
says '(see vmdk-dm deactivate)'
must deactivate --json vmdkdm-test-b
json_holds "$work/out" 'd == ["/dev/mapper/vmdkdm-test-a-vg0-files", "/dev/md/vmdkdm-test-a-data"]'
[ ! -e /dev/md/vmdkdm-test-a-data ] || fail 'the array is still there'
[ -b /dev/md/vmdkdm_mirror ] || fail 'the array of the host has gone'
check 'one half of it: degraded, with a note'
must activate vmdkdm-test-b
printed /dev/md/vmdkdm-test-b-data /dev/mapper/vmdkdm-test-b-vg0-files
says 'note: /dev/md/vmdkdm-test-b-data is degraded: 1 of 2 members are here'
same_bytes /dev/mapper/vmdkdm-test-b-vg0-files "$work/files"
must deactivate vmdkdm-test-b
must detach --all

check 'filesystems does not assemble: what is killed could not take an array down'
must filesystems --json "$(image_of a)"
json_holds "$work/out" 'd["type"] == "linux_raid_member"' 'd["children"] == []'
nothing_left filesystems

check 'RAID0 across two images; with one of them nothing comes up, with a note'
must attach "$(image_of c)"
must activate vmdkdm-test-c
says 'note: /dev/md/vmdkdm-test-c-fast is not brought up: 1 of 2 members are here'
[ ! -e /dev/md/vmdkdm-test-c-fast ] || fail 'there is an array'
must attach "$(image_of d)"
must activate vmdkdm-test-c vmdkdm-test-d
printed /dev/md/vmdkdm-test-c-fast
same_bytes /dev/md/vmdkdm-test-c-fast "$work/stripes"
must deactivate vmdkdm-test-c vmdkdm-test-d
must detach --all

check 'a file system of the host inside, and a partition with one: the links lead to the host before, meanwhile and after'
for name in e f g; do must attach "$(image_of $name)"; done
listen
must activate vmdkdm-test-e vmdkdm-test-f vmdkdm-test-g
sort -o "$work/out" "$work/out" # they come in the order of their UUIDs
printed /dev/md/vmdkdm-test-{e-root,g-parts}
copy=$(readlink -f /dev/md/vmdkdm-test-g-parts)p1
wait_until 30 test -b "$copy"
udevadm trigger --settle --name-match /dev/md/vmdkdm-test-e-root --name-match "$copy"
must filesystems vmdkdm-test-g
heard_nothing_of "[af]*${uuid#a*-}" "$label.*"
is_hidden /dev/md/vmdkdm-test-e-root /dev/md/vmdkdm-test-g-parts "$copy"
links_lead_to /dev/md/vmdkdm_root $uuid $label
links_lead_to "$partition" "${uuid/aaaa/ffff}" $label-2
listen
must deactivate vmdkdm-test-e vmdkdm-test-g
heard_nothing_of "[af]*${uuid#a*-}" "$label.*"
links_lead_to /dev/md/vmdkdm_root $uuid $label
links_lead_to "$partition" "${uuid/aaaa/ffff}" $label-2
no_rules_left
check 'without udev there are no arrays: udevd would hear of them all the same'
must activate --no-udev vmdkdm-test-e vmdkdm-test-f
says 'note: /dev/md/vmdkdm-test-e-root is not brought up: an udevd that may hear of it cannot be told to leave it alone'
[ ! -e /dev/md/vmdkdm-test-e-root ] || fail 'there is an array'
must detach --all

for name in mirror stripes root parts; do quiet mdadm --stop "/dev/md/vmdkdm_$name"; done
for name in a b c d e f g; do losetup --detach "${loop[$name]}"; done
udevadm settle --timeout=30
stop_udevd
state_at_start=$state_before
conclude
