#!/usr/bin/env bash
# Read-only is the default, three times over: file, loop device and mapped device each refuse a write.
set -eu
. "$(dirname -- "$0")/lib.sh"
start mke2fs mount strace umount
make_images disks 1
remember_images
image=$images/disk1/vmdkdm-test-disk1.vmdk
disk=/dev/mapper/vmdkdm-test-disk1
mount_point=$work/mnt
mkdir "$mount_point"

refuses_writes() {
    status=0
    dd if=/dev/zero of="$1" bs=512 count=1 conv=notrunc,fsync status=none 2>"$work/err" || status=$?
    [ "$status" -ne 0 ] || fail "$1 took a write"
    says 'Operation not permitted'
}

check 'the files are opened for reading only'
strace -f -o "$work/strace" -e trace=open,openat,openat2,creat,truncate,unlink,unlinkat,rename "$vmdk_dm" attach "$image" >"$work/out"
grep -F -e "$images" -e /proc/self/fd -e '-f00' "$work/strace" >"$work/opens" || fail 'no file is opened at all'
[ "$(grep -c . "$work/opens")" -ge 3 ] || fail 'fewer opens than files'
if grep -e O_RDWR -e O_WRONLY -e O_CREAT "$work/opens"; then fail 'a file is opened for writing'; fi

loops=$(loops_on "$images")
[ "$(wc -w <<<"$loops")" -eq 2 ] || fail "not two loops: $loops"
for device in $loops "$disk" "${disk}p1"; do
    check "${device##*/} is read-only, and stays so after blockdev --setrw"
    [ "$(blockdev --getro "$device")" = 1 ] || fail "blockdev says that $device is writable"
    refuses_writes "$device"
    blockdev --setrw "$device" 2>"$work/err" || true
    refuses_writes "$device"
done

check 'mount --rw fails, mount without options is read-only'
if mount --rw "${disk}p1" "$mount_point" 2>"$work/err"; then fail 'mounted for writing'; fi
mount "${disk}p1" "$mount_point" 2>"$work/err"
if (: >"$mount_point/new") 2>"$work/err"; then fail 'a file was made inside the image'; fi
says 'Read-only file system'
umount "$mount_point"

check 'a table cannot be swapped for a writable one'
dmsetup table "${disk##*/}" >"$work/table"
if dmsetup reload "${disk##*/}" "$work/table" 2>"$work/err"; then
    dmsetup resume "${disk##*/}"
    status=0
    dd if=/dev/zero of="$disk" bs=512 count=1 conv=notrunc,fsync status=none 2>"$work/err" || status=$?
    [ "$status" -ne 0 ] || fail 'a write went through the read-only loop'
fi
must detach --all
conclude
