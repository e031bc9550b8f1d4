#!/usr/bin/env bash
# Detach: by name, path and image, one, several, all; a disk in use is left as it is and its user is named; what is
# deferred finishes by itself; and attach refuses what is attached already.
set -eu
. "$(dirname -- "$0")/lib.sh"
start mke2fs mkswap mount swapoff swapon umount unshare
make_images disks 3 2
make_grain_images inner
remember_images
mount_point=$work/mnt
mkdir "$mount_point"

descriptor_of() { echo "$images/$1/vmdkdm-test-$1.vmdk"; }
one=$(descriptor_of disk1) two=$(descriptor_of disk2) three=$(descriptor_of disk3)
disk=/dev/mapper/vmdkdm-test-disk

# stays COMMAND...: it fails with 5, and the kernel is as before, by name, table and open files alike.
stays() {
    local before tables
    kernel_state
    before=$state tables=$(dmsetup table)
    refuses 5 "$@"
    kernel_state
    [ "$state $(dmsetup table)" = "$before $tables" ] || fail "a failed detach has changed something: $*"
}

check 'what is not attached: status 6'
refuses 6 detach vmdkdm-test-nothing
says "'vmdkdm-test-nothing' is not attached (see vmdk-dm list)"
refuses 6 detach "$one"
refuses 6 detach "$work/no such image.vmdk"
check 'detach wants a name or --all, not both: status 2'
refuses 2 detach
refuses 2 detach --all vmdkdm-test-disk1
check '--all with nothing attached'
must detach --all

check 'one by its name, one by its path, one by its image; the others stay'
must attach "$one"
must attach "$two"
must attach "$three"
must detach vmdkdm-test-disk2
is_gone vmdkdm-test-disk2
is_gone vmdkdm-test-disk2p1
same_bytes "${disk}1" "$work/expected/disk1"
same_bytes "${disk}3" "$work/expected/disk3"
must detach "${disk}3"
is_gone vmdkdm-test-disk3
is_device vmdkdm-test-disk1p2
must detach "$one"
nothing_left 'detach of each'

check 'by an image path that is relative, and through a symlink'
must attach "$one"
ln -s "$one" "$work/link.vmdk"
must detach "$work/link.vmdk"
must attach "$work/link.vmdk" --name vmdkdm-test-link
(cd "$images/disk1" && must detach vmdkdm-test-disk1.vmdk)
nothing_left 'detach by relative path'

check 'several; --json'
must attach "$one"
must attach "$two"
must attach "$three"
must detach --json vmdkdm-test-disk1 "$two" "${disk}1"
json_holds "$work/out" '[e["name"] for e in d] == ["vmdkdm-test-disk1", "vmdkdm-test-disk2"]' \
    'not any(e["deferred"] for e in d)'
is_device vmdkdm-test-disk3
check 'one of them unknown: status 6, nothing is detached'
must attach "$one"
refuses 6 detach vmdkdm-test-disk1 vmdkdm-test-nothing
is_device vmdkdm-test-disk1
must detach --all
nothing_left 'detach --all'

check 'a second attach is refused and names the device'
must attach "$one"
stays attach "$one"
says 'it is attached already, as /dev/mapper/vmdkdm-test-disk1'
stays attach --name vmdkdm-test-again "$one"
says 'it is attached already, as /dev/mapper/vmdkdm-test-disk1'
check 'a name that is taken: suggests --name'
stays attach --name vmdkdm-test-disk1 "$two"
says "the device name 'vmdkdm-test-disk1' is taken (choose another with --name)"
check 'a partition name that is taken: nothing is left of the attach'
dmsetup create vmdkdm-test-disk2p2 --table '0 8 zero'
stays attach "$two"
says 'vmdkdm-test-disk2p2'
dmsetup remove vmdkdm-test-disk2p2

check 'a mounted partition: named with its mount point, nothing is removed'
mount -o ro "${disk}1p1" "$mount_point"
# What does not wait takes as long as any other command does here.
before=$(now_ms)
must list
patience=$((3000 + 2 * ($(now_ms) - before)))
before=$(now_ms)
stays detach vmdkdm-test-disk1
says "/dev/mapper/vmdkdm-test-disk1p1 is in use: mounted at '$mount_point'"
says '(see --deferred)'
[ $(($(now_ms) - before)) -lt "$patience" ] || fail 'it waited for a mount, which does not go by itself'
check '--all detaches the others, and fails'
must attach "$two"
refuses 5 detach --all
says "mounted at '$mount_point'"
is_gone vmdkdm-test-disk2
is_device vmdkdm-test-disk1p2

check '--deferred: goes after the umount, loops too'
must detach --deferred vmdkdm-test-disk1
[ "$(<"$mount_point/hello.txt")" = 'hello from inside the image' ] || fail 'the mount does not work any more'
must list --json
json_holds "$work/out" 'd[0]["deferredRemove"] is True'
umount "$mount_point"
nothing_left 'the umount of a deferred detach'
check '--deferred of what is not in use: goes at once'
must attach "$one"
must detach --deferred vmdkdm-test-disk1
nothing_left 'a deferred detach'
must attach "$one"

check 'a device on top of a partition is named'
dmsetup create vmdkdm-test-top --readonly --table "0 100 linear ${disk}1p2 0"
stays detach vmdkdm-test-disk1
says "/dev/mapper/vmdkdm-test-disk1p2 is in use: dm device 'vmdkdm-test-top'"
dmsetup remove vmdkdm-test-top
check 'a device on top of the disk is named'
dmsetup create vmdkdm-test-top --readonly --table "0 100 linear ${disk}1 0"
stays detach vmdkdm-test-disk1
says "/dev/mapper/vmdkdm-test-disk1 is in use: dm device 'vmdkdm-test-top'"
dmsetup remove vmdkdm-test-top

check 'a process that has it open is named, after some patience'
exec {reader}<"${disk}1p2"
before=$(now_ms)
stays detach vmdkdm-test-disk1
says "/dev/mapper/vmdkdm-test-disk1p2 is in use: process $$ (bash)"
[ $(($(now_ms) - before)) -ge 3000 ] || fail 'it had no patience'
check 'a process that closes it in time is waited for'
(exec {reader}<&- && exec "$vmdk_dm" detach vmdkdm-test-disk1 2>"$work/err") &
detacher=$!
# Each pause between two tries is a voluntary switch.
has_tried_often() {
    local key value
    while read -r key value; do
        [ "$key" != voluntary_ctxt_switches: ] || [ "$value" -lt 10 ] || return 0
    done <"/proc/$detacher/status"
    return 1
}
wait_until 60 has_tried_often || fail 'detach does not wait'
is_device vmdkdm-test-disk1p2
exec {reader}<&-
wait "$detacher" || fail "detach failed although the process went: $(<"$work/err")"
nothing_left 'detach that waited'

check 'one in use does not keep the others'
must attach "$one"
must attach "$two"
mount -o ro "${disk}1p1" "$mount_point"
refuses 5 detach vmdkdm-test-disk1 vmdkdm-test-disk2
is_gone vmdkdm-test-disk2
umount "$mount_point"
must detach vmdkdm-test-disk1
nothing_left 'detach of the rest'
images_unchanged

check 'swap space is named'
cp -R "$images/disk3" "$work/swap"
must attach --in-place --no-partitions "$work/swap/vmdkdm-test-disk3.vmdk"
mkswap "${disk}3" >"$work/mkswap" 2>&1
swapon "${disk}3"
stays detach vmdkdm-test-disk3
says '/dev/mapper/vmdkdm-test-disk3 is in use: swap space'
swapoff "${disk}3"
must detach vmdkdm-test-disk3

check 'a lazy umount leaves a user that cannot be named: still in use'
must attach "$one"
mount -o ro "${disk}1p1" "$mount_point"
exec {reader}<"$mount_point/hello.txt"
umount --lazy "$mount_point"
stays detach vmdkdm-test-disk1
says '/dev/mapper/vmdkdm-test-disk1p1 is in use: '
exec {reader}<&-
must detach vmdkdm-test-disk1

check 'a mount in another mount namespace is found'
must attach "$one"
exec {answers}<> <(:)
exec {other_in}> >(exec unshare --mount --propagation private bash -c \
    "mount -o ro ${disk}1p1 $mount_point && echo mounted && read -r _" >&"$answers")
other=$!
read -r -t 60 answer <&"$answers" || fail 'the other namespace does not answer'
[ "$answer" = mounted ] || fail "the other namespace says: $answer"
stays detach vmdkdm-test-disk1
says "mounted at '$mount_point' in the mount namespace of process"
echo >&"$other_in"
wait "$other"
exec {other_in}>&- {answers}>&-
must detach vmdkdm-test-disk1

# ---- Devices below the disk

inner=$(descriptor_of inner) below=/dev/mapper/vmdkdm-test-inner
attach_inner() {
    must attach --strategy exceptions "$inner"
    printed "$below" "${below}1"
}
# mapped NAME...: exactly these devices are there, with or without nodes: those of a deferred detach go at once where no
# udevd takes them away later.
mapped() {
    local name names=()
    while read -r name _; do names+=("$name"); done < <(dmsetup ls)
    [ "$(printf '%s\n' "${names[@]}" | sort)" = "$(printf '%s\n' "$@" | sort)" ] || fail "mapped are ${names[*]}"
}
check 'inner devices: list shows them, and which file is the exception store'
attach_inner
must list --json
json_holds "$work/out" 'len(d) == 1' "d[0]['image'] == '$inner'" "d[0]['disk'] == '$below'" \
    "sorted(e['path'] for e in d[0]['inner']) == ['$below-cow', '$below-grains', '$below-origin', '$below-pages']" \
    "d[0]['inner'][0]['path'] == '$below-grains'" 'len({e["device"] for e in d[0]["inner"]}) == 4' \
    'sorted(e["exceptionStore"] for e in d[0]["lowers"]) == [False, False, True]' \
    'all(e["file"].startswith("/run/vmdk-dm/") == e["exceptionStore"] for e in d[0]["lowers"])'
must list
[[ $(<"$work/out") == *vmdkdm-test-inner1* ]] || fail 'list does not show the partition'
[[ $(<"$work/out") != *vmdkdm-test-inner-* ]] || fail 'list shows an inner device as a disk'

check 'inner devices: somebody on the disk, or on one of them: named, and all stay'
for layer in '' -grains -origin -cow -pages; do
    dmsetup create vmdkdm-test-top --readonly --table "0 8 linear $below$layer 0"
    stays detach vmdkdm-test-inner
    says "$below$layer is in use: dm device 'vmdkdm-test-top' (see --deferred)"
    dmsetup remove vmdkdm-test-top
done
exec {reader}<"$below-origin"
stays detach vmdkdm-test-inner
says "$below-origin is in use: process $$ (bash)"
same_bytes "$below" "$work/expected/inner"

check 'inner devices: --deferred while one of them is open: the rest goes, that one with its last user'
must detach --deferred vmdkdm-test-inner
# It lies on another.
mapped vmdkdm-test-inner-origin vmdkdm-test-inner-pages
must list --json
json_holds "$work/out" 'len(d) == 1' 'd[0]["name"] == "vmdkdm-test-inner-origin"' 'd[0]["deferredRemove"] is True' \
    '[e["path"] for e in d[0]["inner"]] == ["/dev/mapper/vmdkdm-test-inner-pages"] and d[0]["partitions"] == []' "d[0]['image'] == '$inner'"
refuses 5 attach "$inner"
says 'it is attached already, as /dev/mapper/vmdkdm-test-inner-origin'
exec {reader}<&-
nothing_left 'a deferred detach with an inner device open'

check 'inner devices: --deferred while the partition is open: all are there until it is closed'
attach_inner
exec {reader}<"${below}1"
must detach --deferred vmdkdm-test-inner
mapped vmdkdm-test-inner{,1,-grains,-origin,-cow,-pages}
dd if="$work/expected/inner" of="$work/slice" bs=512 skip=64 count=2048 status=none
cmp "/proc/self/fd/$reader" "$work/slice" >"$work/cmp" 2>&1 || fail "the open partition: $(<"$work/cmp")"
exec {reader}<&-
nothing_left 'a deferred detach of a disk with inner devices'

check 'inner devices: the disk was removed by hand: what is left is listed, and goes by its name or its image'
must attach --strategy exceptions --no-partitions "$inner"
dmsetup remove --verifyudev vmdkdm-test-inner
must list --json
json_holds "$work/out" 'len(d) == 1' 'd[0]["name"] == "vmdkdm-test-inner-grains"' "d[0]['image'] == '$inner'" \
    "sorted(e['path'] for e in d[0]['inner']) == ['$below-cow', '$below-origin', '$below-pages']" 'len(d[0]["lowers"]) == 3'
must detach vmdkdm-test-inner-grains
nothing_left 'detach of what was left'
must attach --strategy exceptions --no-partitions "$inner"
dmsetup remove --verifyudev vmdkdm-test-inner
dmsetup remove --verifyudev vmdkdm-test-inner-grains
exec {reader}<"$below-cow"
stays detach "$inner"
says "$below-cow is in use: process $$ (bash)"
refuses 5 attach "$inner"
says 'it is attached already, as /dev/mapper/vmdkdm-test-inner-'
exec {reader}<&-
must detach "$inner"
nothing_left 'detach of origin and COW device'
check 'inner devices: the disk was removed by hand: the next attach removes what is left'
must attach --strategy exceptions --no-partitions "$inner"
dmsetup remove --verifyudev vmdkdm-test-inner
must attach --strategy exceptions --no-partitions "$inner"
same_bytes /dev/mapper/vmdkdm-test-inner "$work/expected/inner"
must detach "$inner"
nothing_left 'detach of what was attached over what was left'
must attach --strategy exceptions --no-partitions "$inner"
dmsetup remove --verifyudev vmdkdm-test-inner
must detach --all
nothing_left 'detach --all of what was left'
conclude
