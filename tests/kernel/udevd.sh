# A real systemd-udevd in the embedded kernel, with the distribution's rules and our own. For tests; sourced after lib.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # work, vmdk_dm and here are lib.sh's

udevd=/lib/systemd/systemd-udevd

start_udevd() {
    [ -x "$udevd" ] || missing 'no systemd-udevd (package udev)'
    [ ! -e /run/udev/control ] || missing 'an udevd runs here already (see scripts/run-in-kernel)'
    mkdir -p /run/udev/rules.d
    "$udevd" --daemon >"$work/udevd" 2>&1 || fail "udevd does not start: $(<"$work/udevd")"
    udevadm control --ping --timeout=20 || fail 'udevd does not answer'
    udevadm settle --timeout=30
}

stop_udevd() {
    local pid
    pid=$(pidof systemd-udevd)
    udevadm control --exit --timeout=20
    wait_until 60 test ! -d "/proc/${pid%% *}" || fail 'udevd does not end'
    rm -rf /run/udev
}

# The rules that an installation has, but for the path of the program. udevd notices by itself.
install_our_rules() {
    local rules
    rules=$(<"$here/../../udev-rules/59-vmdk-dm.rules.in")
    printf '%s\n' "${rules//@VMDK_DM@/$vmdk_dm}" >/run/udev/rules.d/59-vmdk-dm.rules
    cp "$here/../../udev-rules/99-vmdk-dm.rules" /run/udev/rules.d
    udevadm control --reload
}

remove_our_rules() {
    rm /run/udev/rules.d/*
    udevadm control --reload
}

# properties DEVICE: what udev knows of it, for the two below.
properties() { udevadm info --query=property "$1" >"$work/cmp"; }
has_property() { grep -q -x -e "$1" "$work/cmp" || fail "udev's database lacks $1: $(<"$work/cmp")"; }
lacks_property() { ! grep -q -e "^$1=" "$work/cmp" || fail "udev's database has $(grep -e "^$1=" "$work/cmp")"; }
