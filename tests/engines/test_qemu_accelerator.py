"""Which accelerator machines get."""

import json
import subprocess
from pathlib import Path

import pytest

from app.engines.qemu import accelerator
from app.engines.qemu.process import host_boot_id
from tests.engines.lab import QemuLab


class Verdict:
    """What a store remembers."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "store" / "accelerator.json"

    def read(self) -> dict[str, object]:
        return {**json.loads(self.file.read_text()), "written": self.file.stat().st_mtime_ns}

    def write(self, *, boot_id: str, accelerator: str) -> None:
        self.file.parent.mkdir()
        self.file.write_text(json.dumps({"boot_id": boot_id, "accelerator": accelerator}))


@pytest.fixture
def verdict(tmp_path: Path) -> Verdict:
    return Verdict(tmp_path)


async def test_a_probe_decides_once_for_each_start_of_the_host(tmp_path: Path, verdict: Verdict) -> None:
    lab = QemuLab(tmp_path, accelerator="auto")
    await lab.open()
    first = verdict.read()
    await lab.reopen()
    again = verdict.read()
    await lab.clear()

    assert first["boot_id"] == host_boot_id()
    assert first["accelerator"] in {"kvm", "tcg"}
    assert again == first


async def test_a_machine_that_fails_under_kvm_is_started_again_under_tcg(tmp_path: Path, verdict: Verdict) -> None:
    """Where KVM is sound this is an ordinary launch; where it is not, or not there, an old verdict is overruled."""
    verdict.write(boot_id=host_boot_id(), accelerator="kvm")
    lab = QemuLab(tmp_path, accelerator="auto")
    await lab.open()

    machine_id, _ = await lab.launch()
    facts = await lab.engine.machines.describe(machine_id)
    await lab.clear()

    assert facts.accelerator == verdict.read()["accelerator"]


async def test_the_verdict_of_an_earlier_start_of_the_host_does_not_count(tmp_path: Path, verdict: Verdict) -> None:
    verdict.write(boot_id="another", accelerator="kvm")
    lab = QemuLab(tmp_path, accelerator="auto")

    await lab.open()
    await lab.clear()

    assert verdict.read()["boot_id"] == host_boot_id()


def test_the_probe_is_its_source(tmp_path: Path) -> None:
    source = Path(accelerator.__file__).with_name("probe.asm")

    subprocess.run(["nasm", "-f", "bin", "-o", tmp_path / "probe", source], check=True)

    assert (tmp_path / "probe").read_bytes() == accelerator.PROBE
