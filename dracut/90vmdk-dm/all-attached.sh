#!/bin/sh
# Hook initqueue/finished: the boot goes on when all disks are there, even if the root file system was there before.
# shellcheck source=../../initramfs/vmdk-dm-lib.sh
. /lib/vmdk-dm-lib.sh
vmdk_dm_all_attached
