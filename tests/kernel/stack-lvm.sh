#!/usr/bin/env bash
# LVM inside images: linear and striped volumes become read-only devices of ours with the right bytes, also beside a
# volume group of the same name and UUIDs that the host has active; what cannot come up is named.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$(dirname -- "$0")/stack.sh"
start lvm sfdisk mke2fs

# The original: a partitioned disk and a second one, one VG over both, hyphens in the names.
blank "$work/one" 40
blank "$work/two" 24
sfdisk --quiet "$work/one" <<<'2048,36MiB,8e'
partition=$(loop_of "$work/one" --offset $((2048 * 512)) --sizelimit $((36 << 20)))
second=$(loop_of "$work/two")
quiet lvm pvcreate "$partition" "$second"
quiet lvm vgcreate -s 1M vg-0 "$partition" "$second"
quiet lvm lvcreate -y -Wn -Zn -L 8M -n root vg-0 "$partition"
quiet lvm lvcreate -y -Wn -Zn -L 4M -n in-two-parts vg-0 "$partition"
quiet lvm lvcreate -y -Wn -Zn -L 4M -n other vg-0 "$partition"
quiet lvm lvextend -y -L 8M vg-0/in-two-parts "$partition"
quiet lvm lvcreate -y -Wn -Zn -i 2 -I 64k -L 8M -n stripes vg-0
mkdir "$work/lv"
for lv in root in-two-parts other stripes; do
    fill "/dev/vg-0/$lv" "$lv" 2>/dev/null || fill "/dev/mapper/vg--0-${lv//-/--}" "$lv"
done
quiet mke2fs -q -t ext4 -L the-root -U 11111111-2222-3333-4444-555555555555 /dev/mapper/vg--0-root
for lv in root in-two-parts other stripes; do cp "/dev/mapper/vg--0-${lv//-/--}" "$work/lv/$lv"; done
sync
wrap "$work/one" lvm1
wrap "$work/two" lvm2
mkdir "$images/lvm3"
remember_images
host_table=$(dmsetup table)
host_sums=$(sha256sum "$work/one" "$work/two")

check 'the clones beside the active original: all come up, with their bytes'
must attach "$(image_of lvm1)"
must attach "$(image_of lvm2)"
must activate vmdkdm-test-lvm1 vmdkdm-test-lvm2
printed /dev/mapper/vmdkdm-test-lvm1-vg--0-{in--two--parts,other,root,stripes}
is_silent
for lv in root in-two-parts other stripes; do
    same_bytes "/dev/mapper/vmdkdm-test-lvm1-vg--0-${lv//-/--}" "$work/lv/$lv"
done
check 'they are read-only'
[ "$(blockdev --getro /dev/mapper/vmdkdm-test-lvm1-vg--0-root)" = 1 ] || fail 'root is writable'
check 'a second activate finds nothing to do'
must activate vmdkdm-test-lvm1 vmdkdm-test-lvm2
printed ''
says "note: there is nothing to be brought up on 'vmdkdm-test-lvm1', 'vmdkdm-test-lvm2'"
check 'list leaves them out; detach is refused and names deactivate'
must list --json
json_holds "$work/out" 'len(d[0]["partitions"]) == 1' '[e["path"] for e in d[0]["inner"]] == ["/dev/mapper/vmdkdm-test-lvm1-pages"]'
refuses 5 detach vmdkdm-test-lvm1
says "in use: dm device 'vmdkdm-test-lvm1-vg--0-"
says '(see vmdk-dm deactivate)'
check 'deactivate of one that is in use is refused and names the user; nothing has gone'
exec {reader}</dev/mapper/vmdkdm-test-lvm1-vg--0-root
refuses 5 deactivate vmdkdm-test-lvm1
says '/dev/mapper/vmdkdm-test-lvm1-vg--0-root is in use: process '
is_device vmdkdm-test-lvm1-vg--0-other
exec {reader}<&-
check 'deactivate: all gone, the original untouched'
must deactivate vmdkdm-test-lvm1
is_silent
for lv in root in--two--parts other stripes; do is_gone "vmdkdm-test-lvm1-vg--0-$lv"; done
[ "$(dmsetup table | grep -v -e ^vmdkdm-test-)" = "$host_table" ] || fail 'devices of the host have changed'
must deactivate --json vmdkdm-test-lvm2
json_holds "$work/out" 'd == []'

check 'one of the two disks: what lies on it alone comes up, the rest is named'
must activate vmdkdm-test-lvm1
printed /dev/mapper/vmdkdm-test-lvm1-vg--0-{in--two--parts,other,root}
says 'note: vg-0/stripes is not brought up: a physical volume that it lies on is missing'
check 'the second disk later: only what is new'
must activate --json vmdkdm-test-lvm1 vmdkdm-test-lvm2
json_holds "$work/out" 'd == [{"name": "vg-0/stripes", "kind": "logicalVolume",
    "path": "/dev/mapper/vmdkdm-test-lvm1-vg--0-stripes"}]'
same_bytes /dev/mapper/vmdkdm-test-lvm1-vg--0-stripes "$work/lv/stripes"
must deactivate vmdkdm-test-lvm2
is_gone vmdkdm-test-lvm1-vg--0-stripes
is_device vmdkdm-test-lvm1-vg--0-root
must deactivate vmdkdm-test-lvm1

check 'a name that is taken: refused, and all that was made is taken down again'
dmsetup create --verifyudev vmdkdm-test-lvm1-vg--0-other --table '0 8 zero'
refuses 5 activate vmdkdm-test-lvm1
says "the device name 'vmdkdm-test-lvm1-vg--0-other' is taken"
is_gone vmdkdm-test-lvm1-vg--0-root
dmsetup remove vmdkdm-test-lvm1-vg--0-other

check 'two clones at once are refused, one after the other they stand side by side'
refuses 5 attach --name vmdkdm-test-again "$(image_of lvm1)"
cp "$images/lvm1/"* "$images/lvm3/"
mv "$images/lvm3/vmdkdm-test-lvm1.vmdk" "$images/lvm3/vmdkdm-test-lvm3.vmdk"
remember_images
must attach "$(image_of lvm3)"
refuses 4 activate vmdkdm-test-lvm1 vmdkdm-test-lvm3
says 'are the same physical volume (clones?): activate one disk at a time'
must activate vmdkdm-test-lvm1
must activate vmdkdm-test-lvm3
for name in lvm1 lvm3; do same_bytes "/dev/mapper/vmdkdm-test-$name-vg--0-other" "$work/lv/other"; done
must deactivate vmdkdm-test-lvm1 vmdkdm-test-lvm3
check '--vg-name on a read-only disk is refused and says how'
refuses 4 activate --vg-name vmdkdm_copy vmdkdm-test-lvm3
says '--vg-name writes to the disk, which is read-only (attach it with --scratch or --overlay, then activate)'
must detach --all

[ "$(sha256sum "$work/one" "$work/two")" = "$host_sums" ] || fail 'the original has changed'
quiet lvm vgchange -an vg-0
losetup --detach "$partition"
losetup --detach "$second"
conclude
