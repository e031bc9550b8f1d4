#!/usr/bin/env bash
# filesystems: partitions and file systems of an image that is attached, mounted or neither, as a tree and as JSON; of
# one that is not attached nothing is left, also when it is killed at any moment.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$(dirname -- "$0")/stack.sh"
start lvm sfdisk mke2fs mkswap mount umount

blank "$work/disk" 48
sfdisk --quiet "$work/disk" <<<$'label: gpt\nstart=2048,size=8MiB,name=data\nsize=8MiB,name=swap\nsize=4MiB\nsize=24MiB,name=lvm'
part() { loop_of "$work/disk" --offset "$(($1 << 20))" --sizelimit "$(($2 << 20))"; }
one=$(part 1 8)
two=$(part 9 8)
four=$(part 21 24)
quiet mke2fs -q -t ext4 -L files -U 11111111-2222-3333-4444-555555555555 "$one"
quiet mkswap -L swapped "$two"
quiet lvm pvcreate "$four"
quiet lvm vgcreate -s 1M vg0 "$four"
quiet lvm lvcreate -y -Wn -Zn -L 8M -n root vg0
quiet mke2fs -q -t ext4 -L inside /dev/mapper/vg0-root
quiet lvm vgchange -an vg0
for loop in "$one" "$two" "$four"; do losetup --detach "$loop"; done
wrap "$work/disk" fs
mkdir "$images/blank"
blank "$work/nothing" 1
wrap "$work/nothing" blank
remember_images
image=$(image_of fs)

check 'an image that is not attached: the tree, and nothing is left'
must filesystems "$image"
is_silent
grep -q -E '^vmdkdm-test-fs +disk +48.0 MiB +-' "$work/out" || fail 'no line of the disk'
grep -q -E 'vmdkdm-test-fs1 +partition +8.0 MiB +ext4 +filesystem +files +11111111-2222-3333-4444-555555555555 +-$' \
    "$work/out" || fail 'no line of the first partition'
grep -q -E 'vg0/root +logical volume +8.0 MiB +ext4 +filesystem +inside ' "$work/out" || fail 'no line of the volume'
nothing_left filesystems
check 'its JSON'
must filesystems --json "$image"
json_holds "$work/out" 'd["kind"] == "disk" and d["path"] is None and d["size"] == 48 << 20 and d["type"] is None' \
    '[c["number"] for c in d["children"]] == [1, 2, 3, 4]' \
    '[c["type"] for c in d["children"]] == ["ext4", "swap", None, "LVM2_member"]' \
    '[c["usage"] for c in d["children"]] == ["filesystem", "other", None, "raid"]' \
    '[c["label"] for c in d["children"]] == ["files", "swapped", None, None]' \
    'd["children"][3]["children"][0]["name"] == "vg0/root"' \
    'd["children"][3]["children"][0]["kind"] == "logicalVolume"' \
    'd["children"][3]["children"][0]["label"] == "inside"'
check 'a disk with nothing on it'
must filesystems --json "$(image_of blank)"
json_holds "$work/out" 'd["children"] == [] and d["type"] is None and d["uuid"] is None'
check 'no such image'
refuses 6 filesystems "$images/none.vmdk"

check 'an attached disk: by name and by image, with its mount point; its volumes come up for the moment only'
must attach "$image"
mkdir "$work/mnt"
mount -o ro,noload /dev/mapper/vmdkdm-test-fs1 "$work/mnt"
for wanted in vmdkdm-test-fs "$image"; do
    must filesystems --json "$wanted"
    json_holds "$work/out" 'd["path"] == "/dev/mapper/vmdkdm-test-fs"' \
        "d['children'][0]['mounts'] == ['$work/mnt']" 'd["children"][3]["children"][0]["label"] == "inside"'
done
is_gone vmdkdm-test-fs-vg0-root
umount "$work/mnt"
check 'what is up already stays up'
must activate vmdkdm-test-fs
must filesystems --json vmdkdm-test-fs
is_device vmdkdm-test-fs-vg0-root
must deactivate vmdkdm-test-fs
must detach vmdkdm-test-fs

check 'killed at many moments: nothing is left'
for delay in 0 1 2 3 4 5 6 8 10 12 15 18; do
    "$vmdk_dm" filesystems "$image" >"$work/out" 2>"$work/err" &
    job=$!
    for ((i = 0; i < delay; i++)); do pause; done
    kill -KILL "$job" 2>/dev/null || true
    wait "$job" 2>/dev/null || true
    nothing_left "a kill after $delay times 20 ms" 10
done
conclude
