#!/usr/bin/env bash
# compact where it needs a real kernel: blocks shared on XFS, and onto block devices, with all that must be refused there.
# What it writes on any file system is compared in tests/chains.
set -eu
. "$(dirname -- "$0")/lib.sh"
start mkfs.xfs mke2fs mount umount truncate
mkdir "$work/expected" "$work/mnt"

cat >"$work/make.py" <<'END'
import pathlib, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import vmdk_writer as vw
images, expected = map(pathlib.Path, sys.argv[2:])

def make(name, kind, residue=0):
    grains = {number: vw.content(b"%s sector" % name.encode(), number * 128, 128) for number in (0, 1, 3, 7, 6, 11)}
    options = {"placement": vw.Placement(order="alternating", residues=(residue,))} if kind == "sparse" else {}
    extent = vw.Extent(kind, 128 * 12 + 37, f"{name}.vmdk", grains, 128, options=options)
    link = vw.Link(f"{name}.vmdk", "monolithicSparse" if kind == "sparse" else "streamOptimized", [extent])
    link.write(images)
    (expected / name).write_bytes(vw.disk_of([link]).data)

make("aligned", "sparse")
make("odd", "sparse", residue=1)
make("stream", "stream")
END
"$python" "$work/make.py" "$here/../generate" "$images" "$work/expected"
capacity=$(stat -c %s "$work/expected/aligned")
remember_images

# ---- A file system that shares blocks

truncate -s 320M "$work/xfs.img"
mkfs.xfs -q -m reflink=1 "$work/xfs.img"
xfs=$(losetup --find --show "$work/xfs.img")
mount "$xfs" "$work/mnt"
cp "$images"/*.vmdk "$work/mnt"

check 'on XFS, aligned grains are shared and not copied'
must compact --json "$work/mnt/aligned.vmdk" "$work/mnt/aligned.raw"
json_holds "$work/out" 'd["bytesReflinked"] == 6 * 65536' 'd["bytesCopied"] == 0' "d['capacity'] == $capacity" \
    'd["bytesZero"] == d["capacity"] - 6 * 65536'
same_bytes "$work/mnt/aligned.raw" "$work/expected/aligned"

check 'what is shared is hashed all the same'
must compact --json --force --hash sha256 "$work/mnt/aligned.vmdk" "$work/mnt/aligned.raw"
read -r sum _ < <(sha256sum "$work/expected/aligned")
json_holds "$work/out" "d['hashes'] == {'sha256': '$sum'}" 'd["bytesReflinked"] == 6 * 65536'
same_bytes "$work/mnt/aligned.raw" "$work/expected/aligned"

check 'grains that are not aligned are copied'
must compact --json "$work/mnt/odd.vmdk" "$work/mnt/odd.raw"
json_holds "$work/out" 'd["bytesReflinked"] == 0' 'd["bytesCopied"] == 6 * 65536'
same_bytes "$work/mnt/odd.raw" "$work/expected/odd"

check 'and so is what lies on another file system'
must compact --json "$images/aligned.vmdk" "$work/mnt/other.raw"
json_holds "$work/out" 'd["bytesReflinked"] == 0' 'd["bytesCopied"] == 6 * 65536'
same_bytes "$work/mnt/other.raw" "$work/expected/aligned"

check 'compressed grains are inflated'
must compact --json "$work/mnt/stream.vmdk" "$work/mnt/stream.raw"
json_holds "$work/out" 'd["bytesInflated"] == 6 * 65536'
same_bytes "$work/mnt/stream.raw" "$work/expected/stream"

check 'a file system without the room refuses before anything is written'
tr '\0' 'x' </dev/zero | head -c $((8 << 20)) >"$work/data"
{
    echo version=1
    for _ in {1..60}; do echo 'RW 16384 FLAT "data" 0'; done
} >"$work/large.vmdk"
refuses 1 compact "$work/large.vmdk" "$work/mnt/large.raw"
says "no room for '$work/mnt/large.raw': 503316480 bytes are to be written"
says 'too few'
[ ! -e "$work/mnt/large.raw" ] || fail 'a half file is there'
rm "$work/data" "$work/large.vmdk"
umount "$work/mnt"
losetup --detach "$xfs"
rm "$work/xfs.img"
nothing_left 'the copies on XFS'

# ---- Without O_TMPFILE (hostfs): a temporary name, and it goes

check 'on a file system without O_TMPFILE no temporary file is left'
mkdir "$work/host"
must compact "$images/stream.vmdk" "$work/host/out.raw"
same_bytes "$work/host/out.raw" "$work/expected/stream"
refuses 5 compact "$images/stream.vmdk" "$work/host/out.raw"
must compact --force "$images/stream.vmdk" "$work/host/out.raw"
[ "$(ls -A "$work/host")" = out.raw ] || fail "left: $(ls -A "$work/host")"

# ---- Devices

# device NAME BYTES: a mapped device over a file of its own that holds no zeros.
device() {
    dd if=/dev/zero bs=65536 count=$((($2 + 65535) / 65536)) status=none | tr '\0' 'x' >"$work/$1.img"
    local loop
    loop=$(losetup --find --show "$work/$1.img")
    dmsetup create --verifyudev "vmdkdm-test-$1" --table "0 $(($2 / 512)) linear $loop 0"
    echo "$loop" >"$work/$1.loop"
}
remove_device() {
    dmsetup remove --verifyudev "vmdkdm-test-$1"
    losetup --detach "$(<"$work/$1.loop")"
}
device target $((2 << 20))
target=/dev/mapper/vmdkdm-test-target

for image in aligned stream; do
    check "a device gets the whole disk, zeros too: $image"
    must compact --to-device "$images/$image.vmdk" "$target"
    printed "$target"
    says 'bytes more than the disk'
    cmp -n "$capacity" "$target" "$work/expected/$image" || fail "$image: other bytes"
    # Behind the disk nothing was touched.
    [ "$(tail -c 512 "$target")" = "$(printf 'x%.0s' {1..512})" ] || fail 'the end of the device was written'
done

check 'a device that is too small is refused'
device small $((512 << 10))
refuses 4 compact --to-device "$images/aligned.vmdk" /dev/mapper/vmdkdm-test-small
says 'too few'
remove_device small

check 'a device that something lies on is refused, with or without --force'
refuses 5 compact --to-device --force "$images/aligned.vmdk" "$(<"$work/target.loop")"
says "dm device 'vmdkdm-test-target'"

check 'a file system is not overwritten without --force'
mke2fs -q -t ext2 "$target"
refuses 4 compact --to-device "$images/aligned.vmdk" "$target"
says 'holds ext2 (see --force)'
mount "$target" "$work/mnt"
refuses 5 compact --to-device --force "$images/aligned.vmdk" "$target"
says "mounted at '$work/mnt'"
umount "$work/mnt"
must compact --to-device --force "$images/aligned.vmdk" "$target"
cmp -n "$capacity" "$target" "$work/expected/aligned" || fail 'other bytes'

check 'a file of the image itself is refused, also below a loop device'
own=$(losetup --find --show "$images/aligned.vmdk")
refuses 4 compact --to-device --force "$images/aligned.vmdk" "$own"
says 'is a file of the image itself'
losetup --detach "$own"

check 'a device that a file of the image lies on is refused'
printf 'version=1\nRW 2048 FLAT "%s" 0\n' "$target" >"$work/on-device.vmdk"
refuses 4 compact --to-device --force --allow-devices "$work/on-device.vmdk" "$target"
refuses 4 compact --to-device --force --allow-devices "$work/on-device.vmdk" "$(<"$work/target.loop")"
says 'a file of the image lies on'

check 'a device is not taken for a file'
refuses 4 compact --force "$images/aligned.vmdk" "$target"
says '(see --to-device)'
remove_device target

conclude
