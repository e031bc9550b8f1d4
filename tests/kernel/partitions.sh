#!/usr/bin/env bash
# Partitions: the same numbers, places and sizes as the kernel's own parser finds on the raw disk, under kpartx's
# names; 512 and 4096-byte sectors; the JSON of attach and list.
set -eu
. "$(dirname -- "$0")/lib.sh"
start mke2fs mount umount
make_images partitions
remember_images
mount_point=$work/mnt
mkdir "$mount_point"

declare -A descriptor
for name in gpt mbr beyond gpt4k gpt4k-odd mbr4k whole no-table; do
    descriptor[$name]=$images/$name/vmdkdm-test-$name.vmdk
done

# "number start size" of the kernel's partitions of a raw disk, through a loop device.
kernel_partitions() {
    local loop path start size
    loop=$(losetup --find --show --read-only --partscan --sector-size "$2" "$work/expected/$1")
    for path in /sys/block/"${loop#/dev/}"/"${loop#/dev/}"p*; do
        [ -e "$path/start" ] || continue
        read -r start <"$path/start"
        read -r size <"$path/size"
        echo "${path##*p} $start $size"
    done
    losetup --detach "$loop"
}

# The same of an attached disk, told by UUID and table of our devices.
our_partitions() {
    local name uuid number start size line
    dmsetup table >"$work/tables"
    dmsetup info -c --noheadings -o name,uuid --separator ' ' | while read -r name uuid; do
        [[ $uuid =~ ^part([0-9]+)-$(uuid_of "$1")$ ]] || continue
        number=${BASH_REMATCH[1]}
        line=$(grep "^$name: " "$work/tables")
        read -r _ _ size _ _ start <<<"$line"
        echo "$number $start $size"
    done | sort -n
}

uuid_of() {
    local device inode
    read -r device inode < <(stat -c '%d %i' "${descriptor[$1]}")
    printf 'VMDK-%x.%x-disk' "$device" "$inode"
}

# agrees CASE SECTOR-SIZE: disk and partitions are as the kernel would have them.
agrees() {
    same_bytes "/dev/mapper/vmdkdm-test-$1" "$work/expected/$1"
    kernel_partitions "$1" "$2" | sort -n >"$work/kernel"
    our_partitions "$1" >"$work/ours"
    [ -s "$work/kernel" ] || fail 'the kernel sees no partition at all'
    diff "$work/kernel" "$work/ours" || fail 'partitions are not as the kernel has them (<)'
}

logical_block_size() { cat "$(sys_of "$1")/queue/logical_block_size"; }

reads_hello() {
    mount -o ro "$1" "$mount_point"
    [ "$(<"$mount_point/hello.txt")" = 'hello from inside the image' ] || fail "hello.txt on $1 is wrong"
    umount "$mount_point"
}

disk=/dev/mapper/vmdkdm-test-gpt
check 'GPT: a gap in the numbers stays, paths are printed in their order'
must attach "${descriptor[gpt]}"
printed "$disk" "${disk}1" "${disk}2" "${disk}5"
is_silent
agrees gpt 512
check 'GPT: dm UUIDs'
[ "$(dmsetup info -c --noheadings -o uuid vmdkdm-test-gpt)" = "$(uuid_of gpt)" ] || fail 'the UUID of the disk'
[ "$(dmsetup info -c --noheadings -o uuid vmdkdm-test-gpt5)" = "part5-$(uuid_of gpt)" ] || fail 'the UUID of a partition'
[ "$(logical_block_size "$disk")" = 512 ] || fail 'the logical block size'
check 'GPT: mount the ext4, read a file'
reads_hello "${disk}1"
check 'list --json'
mount -o ro "${disk}1" "$mount_point"
must list --json
json_holds "$work/out" 'len(d) == 1' \
    'd[0]["name"] == "vmdkdm-test-gpt" and d[0]["disk"] == "/dev/mapper/vmdkdm-test-gpt"' \
    "d[0]['image'] == '${descriptor[gpt]}'" "d[0]['uuid'] == '$(uuid_of gpt)'" \
    'd[0]["readOnly"] is True and d[0]["deferredRemove"] is False and d[0]["mounts"] == []' \
    '[p["number"] for p in d[0]["partitions"]] == [1, 2, 5]' \
    "d[0]['partitions'][0]['mounts'] == ['$mount_point']" \
    'd[0]["partitions"][1]["path"] == "/dev/mapper/vmdkdm-test-gpt2" and d[0]["partitions"][1]["mounts"] == []' \
    "sorted(l['file'] for l in d[0]['lowers']) == ['$images/gpt/gpt-f00%d.vmdk' % n for n in (1, 2, 3)]" \
    'all(l["readOnly"] for l in d[0]["lowers"])'
umount "$mount_point"
must list
[[ $(<"$work/out") == *"$disk"*"${descriptor[gpt]}"* ]] || fail 'list does not show the disk and its image'
must detach vmdkdm-test-gpt
is_gone vmdkdm-test-gpt
is_gone vmdkdm-test-gpt5
must list --json
json_holds "$work/out" 'd == []'

check 'attach --json'
must attach --json "${descriptor[gpt]}"
json_holds "$work/out" 'd["name"] == "vmdkdm-test-gpt" and d["disk"] == "/dev/mapper/vmdkdm-test-gpt"' \
    "d['image'] == '${descriptor[gpt]}'" "d['uuid'] == '$(uuid_of gpt)'" \
    'd["capacity"] == 16384 * 512 and d["readOnly"] is True and d["sectorSize"] == 512' \
    '[p["number"] for p in d["partitions"]] == [1, 2, 5]' \
    'd["partitions"][2] == {"number": 5, "path": "/dev/mapper/vmdkdm-test-gpt5", "start": 8192 * 512,
        "size": 100 * 512, "type": "0fc63daf-8483-4772-8e79-3d69d8477de4", "label": "after a gap",
        "uuid": "00000000-0000-0000-0000-000011110005"}'
must detach "${descriptor[gpt]}"

check '--no-partitions'
must attach --no-partitions "${descriptor[gpt]}"
printed "$disk"
must detach "$disk"
check "a name that ends in a digit gets a 'p'"
must attach --name vmdkdm-test-gpt0 "${descriptor[gpt]}"
printed "${disk}0" "${disk}0p1" "${disk}0p2" "${disk}0p5"
must detach vmdkdm-test-gpt0
check '--delimiter'
must attach --delimiter -part "${descriptor[gpt]}"
printed "$disk" "$disk-part1" "$disk-part2" "$disk-part5"
must detach vmdkdm-test-gpt
check 'an empty --delimiter'
must attach --name vmdkdm-test-gpt0 -p '' "${descriptor[gpt]}"
printed "${disk}0" "${disk}01" "${disk}02" "${disk}05"
must detach vmdkdm-test-gpt0

check 'MBR: extended and logical partitions, a deleted logical one'
must attach "${descriptor[mbr]}"
agrees mbr 512
grep -q '^3 2000 2$' "$work/ours" || fail 'the extended partition is not 2 sectors'
must detach vmdkdm-test-mbr

check 'MBR: what lies beyond the end is cut or left out, with a note'
must attach "${descriptor[beyond]}"
says 'note: partition 2 reaches beyond the end of the disk and is cut'
says 'note: partition 3 lies beyond the end of the disk and is left out'
agrees beyond 512
must detach vmdkdm-test-beyond

disk=/dev/mapper/vmdkdm-test-gpt4k
check 'GPT with 4096-byte sectors, found by itself'
must attach "${descriptor[gpt4k]}"
printed "$disk" "${disk}1" "${disk}3"
is_silent
agrees gpt4k 4096
[ "$(logical_block_size "$disk")" = 4096 ] || fail 'the logical block size of the disk'
[ "$(logical_block_size "${disk}1")" = 4096 ] || fail 'the logical block size of the partition'
reads_hello "${disk}1"
must detach vmdkdm-test-gpt4k
check 'the same with --sector-size 4096'
must attach --sector-size 4096 --json "${descriptor[gpt4k]}"
json_holds "$work/out" 'd["sectorSize"] == 4096' 'd["partitions"][1]["start"] == 1024 * 4096' \
    'd["partitions"][1]["size"] == 16 * 4096'
must detach vmdkdm-test-gpt4k
check '--sector-size 512 on it: the protective MBR is all that is seen'
must attach --sector-size 512 "${descriptor[gpt4k]}"
[ "$(logical_block_size "$disk")" = 512 ] || fail 'the logical block size'
must detach vmdkdm-test-gpt4k
check 'extents that are not aligned to 4096 bytes: partitions all the same, the device offers 512'
must attach "${descriptor[gpt4k-odd]}"
says 'note: the extents are not aligned to sectors of 4096 bytes'
agrees gpt4k-odd 4096
[ "$(logical_block_size /dev/mapper/vmdkdm-test-gpt4k-odd)" = 512 ] || fail 'the logical block size'
must detach vmdkdm-test-gpt4k-odd

check 'MBR with 4096-byte sectors, by ddb.logicalSectorSize'
must attach "${descriptor[mbr4k]}"
agrees mbr4k 4096
[ "$(logical_block_size /dev/mapper/vmdkdm-test-mbr4k)" = 4096 ] || fail 'the logical block size'
reads_hello /dev/mapper/vmdkdm-test-mbr4k1
must detach vmdkdm-test-mbr4k

check 'a file system on the whole disk'
must attach "${descriptor[whole]}"
printed /dev/mapper/vmdkdm-test-whole
reads_hello /dev/mapper/vmdkdm-test-whole
mount -o ro /dev/mapper/vmdkdm-test-whole "$mount_point"
must list --json
json_holds "$work/out" "d[0]['mounts'] == ['$mount_point']"
umount "$mount_point"
check 'a disk without a partition table'
must attach "${descriptor[no-table]}"
printed /dev/mapper/vmdkdm-test-no-table
must detach --all
conclude
