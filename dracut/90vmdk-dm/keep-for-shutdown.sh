#!/bin/sh
# Hook pre-pivot: keeps this initramfs for the shutdown, if there will be something to unmount.
# shellcheck source=../../initramfs/vmdk-dm-lib.sh
. /lib/vmdk-dm-lib.sh
vmdk_dm_keep_for_shutdown
