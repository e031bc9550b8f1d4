#!/usr/bin/env bash
# A machine has booted with the vmdktab, fstab and crypttab that at-boot.prepare.sh made (see at-boot-outside.sh, which
# looks at the disks while it runs and after it was switched off): what is right is attached and mounted, and what is wrong held up
# nothing.
set -eu
. "$(dirname -- "$0")/lib.sh"
start findmnt journalctl systemctl

state_of() { systemctl show --property ActiveState --value "$1"; }
unit() { echo "vmdk-dm@$(systemd-escape -- "$1").service"; }
is() {
    local state
    state=$(state_of "$(unit "$1")")
    [ "$state" = "$2" ] || { systemctl status --no-pager --full "$(unit "$1")" || true; fail "$1 is $state, not $2"; }
}
# mounted DIRECTORY LABEL
mounted() {
    [ "$(cat "$1/who" 2>&1)" = "$2" ] || { findmnt || true; journalctl --boot --no-pager | tail -n 60; fail "$1 does not show '$2'"; }
}
# journal_says UNIT TEXT
journal_says() {
    journalctl --boot --no-pager --output cat --unit "$1" | grep -q -F -e "$2" \
        || { journalctl --boot --no-pager --unit "$1"; fail "the journal of $1 does not say: $2"; }
}
monotonic() { systemctl show --property "$2" --value "$(unit "$1")"; }

check 'what vmdktab says is attached, and fstab and crypttab find it'
for name in left right chain far lvm luks written in-place 'a-b+c.d@e:f#g=h_1'; do is "$name" active; done
mounted /mnt/left left
mounted /mnt/right right
mounted /mnt/written written
check 'a chain over three file systems, and a file that only the descriptor names'
mounted /mnt/chain chain
mounted /mnt/far far
check 'a name and a path that need escaping; noauto, but fstab mounts from it'
mounted /mnt/odd odd
check 'LVM by the label of what is in it, LUKS by its UUID in crypttab'
mounted /mnt/lvm in-lvm
mounted /mnt/luks in-luks

check 'two images were attached at the same time'
for name in left right; do
    echo "    $name: from $(monotonic "$name" InactiveExitTimestampMonotonic) to $(monotonic "$name" ActiveEnterTimestampMonotonic) us"
done
for pair in 'left right' 'right left'; do
    [ "$(monotonic "${pair% *}" InactiveExitTimestampMonotonic)" -lt "$(monotonic "${pair#* }" ActiveEnterTimestampMonotonic)" ] \
        || fail 'one was attached after the other'
done

check 'the machine is up, while a device that is missing is still waited for'
[ "$(state_of multi-user.target)" = active ] || fail 'multi-user.target is not reached'
[ "$(state_of sysinit.target)" = active ] || fail 'sysinit.target is not reached'
systemctl list-jobs --no-legend >"$work/jobs"
grep -q -F 'no\x2dsuch\x2ddisk.device' "$work/jobs" || { cat -- "$work/jobs"; fail 'the missing device is not waited for'; }
[ "$(state_of local-fs.target)" = active ] || fail 'local-fs.target has failed'
check 'a missing image and a wrong option are failed units, with the reason in the journal'
for name in lost lost-too wrong; do is "$name" failed; done
journal_says "$(unit lost)" '/srv/images/lost.vmdk'
journal_says "$(unit lost)" 'No such file or directory'
journal_says "$(unit wrong)" 'no-such-option'
check 'a broken line of vmdktab is reported, and concerns that line only'
journalctl --boot --no-pager --output cat >"$work/journal"
journalctl --boot --no-pager --output cat --identifier vmdk-dm-generator >"$work/generator"
grep -q '^/etc/vmdktab:3:' "$work/generator" || fail 'the journal does not say what is wrong in line 3'
! grep -i -e 'ordering cycle' -e 'Failed to create.*vmdk' "$work/journal" || fail 'systemd complains'

check 'the file system of a device is mounted for its entries, writable as some of them write'
[[ $(findmnt --noheadings --output OPTIONS /run/vmdk-dm/mnt/LABEL=host-one) == rw,* ]] || fail "$(findmnt)"
[[ $(findmnt --noheadings --output OPTIONS /mnt/two) == ro,* ]] || fail "$(findmnt)"

check 'stopping the unit unmounts and detaches'
run systemctl stop "$(unit left)"
! findmnt /mnt/left || fail '/mnt/left is still mounted'
wait_until 30 test ! -e /dev/mapper/left || fail 'left is still attached'
run systemctl start mnt-left.mount
mounted /mnt/left left
check 'also when it is in use, and then it goes with its last user'
exec {user}</dev/mapper/right
run systemctl stop "$(unit right)"
[ "$(state_of "$(unit right)")" = inactive ] || fail 'stopping has failed'
exec {user}<&-
wait_until 30 test ! -e /dev/mapper/right || fail 'right is still attached'

check 'written data is there for whoever looks at the disks from outside, now and later'
mounted /mnt/written written
echo 'through an overlay' >/mnt/written/new
echo 'in place' >/mnt/in-place/new
sync
echo 'take a copy of the host disk'
copy_is_taken() { [ "$(dd if=/dev/vdc bs=512 count=1 iflag=direct status=none | tr -d '\0')" = taken ]; }
wait_until 60 copy_is_taken || fail 'nobody has taken a copy of the host disk'
echo poweroff >/run/run-in-vm/after
# Of what is stopped the console tells, in its order.
kill -s RTMIN+20 1
leave
