#!/bin/sh
# Hook emergency: what failed, on each console, right before the shell.
# shellcheck source=../../initramfs/vmdk-dm-lib.sh
. /lib/vmdk-dm-lib.sh
vmdk_dm_report | while read -r vmdk_dm_line; do
    while read -r vmdk_dm_console _; do
        printf '%s\n' "$vmdk_dm_line" >"/dev/$vmdk_dm_console"
    done </proc/consoles
done
