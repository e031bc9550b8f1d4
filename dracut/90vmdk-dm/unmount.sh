#!/bin/sh
# Hook shutdown: unmounts the file systems that hold images. It is called again as long as that fails.
# shellcheck source=../../initramfs/vmdk-dm-lib.sh
. /lib/vmdk-dm-lib.sh
vmdk_dm_unmount
