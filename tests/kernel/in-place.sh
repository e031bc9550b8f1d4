#!/usr/bin/env bash
# --in-place: a write lands in the right file at the right place and nowhere else; and it is refused whenever
# somebody else writes the files, or part of the disk cannot be written.
set -eu
. "$(dirname -- "$0")/lib.sh"
start cp
make_images in_place

descriptor_of() { echo "$images/$1/vmdkdm-test-$1.vmdk"; }
rw=$(descriptor_of rw)
file=$images/rw/a.bin
disk=/dev/mapper/vmdkdm-test-rw

# write_text FILE SECTOR TEXT: one sector that begins with the text.
write_text() {
    printf '%s' "$3" >"$work/sector"
    dd if="$work/sector" of="$1" bs=512 seek="$2" conv=notrunc,sync,fsync status=none
}

# refused STATUS MESSAGE-PART...: the attach is refused, and nothing changes.
refused() {
    local text
    refuses "$1" attach --in-place "$rw"
    for text in "${@:2}"; do says "$text"; done
}

check 'writes to the disk and a partition land in the files'
cp -R "$images/rw" "$work/should"
must attach --in-place "$rw"
printed "$disk" "${disk}1"
is_silent
same_bytes "$disk" "$work/expected/rw"
for device in "$disk" "${disk}1"; do
    [ "$(blockdev --getro "$device")" = 0 ] || fail "$device is read-only"
done
must list --json
json_holds "$work/out" 'd[0]["readOnly"] is False' 'not any(l["readOnly"] for l in d[0]["lowers"])'
should=$work/should
# Sector 1000 of the disk is in a.bin behind its first 16 sectors; the partition starts at 2048; b.bin holds the
# disk from sector 3000 on, behind its first 5.
write_text "$disk" 1000 'on the disk'
write_text "$should/a.bin" $((16 + 1000)) 'on the disk'
write_text "${disk}1" 0 'on the partition'
write_text "$should/a.bin" $((16 + 2048)) 'on the partition'
write_text "$disk" 2999 'last of a'
write_text "$should/a.bin" $((16 + 2999)) 'last of a'
write_text "$disk" 3000 'first of b'
write_text "$should/b.bin" 5 'first of b'
write_text "${disk}1" 4095 'last of the partition'
write_text "$should/b.bin" $((5 + 2048 + 4095 - 3000)) 'last of the partition'
write_text "$disk" 8191 'last of the disk'
write_text "$should/b.bin" $((5 + 8191 - 3000)) 'last of the disk'
must detach vmdkdm-test-rw
for name in a.bin b.bin vmdkdm-test-rw.vmdk; do same_bytes "$images/rw/$name" "$should/$name"; done
nothing_left 'an in-place attach'

check 'a write across the border of two files'
must attach --in-place "$rw"
printf '%01024d' 7 >"$work/both"
dd if="$work/both" of="$disk" bs=1024 seek=$((2999 * 512)) oflag=direct,seek_bytes conv=notrunc status=none
dd if="$work/both" of="$should/a.bin" bs=512 count=1 seek=$((16 + 2999)) conv=notrunc status=none
dd if="$work/both" of="$should/b.bin" bs=512 skip=1 count=1 seek=5 conv=notrunc status=none
must detach vmdkdm-test-rw
for name in a.bin b.bin; do same_bytes "$images/rw/$name" "$should/$name"; done

remember_images

check 'refused for ZERO and RDONLY extents'
refuses 4 attach --in-place "$(descriptor_of zero)"
says 'purely flat image'
refuses 4 attach --in-place "$(descriptor_of rdonly)"
says 'is RDONLY'

check 'refused while a process has a file open for writing, even for appending; it is named'
exec {writer}>>"$file"
refused 5 "'$file' is open for writing by process $$ (bash)"
exec {writer}>&-
exec {writer}<>"$images/rw/b.bin"
refused 5 "'$images/rw/b.bin' is open for writing by process $$ (bash)"
check 'an ordinary attach does not mind the writer'
must attach "$rw"
must detach vmdkdm-test-rw
exec {writer}>&-

check 'a reader does not matter'
exec {reader}<"$file"
must attach --in-place "$rw"
must detach vmdkdm-test-rw
exec {reader}<&-

check 'refused while a process has mapped a file writable, its descriptor closed'
exec {answers}<> <(:)
exec {mapper_in}> >(exec "$python" -c '
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    mapping = mmap.mmap(file.fileno(), 4096)
print("mapped", flush=True)
sys.stdin.read()
' "$file" >&"$answers")
mapper=$!
read -r -t 60 answer <&"$answers" || fail 'the mapping process does not answer'
[ "$answer" = mapped ] || fail "the mapping process says: $answer"
refused 5 "'$file' is open for writing by process $mapper (python3"
exec {mapper_in}>&- {answers}>&-
wait "$mapper"

check 'refused while a writable loop device has a file'
loop=$(losetup --find --show "$file")
refused 5 "'$file' is open for writing by loop device $loop"
losetup --detach "$loop"
check 'a read-only loop device does not matter'
loop=$(losetup --find --show --read-only "$file")
must attach --in-place "$rw"
must detach vmdkdm-test-rw
losetup --detach "$loop"

check 'refused while another descriptor of the same files is attached in place'
must attach --in-place "$rw"
descriptor=$(<"$rw")
for name in a.bin b.bin; do descriptor=${descriptor/"$name"/"$images/rw/$name"}; done
printf '%s\n' "$descriptor" >"$work/copy.vmdk"
refuses 5 attach --in-place --allow-path "$images/rw" "$work/copy.vmdk"
says 'is open for writing by loop device /dev/loop'
must detach vmdkdm-test-rw

images_unchanged

check 'refused when a virtual machine has locked the descriptor or an extent'
for locked in "$rw" "$file"; do
    mkdir "$locked.lck"
    refused 5 "'$locked.lck' says that a virtual machine uses the disk"
    rmdir "$locked.lck"
done
remember_images # the locks came and went in their directories

check 'once they have all gone it is allowed again'
must attach --in-place "$rw"
must detach vmdkdm-test-rw

check 'warns of the parent and of children'
must attach --in-place "$(descriptor_of family)"
says 'note: the image is a snapshot of another: what is written stays in this layer'
says "note: 'child.vmdk' is a child of this image, and is damaged when this image is written"
[[ $(<"$work/err") != *stranger* ]] || fail 'it takes a stranger for a child'
must detach vmdkdm-test-family

check 'refused for NOACCESS extents'
refuses 4 attach --in-place "$(descriptor_of no-access)"
says 'purely flat image'
conclude
