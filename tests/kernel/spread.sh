#!/usr/bin/env bash
# A large file is read through several loop devices: every byte is in its place, also where one loop device ends and
# the next goes on, and all of them go with the disk. What is read through the page cache is read ahead far.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$here/stage.sh"
start cp grep mke2fs mount tail truncate umount

mib=64
mkdir "$images/spread" "$work/expected"
file=$images/spread/spread-flat.vmdk
"$python" - "$file" $mib <<'END'
import random
import sys

piece = random.Random(7).randbytes(1 << 20)
with open(sys.argv[1], "wb") as out:
    for number in range(int(sys.argv[2])):
        out.write(number.to_bytes(8, "little") + piece[8:])
END
# The extent begins at the file's second sector, so that no stretch of the file begins where one of the disk would.
write_descriptor() {
    printf 'version=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="custom"\nRW %d FLAT "spread-flat.vmdk" 1\n' \
        $((mib * 2048 - 1)) >"$1/vmdkdm-test-spread.vmdk"
}
write_descriptor "$images/spread"
image=$images/spread/vmdkdm-test-spread.vmdk
expected=$work/expected/spread
tail -c +513 -- "$file" >"$expected"
remember_images
device=/dev/mapper/vmdkdm-test-spread

# expect_loops COUNT FILE
expect_loops() {
    must list --json
    json_holds "$work/out" "[l['file'] for l in d[0]['lowers']] == ['$2'] * $1"
}

check 'three loop devices over one file show its bytes'
must attach "$image"
printed "$device"
expect_loops 3 "$file"
same_bytes "$device" "$expected"
dd if="$device" of="$work/read" bs=1M iflag=direct status=none
same_bytes "$work/read" "$expected"

check 'the disk is read ahead by 1 MiB'
[ "$(blockdev --getra "$device")" -eq 2048 ] || fail "it is $(blockdev --getra "$device") sectors"

check 'a file that is cut short is told of once'
cp -r "$images/spread" "$work/copy"
must attach --name vmdkdm-test-cut "$work/copy/vmdkdm-test-spread.vmdk"
truncate -s $((40 << 20)) "$work/copy/spread-flat.vmdk"
must list
[ "$(grep -c 'has been cut short' "$work/err")" -eq 1 ] || fail 'not told once'
must detach vmdkdm-test-cut
rm -r "$work/copy"

must detach vmdkdm-test-spread
nothing_left 'a disk on three loop devices'

check 'in place there is one'
must attach --in-place "$image"
expect_loops 1 "$file"
must detach vmdkdm-test-spread

check 'and with direct I/O'
make_stage 96
mkdir "$work/stage/spread"
cp "$file" "$work/stage/spread/"
write_descriptor "$work/stage/spread"
must attach "$work/stage/spread/vmdkdm-test-spread.vmdk"
expect_loops 1 "$work/stage/spread/spread-flat.vmdk"
same_bytes "$device" "$expected"
must detach vmdkdm-test-spread
nothing_left 'a disk with direct I/O'
remove_stage
conclude
