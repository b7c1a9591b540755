"""From a machine's spec to QEMU's arguments: pure, so that a test can read them.

All paths are relative to the machine's folder, QEMU's working directory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from uuid import UUID

from app.engines.base import Endpoint, MachineSpec

SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
ACCELERATORS = {"tcg": ("tcg,thread=multi", "max"), "kvm": ("kvm", "host")}
LAYERS = "../../layers/"
DATA_BUS = "data"
"""A bridge whose 31 places all data disks are on, for the root bus of q35 lets none come or go while the machine runs.

Measured: as quick at boot as none, where a root port for each disk costs the firmware 10 ms each.
"""
MAX_DATA_DISKS = 23
"""As many as OTC gives an ECS."""
SEED_BOOT_INDEX = 1000
"""Behind every disk that may come yet."""
SEED_PLACE = f"bus={DATA_BUS},addr=0x1f"
"""The last one: Linux names disks in this order, and the first data disk is to be the one behind the system disk (/dev/vdb)."""

_FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\S+\s+(\S+)\s+(\d+)\s+\S+\s+(\d+)")


def device_of(disk_id: UUID) -> str:
    """The name of a disk's device in its machine."""
    return f"disk-{disk_id}"


def node_of(layer: str) -> str:
    """The name of a layer's node in a machine's block graph; QEMU takes at most 31 characters, the first a letter."""
    return f"n{layer}"


def block_node(layer: str) -> dict[str, object]:
    """A layer as QEMU is to open it. Every opening uses the same options, else a reopen would change them."""
    file = {
        "driver": "file",
        "node-name": f"f{layer}",
        "filename": f"{LAYERS}{layer}.qcow2",
        "discard": "unmap",
        "cache": {"direct": False, "no-flush": False},
    }
    return {"driver": "qcow2", "node-name": node_of(layer), "discard": "unmap", "file": file}


def disk_device(disk_id: UUID, layer: str, boot_index: int) -> dict[str, object]:
    """A disk as a machine sees it; the first in boot order is the system disk."""
    device: dict[str, object] = {
        "driver": "virtio-blk-pci",
        "id": device_of(disk_id),
        "drive": node_of(layer),
        "bootindex": boot_index,
        # How a guest's operating system can tell its disks apart; 20 characters at most.
        "serial": disk_id.hex[:20],
        # A full host pauses the guest, which goes on when there is space; any other error is the guest's to see.
        "werror": "enospc",
        "rerror": "report",
    }
    return device if boot_index == 1 else device | {"bus": DATA_BUS}


def build_command(
    *,
    qemu: str,
    machine_id: UUID,
    spec: MachineSpec,
    layers: Mapping[UUID, str],
    accelerator: str,
    expose_host: str = "127.0.0.1",
    restrict_network: bool = False,
    max_files: int = 8192,
) -> list[str]:
    """The whole command line of a machine; `layers` has the active layer of each disk."""
    accel, cpu = ACCELERATORS[accelerator]
    # prlimit: no core dumps of guests' memory; descriptors for long chains on many disks. env: sockets are found by short names.
    command = ["prlimit", "--core=0:0", f"--nofile={max_files}:{max_files}", "env", "--chdir=.", qemu]
    command += ["-name", f"guest={machine_id}", "-uuid", str(machine_id)]
    command += ["-machine", "q35,sata=off,usb=off,smbus=off", "-accel", accel, "-cpu", cpu]
    command += ["-smp", str(spec.vcpus), "-m", f"{spec.ram_mib}M", "-boot", "strict=on"]
    command += ["-nodefaults", "-no-user-config", "-display", "none", "-sandbox", SANDBOX]
    # A guest that switches itself off leaves a process that says so; one that ends without a word has crashed.
    command += ["-no-shutdown"]
    for monitor in ("qmp", "events"):
        command += ["-chardev", f"socket,id={monitor},path={monitor}.sock,server=on,wait=off"]
        command += ["-mon", f"chardev={monitor},mode=control"]
    command += [
        "-chardev",
        "socket,id=console,path=console.sock,server=on,wait=off,logfile=console.log,logappend=on",
    ]
    command += ["-serial", "chardev:console", "-device", "virtio-rng-pci"]
    command += ["-chardev", "socket,id=qga,path=qga.sock,server=on,wait=off", "-device", "virtio-serial-pci"]
    command += ["-device", "virtserialport,chardev=qga,name=org.qemu.guest_agent.0"]
    command += _network(spec.expose_ports, expose_host, restrict=restrict_network)
    command += ["-device", f"pci-bridge,id={DATA_BUS},chassis_nr=1"]
    return command + _disks(spec.disk_ids, layers)


def _network(ports: Sequence[int], host: str, *, restrict: bool) -> list[str]:
    # Port 0: QEMU picks a free one, and says which when asked.
    forwards = "".join(f",hostfwd=tcp:{host}:0-:{port}" for port in sorted(set(ports)))
    netdev = f"user,id=net0,restrict={'on' if restrict else 'off'}{forwards}"
    # No option ROM: nobody boots from this network, and loading it costs start-up time.
    return ["-netdev", netdev, "-device", "virtio-net-pci,netdev=net0,romfile="]


def _disks(disk_ids: Sequence[UUID], layers: Mapping[UUID, str]) -> list[str]:
    arguments = []
    for index, disk_id in enumerate(disk_ids, start=1):
        device = disk_device(disk_id, layers[disk_id], index)
        arguments += ["-blockdev", json.dumps(block_node(layers[disk_id]))]
        arguments += [
            "-device",
            f"{device.pop('driver')},{','.join(f'{key}={value}' for key, value in device.items())}",
        ]
    seed = {
        "driver": "raw",
        "node-name": "seed",
        "read-only": True,
        "file": {"driver": "file", "filename": "seed.iso", "node-name": "seed-file", "read-only": True},
    }
    return [
        *arguments,
        "-blockdev",
        json.dumps(seed),
        "-device",
        f"virtio-blk-pci,id=seed,drive=seed,bootindex={SEED_BOOT_INDEX},serial=seed,{SEED_PLACE}",
    ]


def read_endpoints(usernet: str) -> list[Endpoint]:
    """The exposed ports in what the monitor answers to `info usernet`."""
    found = [
        Endpoint(guest_port=int(guest), host=host, port=int(port)) for host, port, guest in _FORWARD.findall(usernet)
    ]
    return sorted(found, key=lambda endpoint: endpoint.guest_port)
