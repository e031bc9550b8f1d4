#!/usr/bin/env bash
# mount and umount: which file system is taken, with which options; clean and dirty ones; several at once; nothing is
# left of what fails, is killed or is unmounted, by us or by others; and the images never change.
set -eu
. "$(dirname -- "$0")/lib.sh"
start mke2fs mkfs.xfs mkfs.vfat mkfs.ntfs mount.ntfs-3g ntfsfix mount umount strace stat
raw=$work/raw
mkdir "$raw" "$work/made" "$work/a" "$work/b" "$work/c"

declare -A image
mount_image() {
    run_script mount_images.py "$images/$1" "$@"
    image[$1]=$images/$1/vmdkdm-test-$1.vmdk
}

# copy_in_use FILE COPY: the file system in FILE as a power cut would leave it, with "new" written last.
copy_in_use() {
    cp "$1" "$2.used"
    mount -o loop "$2.used" "$work/made"
    echo 'written last' >"$work/made/new"
    sync -f "$work/made"
    cp "$2.used" "$2"
    umount "$work/made"
    rm "$2.used"
}

mkdir -p "$raw/tree/inner"
echo 'hello from the root' >"$raw/tree/hello"
mke2fs -q -F -t ext4 -L root -U 11111111-2222-3333-4444-555555555555 -d "$raw/tree" "$raw/ext4" 8M
copy_in_use "$raw/ext4" "$raw/dirty-ext4"
truncate -s 4M "$raw/vfat"
mkfs.vfat -n ESP "$raw/vfat" >"$work/mkfs"
truncate -s 32M "$raw/xfs"
mkfs.xfs -q --unsupported "$raw/xfs"
copy_in_use "$raw/xfs" "$raw/dirty-xfs"
truncate -s 1M "$raw/nothing"
truncate -s 4M "$raw/ntfs"
mkfs.ntfs -q -F -Q -p 0 -S 0 -H 0 "$raw/ntfs" >"$work/mkfs" 2>&1
cp "$raw/ntfs" "$raw/dirty-ntfs"
ntfsfix "$raw/dirty-ntfs" >"$work/mkfs"
cp "$raw/ntfs" "$raw/hibernated"
mount -t ntfs-3g -o loop "$raw/hibernated" "$work/made" 2>"$work/mkfs" || missing 'no FUSE in this kernel'
printf hibr >"$work/made/hiberfil.sys"
umount "$work/made"

mount_image two "$raw/vfat" c "$raw/ext4" 83 "$raw/nothing" 83
mount_image whole "$raw/ext4"
mount_image dirty "$raw/dirty-ext4"
mount_image xfs "$raw/xfs"
mount_image clone1 "$raw/dirty-xfs"
mount_image clone2 "$raw/dirty-xfs"
mount_image empty "$raw/nothing"
mount_image ntfs "$raw/ntfs"
mount_image dirty-ntfs "$raw/dirty-ntfs"
mount_image hibernated "$raw/hibernated"
remember_images

options_of() { # DIR
    local point options
    while read -r _ point _ options _; do
        [ "$point" != "$1" ] || echo "$options"
    done </proc/mounts
}
has_options() { # DIR OPTION...
    local option options
    options=,$(options_of "$1"),
    for option in "${@:2}"; do
        [[ $options == *,$option,* ]] || fail "$1 is not mounted with $option but with $options"
    done
}
is_gone_from_kernel() { [[ $(dmsetup ls) != *"$1"* ]]; }
is_mounted() { [[ $(</proc/mounts) == *" $1 "* ]]; }
is_unmounted() { ! is_mounted "$1" || fail "$1 is still mounted"; }

check 'a whole disk: safe options, the file is there, umount leaves nothing'
must mount "${image[whole]}" "$work/a"
printed "/dev/mapper/vmdkdm-test-whole on $work/a (ext4, ro,nosuid,nodev,noexec,noatime)"
is_silent
[ "$(<"$work/a/hello")" = 'hello from the root' ] || fail 'the file cannot be read'
has_options "$work/a" ro nosuid nodev noexec noatime
must umount "$work/a"
is_silent
is_unmounted "$work/a"
nothing_left 'umount'

check 'a plain umount undoes everything as well'
must mount "${image[whole]}" "$work/a"
umount "$work/a"
dmsetup mknodes
nothing_left 'a plain umount'

check 'one of several: by number, label and UUID; the other partitions are not kept'
for volume in 2 LABEL=root UUID=11111111-2222-3333-4444-555555555555 vmdkdm-test-two2; do
    must mount "${image[two]}:$volume" "$work/a"
    [ "$(<"$work/a/hello")" = 'hello from the root' ] || fail "$volume is not the file system"
    is_gone vmdkdm-test-two1
    must umount "$work/a"
    nothing_left "umount of $volume"
done

check 'several and none chosen: refused with a list; so are what is none, and what is not there'
refuses 4 mount "${image[two]}" "$work/a"
says "${image[two]}:1  vfat 'ESP', 4.0 MiB"
says "${image[two]}:2  ext4 'root', 8.0 MiB"
nothing_left 'a refused choice'
refuses 4 mount "${image[two]}:3" "$work/a"
says "'3' holds nothing that is known"
refuses 6 mount "${image[two]}:7" "$work/a"
refuses 6 mount "${image[empty]}" "$work/a"
refuses 6 mount "${image[two]}:LABEL=none" "$work/a"
nothing_left 'refused volumes'

check 'wrong command lines'
refuses 2 mount "${image[whole]}"
refuses 6 mount "$images/none.vmdk:1" "$work/a"
refuses 2 mount "${image[whole]}:" "$work/a"
refuses 6 mount "${image[whole]}" "$work/none"
says "there is no directory '$work/none' to mount on"
refuses 2 mount "${image[whole]}" "$work/mkfs"
refuses 2 mount "${image[two]}:1" "$work/a" "${image[two]}:2" "$work/./a"
says 'is named twice'
refuses 2 mount -o rw "${image[whole]}" "$work/a"
refuses 2 mount -o remount "${image[whole]}" "$work/a"
refuses 2 mount --rw "${image[whole]}" "$work/a"
refuses 2 mount --in-place "${image[whole]}" "$work/a"
refuses 2 mount --owner nobody-here "${image[whole]}" "$work/a"
refuses 2 mount --mode 9 "${image[whole]}" "$work/a"
refuses 4 mount --owner 1000 "${image[whole]}" "$work/a"
says '--owner: the files of ext4 have owners of their own'
refuses 1 mount -t nosuchfs "${image[whole]}" "$work/a"
says "this kernel has no driver 'nosuchfs'"
refuses 1 mount -t vfat "${image[whole]}" "$work/a"
refuses 6 umount "$work/a"
says 'nothing is mounted'
refuses 4 umount /proc
says "lies on no disk of vmdk-dm's"
nothing_left 'refused commands'

check 'options of the user come last'
must mount -o exec,suid -o atime "${image[whole]}" "$work/a"
has_options "$work/a" ro nodev
[[ ,$(options_of "$work/a"), != *,no[esa][xut]* ]] || fail "options are not passed on: $(options_of "$work/a")"
must umount "$work/a"

check 'owner and mode, where the file system has none'
must mount --owner 1234:4321 --mode 640 "${image[two]}:1" "$work/a"
has_options "$work/a" uid=1234 gid=4321 fmask=0137 dmask=0027
[ "$(stat -c '%u %g %a' "$work/a")" = '1234 4321 750' ] || fail 'the directory has another owner or mode'
must umount vmdkdm-test-two
nothing_left 'umount by name'

check 'ext4 that was in use: mounted without its journal, and said so'
must mount "${image[dirty]}" "$work/a"
says "note: '${image[dirty]}' (ext4) was not cleanly unmounted: its journal was not replayed"
[ "$(<"$work/a/hello")" = 'hello from the root' ] || fail 'the old file cannot be read'
must umount "${image[dirty]}"
nothing_left 'umount by image'

check 'xfs, clean'
must mount "${image[xfs]}" "$work/a"
is_silent
must umount "$work/a"
check 'two clones of an xfs that was in use, side by side'
must mount --json "${image[clone1]}" "$work/a" "${image[clone2]}" "$work/b"
json_holds "$work/out" 'len(d) == 2' "d[0]['directory'] == '$work/a'" "d[1]['type'] == 'xfs'" \
    "d[0]['options'] == 'ro,nosuid,nodev,noexec,noatime,nouuid,norecovery'" "d[1]['unclean'] is not None" \
    "d[1]['device'] == '/dev/mapper/vmdkdm-test-clone2'" "d[0]['driver'] == 'xfs'" "d[0]['volume'].endswith('clone1.vmdk')"
must umount --json "$work/a" "$work/b"
json_holds "$work/out" "[m['directory'] for m in d] == ['$work/b', '$work/a']"
nothing_left 'two clones'

check 'ntfs by ntfs-3g: clean, dirty and hibernated'
must mount --owner 1234:4321 --mode 600 "${image[ntfs]}" "$work/a"
is_silent
has_options "$work/a" ro nosuid nodev noexec
[ "$(stat -c '%u %g %a' "$work/a")" = '1234 4321 700' ] || fail 'the directory has another owner or mode'
[ "$(grep -c -e '^Sig\(Blk\):.*[^0]$' "/proc/$(pidof mount.ntfs-3g)/status")" = 0 ] ||
    fail 'mount.ntfs-3g has signals blocked'
must umount "$work/a"
nothing_left 'umount of an ntfs'
must mount "${image[dirty-ntfs]}" "$work/a" "${image[hibernated]}" "$work/b"
says "'${image[dirty-ntfs]}' (ntfs) was not cleanly unmounted: its volume is marked as dirty"
says "'${image[hibernated]}' (ntfs) was not cleanly unmounted: its Windows is hibernated"
umount "$work/b"
must umount "$work/a"
wait_until 60 is_gone_from_kernel vmdkdm-test-hibernated || fail 'the other is still there'
dmsetup mknodes
nothing_left 'umount of two ntfs'

check 'one inside another, two of one image; umount of the outer takes the inner along'
must mount "${image[two]}:2" "$work/a" "${image[xfs]}" "$work/a/inner" "${image[two]}:1" "$work/b"
must list --json
json_holds "$work/out" "[p['mounts'] for p in d[0]['partitions']] == [['$work/b'], ['$work/a']]" \
    "d[1]['mounts'] == ['$work/a/inner']" "d[0]['deferredRemove']"
must umount "$work/a"
is_unmounted "$work/a/inner"
is_mounted "$work/b" || fail 'the other partition was unmounted too'
is_device vmdkdm-test-two1
must umount "$work/b"
nothing_left 'nested mounts'

check 'another partition of an image that is mounted'
must mount "${image[two]}:2" "$work/a"
must mount "${image[two]}:1" "$work/b"
must umount "$work/a"
is_device vmdkdm-test-two1
must umount "$work/b"
nothing_left 'mounts one after the other'

check 'on a directory that has one already'
must mount "${image[two]}:2" "$work/a"
refuses 5 mount "${image[whole]}" "$work/a"
says 'is mounted already'
must umount "$work/a"

check 'a failure in the second or last of three leaves nothing'
refuses 4 mount "${image[whole]}" "$work/a" "${image[two]}" "$work/b" "${image[xfs]}" "$work/c"
nothing_left 'a failure in the second'
refuses 6 mount "${image[whole]}" "$work/a" "${image[xfs]}" "$work/b" "${image[two]}:2" "$work/a/none"
nothing_left 'a failure in the third'

check 'a disk that was attached before stays, and so do its partitions'
must attach --no-partitions "${image[two]}"
must mount "${image[two]}:2" "$work/a"
is_device vmdkdm-test-two2
must umount "$work/a"
is_gone vmdkdm-test-two2
is_device vmdkdm-test-two
must detach vmdkdm-test-two
must attach "${image[two]}"
must mount "${image[two]}:2" "$work/a"
refuses 5 detach vmdkdm-test-two
must umount "$work/a"
is_device vmdkdm-test-two1
is_device vmdkdm-test-two2
must detach vmdkdm-test-two
nothing_left 'an attached disk'

check 'busy: who uses it is named, and nothing is undone'
must mount "${image[whole]}" "$work/a"
exec {reader}<"$work/a/hello"
refuses 5 umount "$work/a"
says "cannot unmount '$work/a': it is in use by process $$ (bash)"
is_mounted "$work/a" || fail 'it was unmounted'
exec {reader}<&-
must mount "${image[two]}:2" "$work/a/inner"
mount -t tmpfs none "$work/a/inner/inner"
refuses 5 umount "$work/a"
says "a mount at '$work/a/inner/inner'"
umount "$work/a/inner/inner"
must umount "$work/a"
nothing_left 'busy mounts'

check 'in place: written into the image, and gone after umount'
cp "$raw/ext4" "$raw/writable"
run_script mount_images.py "$work/writable" rw "$raw/writable"
must mount --rw --in-place "$work/writable/vmdkdm-test-rw.vmdk" "$work/a"
has_options "$work/a" rw nosuid nodev noexec
echo changed >"$work/a/hello"
must umount "$work/a"
must mount "$work/writable/vmdkdm-test-rw.vmdk" "$work/a"
[ "$(<"$work/a/hello")" = changed ] || fail 'what was written is not there'
must umount "$work/a"
nothing_left 'a mount in place'

check '--scratch: the journal is replayed in memory, the image stays as it is, the changes are forgotten'
must mount --scratch "${image[dirty]}" "$work/a"
is_silent
[ "$(<"$work/a/new")" = 'written last' ] || fail 'the journal was not replayed'
has_options "$work/a" ro
must umount "$work/a"
nothing_left 'a scratch mount'
must mount --scratch=8M --rw "${image[clone1]}" "$work/a" "${image[whole]}" "$work/b"
has_options "$work/a" rw nosuid nodev noexec
[ "$(<"$work/a/new")" = 'written last' ] || fail 'the journal was not replayed'
echo changed >"$work/a/new"
echo changed >"$work/b/hello"
must umount "$work/a" "$work/b"
must mount "${image[whole]}" "$work/b"
[ "$(<"$work/b/hello")" = 'hello from the root' ] || fail 'the changes were not forgotten'
refuses 5 mount --scratch "${image[whole]}" "$work/a"
says 'an overlay comes too late'
must umount "$work/b"
nothing_left 'writable scratch mounts'

check '--overlay: what is written is there the next time; a file that was made goes with a failure'
must mount --rw --overlay "$work/overlay" "${image[whole]}" "$work/a"
echo changed >"$work/a/hello"
umount "$work/a"
wait_until 60 is_gone_from_kernel vmdkdm-test-whole || fail 'the disk is still there'
dmsetup mknodes
nothing_left 'an overlay mount'
must mount --overlay "$work/overlay" "${image[whole]}" "$work/a"
[ "$(<"$work/a/hello")" = changed ] || fail 'the changes are not there'
must umount "$work/a"
refuses 4 mount --rw --overlay "$work/new-overlay" "${image[two]}" "$work/a"
[ ! -e "$work/new-overlay" ] || fail 'the new overlay was left'
must attach --overlay "$work/overlay" "${image[whole]}"
must mount --rw "${image[whole]}" "$work/a"
must umount "$work/a"
must detach vmdkdm-test-whole
nothing_left 'overlays'

# kill_each SIGNAL CALL NEEDED [STEP]: the signal comes with the first such call of a mount of two, the second, ...
kill_options=()
kill_each() {
    local number=1
    while :; do
        status=0
        { strace -o "$work/strace" -e "trace=$2" -e "inject=$2:signal=$1:when=$number" "$vmdk_dm" mount \
            "${kill_options[@]}" "${image[two]}:2" "$work/a" "${image[whole]}" "$work/a/inner" >"$work/out" 2>"$work/err" ||
            status=$?; } 2>/dev/null
        if [ "$status" -eq 0 ]; then
            must umount "$work/a"
            nothing_left "a mount with $1 at $2 $number that went well"
            [[ $(<"$work/strace") == *"--- $1"* ]] || break
        else
            [ ! -s "$work/out" ] || fail "$1 at $2 $number: stdout says that it is mounted, and it is not"
            wait_until 60 is_unmounted_quietly "$work/a" || fail "$1 at $2 $number: it is still mounted"
            nothing_left "$1 at $2 $number"
        fi
        number=$((number + ${4:-1}))
    done
    printf '  %d times %s\n' $((number - 1)) "$2"
    [ "$number" -gt "$3" ] || fail "a mount with only $number times $2"
}
is_unmounted_quietly() { ! is_mounted "$1"; }

check 'SIGKILL at each mount and each fourth ioctl'
kill_each SIGKILL mount 2
kill_each SIGKILL ioctl 30 4
check 'SIGTERM at each mount'
kill_each SIGTERM mount 2
check 'SIGKILL at each ninth ioctl with a scratch overlay'
kill_options=(--scratch=8M)
kill_each SIGKILL ioctl 40 9
must mount "${image[two]}:2" "$work/a" "${image[whole]}" "$work/a/inner"
must umount "$work/a"
conclude
