#!/usr/bin/env bash
# One machine boots many times in a row (as often as the second argument says), with two images in its vmdktab: each time both are attached and
# mounted, nothing has failed, what was written the boot before is there, and the host disk was left clean.
set -eu
. "$(dirname -- "$0")/lib.sh"
boots=$2
start systemctl journalctl

state_of() { systemctl show --property "$2" --value "$1"; }
tell_all() {
    findmnt || true
    systemctl list-jobs || true
    journalctl --boot --no-pager | tail -n 150
}
failed=$(systemctl --failed --no-legend --plain)
[ -z "$failed" ] || { tell_all; fail "boot $RUN_IN_VM_BOOT: failed are $failed"; }
for name in left right; do
    [ "$(state_of "vmdk-dm@$name" ActiveState)" = active ] || { tell_all; fail "boot $RUN_IN_VM_BOOT: $name is not attached"; }
    [ "$(cat "/mnt/$name/who" 2>&1)" = "$name" ] || { tell_all; fail "boot $RUN_IN_VM_BOOT: $name is not mounted"; }
done
! journalctl --boot --output cat | grep -i 'ordering cycle' || fail "boot $RUN_IN_VM_BOOT: systemd found a cycle"
written=0
[ ! -e /mnt/right/boot ] || read -r written </mnt/right/boot
[ "$written" -eq "$RUN_IN_VM_BOOT" ] || fail "boot $RUN_IN_VM_BOOT: what was written the boot before is not there, but $written"
echo $((RUN_IN_VM_BOOT + 1)) >/mnt/right/boot

echo "boot $RUN_IN_VM_BOOT: left attached at $(state_of vmdk-dm@left ActiveEnterTimestampMonotonic) us," \
    "right at $(state_of vmdk-dm@right ActiveEnterTimestampMonotonic) us, all at $(state_of multi-user.target ActiveEnterTimestampMonotonic) us"
if [ $((RUN_IN_VM_BOOT + 1)) -lt "$boots" ]; then echo reboot >/run/run-in-vm/after; fi
leave >/dev/null
