"""Tiny Linux: a public image with a real Linux, built from Debian's packages, for what hello cannot show.

It is Debian's cloud kernel, busybox, dropbear, qemu-guest-agent and e2fsprogs on one disk, built in a few seconds without root, loop
devices or mounts, on any x86-64 Debian that can download packages: `python -m app.demo.tiny FILE`. What it does beyond that is in
`root/` and `boot/`, as it lies in the guest.

**What a machine of it does**, from power-on to READY in about 4 s without KVM:

- It takes its address by DHCP, and hostname, keys, password and user data from its NoCloud seed, once for each instance id: a machine that
  is launched from an image of another has its own host key, and lets in whom its own launch names and nobody else.
- SSH on port 22 for `root`, by key pair or by password; without a password in the seed, by key pair alone.
- The console (first serial port) asks for the password where there is one, else it is root's shell.
- User data that begin with `#!` are run once, as root, their output on the console. `#cloud-config` is not understood.
- The root file system takes the whole disk, also after it was extended. Data disks are /dev/vdb and so on, to be mounted (ext4, vfat,
  iso9660) or given a file system (mkfs.ext4, mkfs.vfat). The seed is the last of the disks that were there at boot.
- The guest agent brings all file systems to rest for a backup or a full-ECS image; programs in /etc/qemu/fsfreeze-hook.d are told before
  and after. The power button switches off in good order.

**What it prints** on the console, beside the kernel and whatever its user says::

    TINY boots=1 hostname=web-1 address=10.0.2.15
    TINY host key ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…
    TINY user data ended with status 0
    TINY READY
    TINY BYE

SSH answers once the host key is shown; READY comes after the user data. The last line is that of an orderly end.
"""

NAME = "tiny"
VERSION = "1"
MIN_RAM_MIB = 128
"""It runs in 96, with little left for anybody."""
