#!/usr/bin/env bash
# filesystems: partitions and file systems of an image that is attached, mounted or neither, as a tree and as JSON; of
# one that is not attached nothing is left, also when it is killed at any moment. Labels and paths drive no terminal, here and in
# the other commands that show them.
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
# Escape sequences, DEL, C1, a mark that turns the writing, and no UTF-8.
odd=$'\e[31m\x7f\xc2\x9b1m\xe2\x80\xae\xff'
blank "$work/odd" 24
sfdisk --quiet "$work/odd" <<<"label: gpt
start=2048,size=8MiB,name=\"${odd%?}\"
size=8MiB"
for first in 1 9; do
    part=$(loop_of "$work/odd" --offset "$((first << 20))" --sizelimit $((8 << 20)))
    quiet mke2fs -q -t ext4 -L "$odd" "$part"
    losetup --detach "$part"
done
wrap "$work/odd" odd
mv "$images/odd" "$images/$odd"
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

# drives_nothing SHOWN: what the last command printed, which has the label or the path in it as SHOWN.
drives_nothing() {
    ! grep -a -q -P '[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xff|^FORGED' \
        "$work/out" "$work/err" || fail "$(cat -v "$work/out" "$work/err")"
    cat "$work/out" "$work/err" >"$work/both"
    grep -q -F -- "$1" "$work/both" || fail "'$1' is not shown"
}
check 'labels and paths that would drive a terminal: of an image that is not attached'
image=$images/$odd/vmdkdm-test-odd.vmdk
must filesystems "$image"
drives_nothing '\x1b[31m'
must filesystems --json "$image"
drives_nothing '\u001b[31m\u007f\u009b1m\u202e'
json_holds "$work/out" 'd["children"][0]["label"].startswith("\x1b[31m\x7f\x9b1m\u202e")'
mountpoint=$work/mnt$odd$'\nFORGED'
mkdir "$mountpoint"
refuses 4 mount "$image" "$mountpoint"
drives_nothing '\x1b[31m'
refuses 6 mount "$image:LABEL=$odd-" "$mountpoint"
drives_nothing '\x1b[31m'
check 'of one that is attached: the partition, its mount point, its overlay'
must attach --json --overlay "$work/$odd.overlay" "$image"
drives_nothing '\u001b[31m'
json_holds "$work/out" 'd["partitions"][0]["label"].startswith("\x1b[31m")'
mount -o ro,noload /dev/mapper/vmdkdm-test-odd1 "$mountpoint"
for command in list filesystems; do
    words=()
    [ "$command" = list ] || words=(vmdkdm-test-odd)
    must "$command" "${words[@]}"
    drives_nothing '\x1b[31m'
    must "$command" --json "${words[@]}"
    drives_nothing '\u001b[31m'
done
refuses 5 detach vmdkdm-test-odd
drives_nothing '\x1b[31m'
refuses 5 attach "$image"
drives_nothing '\x1b[31m'
umount "$mountpoint"
must detach vmdkdm-test-odd
must overlay info "$work/$odd.overlay"
drives_nothing '\x1b[31m'
check 'mounted by vmdk-dm, and unmounted'
must mount "$image:1" "$mountpoint"
drives_nothing '\x1b[31m'
refuses 5 mount "$image:2" "$mountpoint"
drives_nothing '\x1b[31m'
must umount "$mountpoint"
image=$(image_of fs)

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
