#!/usr/bin/env bash
# Quarantine, with a real udevd, our rules and those of the distribution, LVM's and mdadm's among them: nobody looks into
# what is attached, a clone of the host's disk changes none of its links, and our own links are there when attach returns.
# Each check that nothing happens has its control: the same with --expose, or without our rules, where it does happen.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$(dirname -- "$0")/udevd.sh"
start mke2fs tune2fs udevadm pidof lvm mdadm cryptsetup mkswap mkfs.btrfs
/run/embedded/modprobe raid1
# LVM and mdadm are to know nothing of this machine, and to write nothing down on it.
mount -t tmpfs none /etc/lvm
udevadm=$(command -v udevadm)

# What a host looks for: the contents of the partitions of `clone`, and a physical volume without a partition table.
fill_images() (
    export DM_DISABLE_UDEV=1
    exec {never}>&-
    loop=$(losetup --find --show --partscan "$images/clone/clone-flat.vmdk")
    tune2fs -L vmdkdm-root "${loop}p1"
    make_volume_group "${loop}p2" vmdkdm-test
    mdadm --create /dev/md127 --run --level=1 --raid-devices=2 --metadata=1.2 --name=vmdkdm "${loop}p3" missing
    mdadm --stop /dev/md127
    echo secret | cryptsetup luksFormat --batch-mode --type luks1 --pbkdf-force-iterations 1000 "${loop}p4" -
    mkswap --label vmdkdm-swap "${loop}p5"
    mkfs.btrfs --mixed "${loop}p6"
    losetup --detach "$loop"
    loop=$(losetup --find --show "$images/pv/pv-flat.vmdk")
    make_volume_group "$loop" vmdkdm-pv
    losetup --detach "$loop"
)

# make_volume_group DEVICE NAME: with one logical volume, lv, that has not been active yet.
make_volume_group() {
    lvm pvcreate --devices "$1" "$1"
    lvm vgcreate --devices "$1" "$2" "$1"
    lvm lvcreate --devices "$1" --activate n --zero n --wipesignatures n --extents 1 --name lv "$2"
}

make_images quarantine
fill_images >"$work/fill" 2>&1 || { cat "$work/fill" && fail 'the images cannot be filled'; }
cp "$images/clone/clone-flat.vmdk" "$work/host.raw"
remember_images
clone=$images/clone/vmdkdm-test-clone.vmdk
two=$images/two/vmdkdm-test-two.vmdk
whole=$images/whole/vmdkdm-test-whole.vmdk
pv=$images/pv/vmdkdm-test-pv.vmdk
partitions=(1 2 3 4 5 6 12)

start_udevd
install_our_rules

settle() { "$udevadm" settle --timeout=60; }

# Every link in /dev that is not ours. Not those by numbers: each device has one in /dev/block, and empty loops have one
# by-diskseq too, with another number after each use.
links_of_others() {
    find /dev -type l ! -path '/dev/disk/by-vmdk/*' ! -name 'vmdkdm-test-*' ! -path '/dev/block/*' \
        ! -path '/dev/disk/by-diskseq/*' -printf '%p -> %l\n' | sort
}

# Nobody has looked into these, and there are no links to them but those in by-vmdk.
not_looked_into() {
    local name link target
    "$udevadm" info --query=property "$@" >"$work/cmp"
    ! grep -e '^ID_' -e '^MD_' -e '^LVM_' "$work/cmp" || fail "somebody looked into one of $*"
    for key in DM_UDEV_DISABLE_OTHER_RULES_FLAG UDISKS_IGNORE; do
        [ "$(grep -c -x -e "$key=1" "$work/cmp")" -eq $# ] || fail "not every one of $* has $key: $(<"$work/cmp")"
    done
    readlink -f "$@" >"$work/nodes"
    find /dev -path '/dev/disk/*' -type l ! -path '/dev/disk/by-vmdk/*' -printf '%p %l\n' >"$work/links"
    while read -r name; do
        while read -r link target; do
            [ "${target##*/}" != "${name##*/}" ] || fail "$link leads to $name"
        done <"$work/links"
    done <"$work/nodes"
}

is_ordinary() { ! grep -e '_DISABLE_' -e UDISKS_IGNORE "$work/cmp" || fail 'marks of ours are left'; }

no_automation() {
    [ ! -e /dev/mapper/vmdkdm--test-lv ] || fail 'LVM has activated a volume'
    [ ! -e /dev/mapper/vmdkdm--pv-lv ] || fail 'LVM has activated a volume'
    [ ! -e /run/lvm/pvs_online ] || [ -z "$(ls /run/lvm/pvs_online)" ] || fail 'LVM has seen a physical volume'
    ! grep -e '^md' /proc/mdstat || fail 'mdadm has assembled an array'
}

is_link() { [ "$(readlink -f "/dev/disk/by-vmdk/$1")" = "$(readlink -f "/dev/mapper/$2")" ] || fail "by-vmdk/$1 does not lead to $2"; }
no_links_of_ours() { [ ! -e /dev/disk/by-vmdk ] || fail "links are left: $(ls /dev/disk/by-vmdk)"; }

check 'links to disk and partitions are there when attach returns'
must attach "$clone"
is_silent
is_link vmdkdm-test-clone vmdkdm-test-clone
for number in "${partitions[@]}"; do is_link "vmdkdm-test-clone-part$number" "vmdkdm-test-clone$number"; done
check 'nobody looks into disk, partitions and loop; no volume, no array, no file system is found'
settle
mapped=(/dev/mapper/vmdkdm-test-clone*)
[ ${#mapped[@]} -eq 9 ] || fail "${#mapped[@]} devices, expected 9"
mapfile -t loops < <(loops_on "$images/clone")
[ ${#loops[@]} -eq 2 ] || fail "${#loops[@]} loop devices of a file of 80 MiB, expected 2"
not_looked_into "${mapped[@]}" "${loops[@]}"
no_automation
check 'the loops are none that systemd may use'
for loop in "${loops[@]}"; do
    properties "$loop"
    has_property SYSTEMD_READY=0
done
check 'so it stays when udev is made to look again, and when all is coldplugged'
for action in change add; do
    udevadm trigger --settle --subsystem-match=block --action="$action"
    not_looked_into "${mapped[@]}" "${loops[@]}"
    no_automation
    for number in "${partitions[@]}"; do is_link "vmdkdm-test-clone-part$number" "vmdkdm-test-clone$number"; done
done
check 'but systemd may mount what fstab says of it, after a coldplug too'
for device in "${mapped[@]}"; do
    properties "$device"
    [[ $device == *-pages ]] || has_property SYSTEMD_READY=1
done
check 'list tells that it is not exposed'
must list --json
json_holds "$work/out" "d[0]['exposed'] is False"
must list
[[ $(<"$work/out") != *exposed* ]] || fail 'list shows an exposed disk'
check 'LVM, asked by hand, leaves it alone with the filter of the man page'
filter='devices { global_filter = [ "r|^/dev/disk/by-vmdk/|", "r|^/dev/loop|" ] }'
lvm pvs --noheadings --options pv_name --config "$filter" {never}>&- >"$work/cmp" 2>&1 || fail "pvs: $(<"$work/cmp")"
[ ! -s "$work/cmp" ] || fail "LVM sees $(<"$work/cmp")"
lvm pvs --noheadings --options pv_name {never}>&- >"$work/cmp" 2>&1 || fail "pvs: $(<"$work/cmp")"
grep -q vmdkdm-test-clone2 "$work/cmp" || fail 'control: without the filter LVM does not see it either'
check 'detach: links go; the loop devices, which nobody uses, stay hidden'
must detach vmdkdm-test-clone
is_silent
settle
no_links_of_ours
for loop in "${loops[@]}"; do
    properties "$loop"
    has_property UDISKS_IGNORE=1
    lacks_property DM_UDEV_DISABLE_OTHER_RULES_FLAG
done

check 'control: exposed, it has all links, LVM activates its volume, mdadm its array, btrfs knows of it'
must attach --expose "$clone"
is_silent
is_link vmdkdm-test-clone vmdkdm-test-clone
is_link vmdkdm-test-clone-part12 vmdkdm-test-clone12
settle
[ /dev/disk/by-label/vmdkdm-root -ef /dev/mapper/vmdkdm-test-clone1 ] || fail 'no by-label link'
wait_until 60 test -e /dev/mapper/vmdkdm--test-lv || fail 'LVM did nothing'
wait_until 60 grep -q -e '^md' /proc/mdstat || fail 'mdadm did nothing'
properties /dev/mapper/vmdkdm-test-clone4
has_property ID_FS_TYPE=crypto_LUKS
properties /dev/mapper/vmdkdm-test-clone6
has_property ID_BTRFS_READY=1
check 'but its loop is hidden all the same'
mapfile -t loops < <(loops_on "$images/clone")
not_looked_into "${loops[@]}"
check 'list tells that it is exposed'
must list --json
json_holds "$work/out" "d[0]['exposed'] is True"
must list
[[ $(<"$work/out") == *' ro exposed '* ]] || fail 'list does not show it'
lvm vgchange --activate n vmdkdm-test {never}>&- >"$work/cmp" 2>&1 || fail "vgchange: $(<"$work/cmp")"
mdadm --stop --scan 2>"$work/cmp" || fail "mdadm: $(<"$work/cmp")"
settle
must detach vmdkdm-test-clone
settle
no_links_of_ours
rm -rf /run/lvm

check 'a file system and a physical volume that begin with the first byte of a file'
must attach "$whole"
must attach "$pv"
settle
mapfile -t loops < <(loops_on "$images")
[ ${#loops[@]} -eq 2 ] || fail "${#loops[@]} loops, expected 2"
not_looked_into /dev/mapper/vmdkdm-test-{whole,pv} "${loops[@]}"
no_automation
must detach --all
settle
check 'control: without our rules udev finds both on the loops'
remove_our_rules
must attach "$whole"
must attach "$pv"
settle
properties "$(loops_on "$images/whole")"
has_property ID_FS_TYPE=ext4
wait_until 60 test -e /dev/mapper/vmdkdm--pv-lv || fail 'LVM did nothing'
lvm vgchange --activate n vmdkdm-pv {never}>&- >"$work/cmp" 2>&1 || fail "vgchange: $(<"$work/cmp")"
must detach --all
is_silent
settle
rm -rf /run/lvm
install_our_rules

check 'a loop device of somebody else has its links, the number of ours was'
must attach "$whole"
settle
number=$(loops_on "$images/whole")
must detach "$whole"
wait_until 30 test ! -e "/sys/block/${number#/dev/}/loop" || fail 'the loop is not cleared'
losetup --read-only "$number" "$images/whole/whole-flat.vmdk"
settle
properties "$number"
has_property ID_FS_TYPE=ext4
is_ordinary
uuid=$(sed -n -e 's/^ID_FS_UUID=//p' "$work/cmp")
[ "/dev/disk/by-uuid/$uuid" -ef "$number" ] || fail 'it has no by-uuid link'
losetup --detach "$number"
settle

check "a clone of the host's own disk beside it changes no link, at no time"
host=$(losetup --find --show --partscan "$work/host.raw")
settle
lvm vgchange --activate y vmdkdm-test {never}>&- >"$work/cmp" 2>&1 || fail "vgchange: $(<"$work/cmp")"
settle
links_of_others >"$work/before"
grep -q -e "by-label/vmdkdm-root -> .*/${host#/dev/}p1" "$work/before" || fail "the host's disk has no links"
unchanged() {
    links_of_others >"$work/now"
    diff "$work/before" "$work/now" || fail "links of the host have changed $1"
}
# While it is being attached, and while udev is at work.
watch_links() {
    while [ ! -e "$work/stop" ]; do
        links_of_others >"$work/seen"
        cmp -s "$work/before" "$work/seen" || diff "$work/before" "$work/seen" >>"$work/changed"
        : >"$work/watched"
    done
}
watch_links &
watcher=$!
must attach "$clone"
is_silent
settle
unchanged 'by an attach'
udevadm trigger --settle --subsystem-match=block
unchanged 'by a re-trigger'
must detach vmdkdm-test-clone
settle
unchanged 'by a detach'
: >"$work/stop"
wait "$watcher"
[ -e "$work/watched" ] || fail 'nobody watched'
[ ! -s "$work/changed" ] || fail "links of the host changed for a moment: $(<"$work/changed")"
check 'control: exposed, it takes links over'
must attach --expose "$clone"
settle
[ /dev/disk/by-label/vmdkdm-root -ef /dev/mapper/vmdkdm-test-clone1 ] || fail "the host's link stays"
must detach vmdkdm-test-clone
settle
unchanged 'for good, by an exposed clone'
lvm vgchange --activate n vmdkdm-test {never}>&- >"$work/cmp" 2>&1 || fail "vgchange: $(<"$work/cmp")"
mdadm --stop --scan 2>"$work/cmp" || fail "mdadm: $(<"$work/cmp")"
losetup --detach "$host"
settle

check 'links of names that end in a digit, with a delimiter of the user, and with any sign that a name may have'
must attach --name vmdkdm-test-7 "$two"
is_link vmdkdm-test-7-part12 vmdkdm-test-7p12
must detach --all
must attach --name vmdkdm-test-7 --delimiter _7- "$two"
is_link vmdkdm-test-7-part12 vmdkdm-test-7_7-12
must detach --all
name='vmdkdm-test-a#b+c.d:e=f@g_h'
must attach --name "$name" --delimiter -part "$two"
is_link "$name" "$name"
is_link "$name-part1" "$name-part1"
must detach --all
settle
no_links_of_ours

check 'without udevd nobody knows whether a disk is exposed'
stop_udevd
must attach "$two"
must list --json
json_holds "$work/out" "d[0]['exposed'] is None"
must detach --all
umount /etc/lvm
conclude
