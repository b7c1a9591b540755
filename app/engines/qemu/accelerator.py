"""Which accelerator machines get: KVM where a probe boots under it, else TCG.

That /dev/kvm opens, even that QEMU starts with it, proves nothing: there are hosts on which guests die under it, or boot 30 times more
slowly than without it. So a guest is booted with the processor model that machines get, and has to say something soon. The built-in one
finds hosts that are plainly broken or slow; a Linux as probe disk finds more. The verdict holds for one start of the host.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import structlog

from app.engines.qemu.command import ACCELERATORS
from app.engines.qemu.process import host_boot_id
from app.engines.qemu.settings import QemuSettings
from app.engines.qemu.store import Store, read_record, write_durably
from app.engines.qemu.tools import ENVIRONMENT, guarded

KVM = Path("/dev/kvm")
PROBE_LIMIT_S = 60.0
"""For a probe disk: a Linux boots in 5 s, on a busy host in 15."""
BUILT_IN_LIMIT_S = 2.0
"""For the built-in probe: 0.1 s even under TCG; 3.7 s under a KVM that had better be left alone."""
BUILT_IN_MARKER = "READY"
# probe.asm, assembled.
PROBE = bytes.fromhex(
    "31c08ed88ec08ed0bc007cfc66bf001000000f22df6631c066b9000c0000f366ab66c70600100320000066c7060020033000"
    "0066c7060030830000000f20e00c200f22e066b9800000c00f3280cc010f30fa0f20c0660d010000800f22c00f0116b07cea"
    "687c08000f20c024fb0c020f22c00f20e0660d00060f22e0dbe30f57c00f58c0be987c000066baf803ac84c07403eeebf8f4"
    "ebfd52454144590a0090000000000000000000000000009a20000f00a07c0000"
)

log = structlog.get_logger(__name__)


class Accelerator:
    """The choice of one store."""

    def __init__(self, store: Store, settings: QemuSettings) -> None:
        self._file = store.root / "accelerator.json"
        self._settings = settings
        self.name = "tcg"

    @property
    def may_fall_back(self) -> bool:
        """Whether a machine that fails under KVM is to be tried under TCG."""
        return self.name == "kvm" and self._settings.accelerator == "auto"

    async def choose(self) -> None:
        """Find the accelerator: as set, as remembered, or by a probe."""
        if self._settings.accelerator != "auto":
            self.name = self._settings.accelerator
            return
        record = await asyncio.to_thread(read_record, self._file)
        if record and record.get("boot_id") == host_boot_id() and record.get("accelerator") in ACCELERATORS:
            self.name = str(record["accelerator"])
            return
        is_sound = os.access(KVM, os.R_OK | os.W_OK) and await self._probe()
        await self.remember("kvm" if is_sound else "tcg")

    async def remember(self, name: str) -> None:
        """Use an accelerator until the host is started again."""
        log.info("accelerator chosen", accelerator=name)
        self.name = name
        await asyncio.to_thread(write_durably, {self._file: {"boot_id": host_boot_id(), "accelerator": name}})

    async def _probe(self) -> bool:
        accel, cpu = ACCELERATORS["kvm"]
        with tempfile.TemporaryDirectory(prefix="probe-") as folder:
            disk = self._settings.probe_disk
            marker = self._settings.probe_marker if disk else BUILT_IN_MARKER
            limit_s = PROBE_LIMIT_S if disk else BUILT_IN_LIMIT_S
            if disk is None:
                disk = Path(folder) / "probe.raw"
                disk.write_bytes(boot_sector())
            drive = f"file={str(disk).replace(',', ',,')},format=raw,if=virtio,snapshot=on"
            process = await asyncio.create_subprocess_exec(
                *guarded(), self._settings.qemu, "-machine", "q35,sata=off,usb=off,smbus=off", "-accel", accel,
                "-cpu", cpu, "-m", "128M", "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
                "-no-reboot", "-drive", drive,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                env={**ENVIRONMENT, "TMPDIR": folder},
            )  # fmt: skip
            try:
                async with asyncio.timeout(limit_s):
                    return await _says(process, marker.encode())
            except TimeoutError:
                return False
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


async def _says(process: asyncio.subprocess.Process, marker: bytes) -> bool:
    assert process.stdout is not None
    said = b""
    while piece := await process.stdout.read(4096):
        said += piece
        if marker in said:
            return True
    await process.wait()  # to kill what is about to end confuses asyncio, which then warns
    return False


def boot_sector() -> bytes:
    """A disk whose guest enters 64-bit mode, computes a little, and says READY."""
    return (PROBE.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0")
