#!/usr/bin/env bash
# attach --table: entries of a table with plain paths and with DEV:/PATH on a mounted file system. A broken line, a
# missing image and an unknown option concern their own line only; what is attached already is left as it is. tab add
# and generate-cmdline name an image by its file system. No image changes.
set -eu
. "$(dirname -- "$0")/lib.sh"
start env ln mke2fs mkdir mount umount
make_images disks 3 2
remember_images
table=$work/vmdktab
mnt=$work/mnt
part=$work/part
uuid=11111111-2222-3333-4444-555555555555
mkdir "$mnt" "$part" "$work/tree"
cp -a "$images/disk2" "$images/disk3" "$work/tree"
ln -s "$images/disk1/vmdkdm-test-disk1.vmdk" "$work/tree/elsewhere.vmdk"
truncate -s 64M "$work/stick"
mke2fs -q -F -t ext4 -U "$uuid" -d "$work/tree" "$work/stick"
stick=$(losetup --find --show "$work/stick")
mount "$stick" "$mnt"
image() { echo "$images/disk$1/vmdkdm-test-disk$1.vmdk"; }
on_stick() { (cd "$mnt" && sha256sum disk2/*.vmdk disk3/*.vmdk); }
on_stick >"$work/on-stick"

cat >"$table" <<END
# two that are right, and between them what a typing error leaves
vmdkdm-test-plain $(image 1) no-partitions
vmdkdm-test-broken line
vmdkdm-test-dev	UUID=$uuid:/disk2/vmdkdm-test-disk2.vmdk	overlay=/changes,timeout=5s,x-note=y # on the stick
vmdkdm-test-asked $(image 3) noauto,no-partitions
vmdkdm-test-missing $images/none.vmdk nofail
END
plain=vmdkdm-test-plain
over=vmdkdm-test-dev
dev=/dev/mapper/$over

check 'what is right is attached, the broken line decides the status, and nofail is a note'
try attach --table --table-file "$table"
[ "$status" -eq 3 ] || fail "exit status $status"
printed /dev/mapper/vmdkdm-test-plain "$dev" "${dev}1" "${dev}2"
says "$table:3:20: 'line' is neither an absolute path nor DEV:/PATH"
says "vmdk-dm: note: $table:6: 'vmdkdm-test-missing': cannot open '$images/none.vmdk': No such file or directory (nofail)"
same_bytes /dev/mapper/vmdkdm-test-plain "$work/expected/disk1"
same_bytes "$dev" "$work/expected/disk2"
is_gone vmdkdm-test-asked

check 'a signal stops it between two entries'
status=0
env --block-signal=TERM bash -c 'kill -TERM $$; exec "$@"' bash \
    "$vmdk_dm" attach --table --table-file "$table" vmdkdm-test-asked >"$work/out" 2>"$work/err" || status=$?
[ "$status" -eq 1 ] || fail "exit status $status"
says 'vmdk-dm: interrupted: entries are left that are not attached'
is_gone vmdkdm-test-asked

check 'the overlay of an image on a device is on that device, and takes what is written'
[ -f "$mnt/changes" ] || fail 'there is no overlay on the stick'
printf 'written' | dd of="$dev" bs=512 seek=3 conv=sync,fsync status=none
must list --json
json_holds "$work/out" "[d['overlay']['file'] for d in d if d['overlay']] == ['$mnt/changes']"

check 'what is attached already is no error, and stays'
try attach --table --table-file "$table" --json
[ "$status" -eq 3 ] || fail "exit status $status"
json_holds "$work/out" \
    "[(e['entry'], e['state'], e['line']) for e in d[:2]] == [('$plain', 'already', 2), ('$over', 'already', 4)]" \
    "[(e['state'], e['line']) for e in d[2:]] == [('failed', 6)]" \
    "d[1]['paths'] == ['$dev', '${dev}1', '${dev}2']" "d[1]['attached'] is None"
dd if="$dev" bs=512 skip=3 count=1 status=none | { read -r -N 7 word && [ "$word" = written ]; } || fail 'lost a write'

check 'those that are named are attached, noauto or not, and broken lines elsewhere do not matter'
must attach --table --table-file "$table" vmdkdm-test-asked vmdkdm-test-plain
printed /dev/mapper/vmdkdm-test-asked /dev/mapper/vmdkdm-test-plain
is_silent
same_bytes /dev/mapper/vmdkdm-test-asked "$work/expected/disk3"

check 'a named entry that fails is an error, nofail or not, and the next is attached all the same'
must detach vmdkdm-test-asked
try attach --table --json --table-file "$table" vmdkdm-test-missing vmdkdm-test-asked
[ "$status" -eq 6 ] || fail "exit status $status"
json_holds "$work/out" "[e['state'] for e in d] == ['failed', 'attached']" \
    "d[0]['message'] == \"cannot open '$images/none.vmdk': No such file or directory\"" \
    "d[1]['attached']['disk'] == '/dev/mapper/vmdkdm-test-asked'"
refuses 3 attach --table --table-file "$table" vmdkdm-test-broken
says "$table:3:20: 'line' is neither"

check 'the same image under another name, an unknown option and a wrong value'
cat >"$work/wrong" <<END
vmdkdm-test-again $(image 1)
vmdkdm-test-option $(image 1) expose,frobnicate
vmdkdm-test-value $(image 1) strategy=fast
END
refuses 6 attach --table --table-file "$work/wrong" vmdkdm-test-nobody
says "vmdk-dm: '$work/wrong' has no entry 'vmdkdm-test-nobody'"
refuses 5 attach --table --table-file "$work/wrong" vmdkdm-test-again
refuses 3 attach --table --table-file "$work/wrong" vmdkdm-test-option
says "$work/wrong:2:"
says "unknown option 'frobnicate'"
refuses 3 attach --table --table-file "$work/wrong" vmdkdm-test-value
says "strategy: fast not in"
refuses 5 attach --table --table-file "$work/wrong"

check 'what leads out of the device is refused: a symlink, and another mount over it'
echo "vmdkdm-test-out UUID=$uuid:/elsewhere.vmdk" >"$work/out-of-it"
refuses 4 attach --table --table-file "$work/out-of-it"
says "'$mnt/elsewhere.vmdk' is not on the file system of UUID=$uuid: a symlink or another mount leads elsewhere"
echo "vmdkdm-test-out UUID=$uuid:/disk3/vmdkdm-test-disk3.vmdk" >"$work/out-of-it"
mount --bind "$images/disk3" "$mnt/disk3"
refuses 4 attach --table --table-file "$work/out-of-it"
umount "$mnt/disk3"

check 'tab add and generate-cmdline name the file system'
must tab add --table-file "$work/made" --by-uuid --name vmdkdm-test-made -o "nofail,overlay=$mnt/disk3/new" \
    "$mnt/disk3/vmdkdm-test-disk3.vmdk"
printed "vmdkdm-test-made UUID=$uuid:/disk3/vmdkdm-test-disk3.vmdk nofail,overlay=/disk3/new"
must generate-cmdline "$mnt/disk3/vmdkdm-test-disk3.vmdk" --name root -o in-place
printed "rd.vmdk=UUID=$uuid:/disk3/vmdkdm-test-disk3.vmdk:root:expose,in-place"
must generate-cmdline vmdkdm-test-made --table-file "$work/made"
printed "rd.vmdk=UUID=$uuid:/disk3/vmdkdm-test-disk3.vmdk:vmdkdm-test-made:expose,nofail,overlay=/disk3/new"
mount --bind "$mnt/disk3" "$part"
must generate-cmdline "$part/vmdkdm-test-disk3.vmdk" --name root
printed "rd.vmdk=UUID=$uuid:/disk3/vmdkdm-test-disk3.vmdk:root:expose"
refuses 4 generate-cmdline "$(image 1)"
says 'without a block device of its own'
refuses 4 generate-cmdline "$part/vmdkdm-test-disk3.vmdk" -o "overlay=$work/new"
must tab check --table-file "$work/made"
must detach vmdkdm-test-asked
must attach --table --table-file "$work/made"
is_device vmdkdm-test-made
must detach vmdkdm-test-made

check 'a disk inside a disk that needs it is a cycle, found through what is attached'
echo "$dev /somewhere ext4 defaults 0 0" >"$work/fstab"
echo "vmdkdm-test-dev /somewhere/x.vmdk" >"$work/cycle"
status=0
LIBMOUNT_FSTAB=$work/fstab "$vmdk_dm" tab check --table-file "$work/cycle" >"$work/out" 2>"$work/err" || status=$?
[ "$status" -eq 3 ] || fail "exit status $status"
[[ $(<"$work/out") == *"'vmdkdm-test-dev' needs 'vmdkdm-test-dev'"* ]] || fail 'no cycle was found'

check 'where the device is not mounted, or only a part of it, the message says what to do'
must detach vmdkdm-test-dev
on_stick | cmp -s - "$work/on-stick" || fail 'images on the stick have changed'
umount "$mnt"
refuses 6 attach --table --table-file "$work/made" vmdkdm-test-made
says "the file system of UUID=$uuid ($stick) is not mounted (vmdk-dm never mounts it; try: mount $stick /mnt)"
umount "$part"
must tab check --table-file "$work/made"
says 'so the image was not looked at'
losetup --detach "$stick"

must detach vmdkdm-test-plain
conclude
