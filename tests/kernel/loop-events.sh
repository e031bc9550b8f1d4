#!/usr/bin/env bash
# What udevd tells everybody of our loop devices, with a udevd that is slow at the worst moment: between our rule and those
# that look into a device. Whoever listens never hears of one without our mark, nobody has looked into one, and udevd is
# through with all of them when attach returns. A number that another uses next is an ordinary device again.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$(dirname -- "$0")/udevd.sh"
start mke2fs strace udevadm pidof unshare
make_images many 5
truncate --size 1M "$work/files"
mke2fs -q -t ext2 "$work/files" >"$work/out" 2>&1 || fail 'no ext2 can be made'
# Its first blocks are the start of every file, and a whole one is for others.
for file in "$images"/many/*.bin; do dd if="$work/files" of="$file" conv=notrunc bs=4096 count=1 status=none; done
remember_images
image=$images/many/vmdkdm-test-many.vmdk
name=vmdkdm-test-many

# A loop device that nobody has used yet sends an event of its own.
remove_free_loops() {
    "$python" -c '
import fcntl, glob, os
control = os.open("/dev/loop-control", os.O_RDWR)
for path in glob.glob("/sys/block/loop*"):
    if not os.path.exists(path + "/loop"):
        fcntl.ioctl(control, 0x4C81, int(path[15:]))  # LOOP_CTL_REMOVE
'
}

listen() {
    rm -f "$work/heard"
    "$python" "$here/loop_listener.py" "$work/heard" &
    listener=$!
    wait_until 20 grep -q -s listening "$work/heard" || fail 'nobody listens'
}
end_listening() {
    kill -TERM "$listener"
    wait "$listener"
}

# heard_well LOOP...: what was heard of these, from listen to end_listening.
heard_well() {
    local who number action device mark type loop
    local -A last=() answered=()
    while read -r who number action device mark type; do
        [[ " $* " == *" /dev/$device "* ]] || continue
        case $who in
        kernel) last[$device]=$number ;;
        udev)
            answered[$device]=$number
            [ "$mark" = marked ] || fail "without our mark: $action of $device"
            [ "$type" = - ] || fail "$action of $device: somebody has looked into it and found $type"
            ;;
        esac
    done <"$work/heard"
    for loop; do
        device=${loop#/dev/}
        [ -n "${last[$device]-}" ] || continue
        [ "${answered[$device]-none}" = "${last[$device]}" ] \
            || fail "udev was not through with $device: event ${last[$device]}, answered ${answered[$device]-none}"
    done
    [ ${#answered[@]} -gt 0 ] || [ ${#last[@]} -eq 0 ] || fail 'nothing was heard of udev'
    printf '  %d loop devices, %d with events\n' $# ${#last[@]}
}

start_udevd
install_our_rules
# Between our rule and the next: what is looked into then has been bound meanwhile.
cat >/run/udev/rules.d/59-z-slow.rules <<'END'
SUBSYSTEM=="block", KERNEL=="loop*", ACTION!="remove", PROGRAM="/bin/sleep 1"
END
udevadm control --reload

check 'loop devices that are made for it, and bound when udevd has begun with the first event of each'
remove_free_loops
udevadm settle --timeout=60
listen
# The first ioctl of a thread binds, or makes the device that the second then binds: each waits for half a second.
strace -f -o "$work/strace" -e trace=ioctl -e inject=ioctl:delay_enter=400000:when=1..4 "$vmdk_dm" attach "$image" \
    >"$work/out" 2>"$work/err" || fail 'it cannot be attached'
end_listening
is_silent
mapfile -t loops < <(loops_on "$images")
[ ${#loops[@]} -eq 5 ] || fail "${#loops[@]} loop devices, expected 5"
heard_well "${loops[@]}"
grep -q -e ' add loop' "$work/heard" || fail 'no loop device was made'
for loop in "${loops[@]}"; do
    properties "$loop"
    has_property UDISKS_IGNORE=1
    has_property SYSTEMD_READY=0
    lacks_property ID_FS_TYPE
done
listen
must detach "$name"
udevadm settle --timeout=60
end_listening
heard_well "${loops[@]}"

check 'loop devices that are there'
listen
must attach "$image"
end_listening
is_silent
mapfile -t loops < <(loops_on "$images")
heard_well "${loops[@]}"
must detach "$name"
udevadm settle --timeout=60

check 'another uses a number of ours: an ordinary device, and hidden when it is free again'
loop=${loops[0]}
losetup --read-only "$loop" "$work/files"
udevadm settle --timeout=60
properties "$loop"
has_property ID_FS_TYPE=ext2
! grep -e '_DISABLE_' -e UDISKS_IGNORE -e SYSTEMD_READY=0 "$work/cmp" || fail 'marks of ours are on the device of another'
losetup --detach "$loop"
udevadm settle --timeout=60
properties "$loop"
has_property UDISKS_IGNORE=1
lacks_property ID_FS_TYPE
# udisks would not hear that the other's file is gone.
lacks_property DM_UDEV_DISABLE_OTHER_RULES_FLAG
# As losetup does it, of which some kernels say nothing.
listen
: <>"$loop"
udevadm settle --timeout=60
end_listening
grep -q -e "^udev [0-9]* change ${loop#/dev/}" "$work/heard" || fail 'udev does not notice who has it open for writing'
listen
must attach "$image"
end_listening
heard_well "$loop"
properties "$loop"
has_property DM_UDEV_DISABLE_OTHER_RULES_FLAG=1
must detach "$name"
udevadm settle --timeout=60

check "where udevd cannot be heard, in another network namespace, it is not waited for in vain"
unshare --net "$vmdk_dm" attach "$image" >"$work/out" 2>"$work/err"
# Whoever waits until the deadline says so.
is_silent
must detach "$name"
udevadm settle --timeout=60

check 'killed while it waits: nothing is left'
for signal in KILL TERM; do
    "$vmdk_dm" attach "$image" >"$work/out" 2>"$work/err" &
    process=$!
    wait_until 20 test -e "/dev/mapper/$name" || fail 'it does not come so far'
    kill "-$signal" "$process"
    status=0
    wait "$process" 2>/dev/null || status=$?
    [ "$status" -ne 0 ] || fail 'it was through already'
    nothing_left "SIG$signal" 20
    udevadm settle --timeout=60
done

check 'a /dev that has no nodes of new loop devices: those are taken that have one, and none is left that has not'
listen
remove_free_loops
"$python" -c '
import fcntl, os
control = os.open("/dev/loop-control", os.O_RDWR)
for number in range(8):
    fcntl.ioctl(control, 0x4C80, number)  # LOOP_CTL_ADD
'
udevadm settle --timeout=60
# shellcheck disable=SC2016 # for the inner shell
unshare --mount bash -eu -c '
    mkdir "$1/dev"
    mount -t tmpfs none "$1/dev"
    cp --archive /dev/null /dev/loop-control /dev/loop[0-7] /dev/mapper "$1/dev"
    mount --bind "$1/dev" /dev
    "$2" attach --no-udev "$3"
    "$2" detach --no-udev vmdkdm-test-many
' bash "$work" "$vmdk_dm" "$image" >"$work/out" 2>"$work/err" || fail 'it cannot be attached there'
end_listening
loops=(/sys/block/loop*)
[ ${#loops[@]} -eq 8 ] || fail "loop devices: ${loops[*]}"

stop_udevd
conclude
