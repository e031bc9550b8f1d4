# What udev has done about devices that are called like the host's own. For tests; sourced after udevd.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # work is lib.sh's

# What the test's "host" has, and an image of it as well.
# shellcheck disable=SC2034 # for the tests
uuid=aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee label=HOSTROOT

# Without those rules of the distribution that would bring up the test's "host" while it is being made.
start_listened_udevd() {
    local rules
    start_udevd
    install_our_rules
    unset DM_DISABLE_UDEV
    for rules in 64-md-raid-assembly 69-lvm; do ln -s /dev/null "/run/udev/rules.d/$rules.rules"; done
    udevadm control --reload
}

# listen: from now on, all that udev tells others is written down.
listen() {
    udevadm settle --timeout=30
    udevadm monitor --udev --property --subsystem-match=block >"$work/told" &
    listener=$!
    wait_until 30 grep -q '^UDEV - ' "$work/told" || fail 'udevadm monitor does not begin'
}

# heard_nothing_of UUID LABEL: no event since listen() was one of a device that somebody had looked into, or linked.
heard_nothing_of() {
    udevadm settle --timeout=30
    udevadm trigger --settle --action=change --sysname-match=loop0 # the last to come
    wait_until 30 grep -q '^DEVNAME=/dev/loop0$' "$work/told" || fail 'udevadm monitor has stopped'
    kill "$listener"
    wait "$listener" || true
    for text in "ID_FS_UUID=$1" "ID_FS_LABEL=$2" "by-uuid/$1" "by-label/$2"; do
        ! grep -e "$text" "$work/told" || fail "udev has told of $text"
    done
}

# links_lead_to DEVICE UUID LABEL
links_lead_to() {
    local device link
    udevadm settle --timeout=30
    device=$(readlink -f "$1")
    for link in "/dev/disk/by-uuid/$2" "/dev/disk/by-label/$3"; do
        [ "$(readlink -f "$link")" = "$device" ] || fail "$link leads to $(readlink -f "$link"), not to $1 ($device)"
    done
}

# is_hidden DEVICE...: udev has not looked into it, and has told udisks, LVM and mdadm to leave it alone.
is_hidden() {
    local device key
    udevadm settle --timeout=30
    for device in "$@"; do
        properties "$device"
        for key in UDISKS_IGNORE=1 ANACONDA=vmdk-dm DM_UDEV_DISABLE_OTHER_RULES_FLAG=1; do has_property "$key"; done
        for key in ID_FS_TYPE ID_FS_UUID ID_FS_LABEL ID_PART_TABLE_TYPE; do lacks_property "$key"; done
        ! grep -q -e '^DEVLINKS=.*/dev/disk/' "$work/cmp" || fail "$device has $(grep -e '^DEVLINKS=' "$work/cmp")"
    done
}

no_rules_left() {
    local rules=(/run/udev/rules.d/*-vmdk-dm-*)
    [ ! -e "${rules[0]}" ] || fail "rules are left: ${rules[*]}"
}
