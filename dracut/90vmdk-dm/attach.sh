#!/bin/sh
# Hook initqueue/settled: attaches what can be attached by now.
# shellcheck source=../../initramfs/vmdk-dm-lib.sh
. /lib/vmdk-dm-lib.sh
vmdk_dm_attach_ready
if [ $? -eq 2 ]; then
    # The report is on the console then, see report.sh.
    emergency_shell "vmdk-dm: a disk that this system needs is not attached"
    vmdk_dm_forget_failures
fi
