"""From spec to arguments."""

import json
from itertools import pairwise
from uuid import UUID

import pytest

from app.engines.base import Endpoint, MachineSpec
from app.engines.qemu.command import block_node, build_command, device_of, node_of, read_endpoints

MACHINE = UUID("11111111-1111-4111-8111-111111111111")
SYSTEM = UUID("22222222-2222-4222-8222-222222222222")
DATA = UUID("33333333-3333-4333-8333-333333333333")
LAYERS = {SYSTEM: "a" * 24, DATA: "b" * 24}


def command(accelerator: str = "tcg", *, restrict_network: bool = False, ports: tuple[int, ...] = ()) -> list[str]:
    spec = MachineSpec(hostname="web", vcpus=2, ram_mib=512, disk_ids=[SYSTEM, DATA], expose_ports=ports)
    return build_command(
        qemu="qemu",
        machine_id=MACHINE,
        spec=spec,
        layers=LAYERS,
        accelerator=accelerator,
        restrict_network=restrict_network,
    )


def values(arguments: list[str], option: str) -> list[str]:
    return [after for before, after in pairwise(arguments) if before == option]


def test_a_machine_is_confined_and_says_who_it_is() -> None:
    arguments = command()

    assert values(arguments, "-sandbox") == ["on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    assert values(arguments, "-uuid") == [str(MACHINE)]
    assert {"-nodefaults", "-no-user-config", "-no-shutdown"} <= set(arguments)
    assert values(arguments, "-smp") == ["2"]
    assert values(arguments, "-m") == ["512M"]


@pytest.mark.parametrize(("accelerator", "accel", "cpu"), [("tcg", "tcg,thread=multi", "max"), ("kvm", "kvm", "host")])
def test_the_processor_goes_with_the_accelerator(accelerator: str, accel: str, cpu: str) -> None:
    arguments = command(accelerator)

    assert values(arguments, "-accel") == [accel]
    assert values(arguments, "-cpu") == [cpu]


def test_disks_come_in_boot_order_and_the_seed_last_and_read_only() -> None:
    arguments = command()

    nodes = [json.loads(node) for node in values(arguments, "-blockdev")]
    devices = [device for device in values(arguments, "-device") if device.startswith("virtio-blk-pci")]
    assert [node["node-name"] for node in nodes] == [node_of(LAYERS[SYSTEM]), node_of(LAYERS[DATA]), "seed"]
    assert [node.get("read-only", False) for node in nodes] == [False, False, True]
    assert ["bootindex=1," in devices[0], "bootindex=2," in devices[1], "bootindex=1000," in devices[2]] == [True] * 3
    assert f"id={device_of(SYSTEM)}" in devices[0]


def test_data_disks_are_where_disks_come_and_go_and_the_seed_is_behind_them() -> None:
    arguments = command()

    bridge, system, data, seed = [
        device for device in values(arguments, "-device") if "virtio-blk" in device or "bridge" in device
    ]
    assert bridge.startswith("pci-bridge,id=data,")
    assert ["bus=data" in device for device in (system, data, seed)] == [False, True, True]
    assert ["addr=0x1f" in device for device in (system, data, seed)] == [False, False, True]


def test_no_argument_depends_on_where_the_store_lies() -> None:
    assert not [argument for argument in command(ports=(22,)) if "/" in argument.replace("../../layers/", "")]


def test_names_fit_what_qemu_allows() -> None:
    node = block_node("f" * 24)

    names = [node["node-name"], node["file"]["node-name"]]  # type: ignore[index]
    assert all(isinstance(name, str) and len(name) <= 31 and name[0].isalpha() for name in names)


def test_ports_are_forwarded_once_and_the_network_can_be_restricted() -> None:
    (netdev,) = values(command(ports=(80, 22, 80)), "-netdev")
    (restricted,) = values(command(restrict_network=True), "-netdev")

    assert netdev == "user,id=net0,restrict=off,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=tcp:127.0.0.1:0-:80"
    assert restricted == "user,id=net0,restrict=on"


def test_endpoints_are_read_from_what_the_monitor_says() -> None:
    said = (
        "Hub -1 (net0):\r\n"
        "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
        "  TCP[HOST_FORWARD]  15       127.0.0.1 35947       10.0.2.15    80     0     0\r\n"
        "  TCP[ESTABLISHED]   20       10.0.2.15 40000       10.0.2.2   5000     0     0\r\n"
        "  TCP[HOST_FORWARD]  14       127.0.0.1 46099       10.0.2.15    22     0     0\r\n"
    )

    assert read_endpoints(said) == [
        Endpoint(guest_port=22, host="127.0.0.1", port=46099),
        Endpoint(guest_port=80, host="127.0.0.1", port=35947),
    ]
