"""QEMU over QMP: real machines on this host, without a daemon and without privileges.

One process per store owns the engine; the machines run in sessions of their own, outlive it and are found again. The store is a folder:

    lock                    held by the process that owns the store
    accelerator.json        which accelerator a probe boot found, since which start of the host
    layers/<random>.qcow2   what disks hold, in layers with relative backing names; never written again once sealed
    disks/<id>.json         a disk: its active layer
    contents/<id>.json      a content: its sealed layer
    seals/<id>.json         journal of a seal of detached disks
    machines/<id>/          spec.json (naming disks by id), seed.iso, console.log, qemu.err, qmp.sock, events.sock, console.sock,
                            process.json while it should be running, crashed after an end that was not clean,
                            seal.json while its disks are being sealed

A layer lives while a disk or a content reaches it through the qcow2 headers; whatever else lies in the store is rubbish.
QEMU's working directory is the machine's folder and the sockets lie in it, so no socket path depends on how deep the store lies.
"""
