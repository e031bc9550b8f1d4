# Debian packages, by CPack: vmdk-dm, and what puts it into the initramfs of dracut or of initramfs-tools. Each is a component of
# the installation; what names none is in vmdk-dm. They hold the very program of the build that is packed (scripts/package: the
# release), static libstdc++ and all, so that what was tested is what people run; only the prefix is Debian's.
set(VMDK_DM_MAINTAINER "The vmdk-dm authors <vmdk-dm@example.org>" CACHE STRING
    "Who stands in the packages as their maintainer")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME vmdk-dm)
set(CPACK_PACKAGE_CONTACT "${VMDK_DM_MAINTAINER}")
set(CPACK_OUTPUT_FILE_PREFIX packages)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ
                                                WORLD_EXECUTE)
# Rules and units are installed to absolute paths, so the whole tree is below a DESTDIR.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL vmdk-dm dracut initramfs)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/packaging/finish.cmake)

# Each component has its own description, of which the first line is the summary.
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(this_version "vmdk-dm (= ${PROJECT_VERSION})")

set(CPACK_DEBIAN_VMDK-DM_PACKAGE_NAME vmdk-dm)
set(CPACK_DEBIAN_VMDK-DM_PACKAGE_SHLIBDEPS ON)
# Not linked, so that nobody finds it out.
set(CPACK_DEBIAN_VMDK-DM_PACKAGE_DEPENDS libcryptsetup12)
set(CPACK_DEBIAN_VMDK-DM_PACKAGE_RECOMMENDS "udev, systemd, lvm2")
set(CPACK_DEBIAN_VMDK-DM_PACKAGE_SUGGESTS "user-mode-linux, bubblewrap, mdadm, ntfs-3g, vmdk-dm-dracut | vmdk-dm-initramfs")
set(CPACK_DEBIAN_VMDK-DM_DESCRIPTION "attach VMware disks (VMDK) as device-mapper disks
Makes the disk in a VMDK file appear under /dev/mapper, with its partitions,
without copying it and without a process in the way of its readers: flat and
sparse images, snapshots, and all that can be mapped by the kernel itself.
.
Disks are read-only unless told otherwise, and kept from LVM, MD and desktops.
Those in /etc/vmdktab are attached at boot.")
set(CPACK_DEBIAN_VMDK-DM_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/packaging/vmdk-dm/postinst
                                               ${PROJECT_SOURCE_DIR}/packaging/vmdk-dm/postrm)

set(CPACK_DEBIAN_DRACUT_PACKAGE_NAME vmdk-dm-dracut)
set(CPACK_DEBIAN_DRACUT_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_DRACUT_PACKAGE_DEPENDS "${this_version}, dracut-core")
set(CPACK_DEBIAN_DRACUT_DESCRIPTION "attach VMware disks (VMDK) in the initramfs of dracut
A module for dracut with which a machine can have its root file system inside
a VMDK file on another file system: named by rd.vmdk= on the kernel's command
line, or by an entry of /etc/vmdktab with the option x-initrd.attach.")
set(CPACK_DEBIAN_DRACUT_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/packaging/vmdk-dm-dracut/triggers)

set(CPACK_DEBIAN_INITRAMFS_PACKAGE_NAME vmdk-dm-initramfs)
set(CPACK_DEBIAN_INITRAMFS_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_INITRAMFS_PACKAGE_DEPENDS "${this_version}, initramfs-tools-core, mount, dmsetup")
set(CPACK_DEBIAN_INITRAMFS_DESCRIPTION "attach VMware disks (VMDK) in the initramfs of initramfs-tools
A hook and scripts for initramfs-tools with which a machine can have its root
file system inside a VMDK file on another file system: named by rd.vmdk= on
the kernel's command line, or by an entry of /etc/vmdktab with the option
x-initrd.attach.")
set(CPACK_DEBIAN_INITRAMFS_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/packaging/vmdk-dm-initramfs/triggers)

# What every package of Debian has in its own directory of documents; packaging/finish.cmake compresses what Debian has
# compressed.
foreach(component IN LISTS CPACK_COMPONENTS_ALL)
  string(TOUPPER ${component} COMPONENT)
  install(FILES packaging/copyright packaging/changelog COMPONENT ${component} EXCLUDE_FROM_ALL
          DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/${CPACK_DEBIAN_${COMPONENT}_PACKAGE_NAME})
endforeach()
install(FILES packaging/vmdk-dm/lintian-overrides COMPONENT vmdk-dm EXCLUDE_FROM_ALL
        DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/lintian/overrides RENAME vmdk-dm)

include(CPack)
