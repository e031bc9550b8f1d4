#!/bin/sh
# Hook cmdline: which disks the command line and the embedded vmdktab ask for.
# shellcheck source=../../initramfs/vmdk-dm-lib.sh
. /lib/vmdk-dm-lib.sh
vmdk_dm_collect "$(getcmdline)" || :
