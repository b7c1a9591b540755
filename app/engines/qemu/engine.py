"""The QEMU engine, put together."""

from __future__ import annotations

import asyncio
import shutil
from uuid import UUID

from app.engines.base import Capabilities, Known, Report
from app.engines.qemu.accelerator import Accelerator
from app.engines.qemu.command import MAX_DATA_DISKS
from app.engines.qemu.consoles import QemuConsoles
from app.engines.qemu.contents import QemuContents
from app.engines.qemu.exporting import Exports
from app.engines.qemu.journal import Seals
from app.engines.qemu.layers import Layers
from app.engines.qemu.lending import QemuFiles
from app.engines.qemu.machines import QemuMachines
from app.engines.qemu.plugging import Plugs
from app.engines.qemu.records import Records
from app.engines.qemu.settings import QemuSettings
from app.engines.qemu.starting import Starter
from app.engines.qemu.store import Store
from app.engines.qemu.supervision import Supervision
from app.engines.qemu.tools import Tools
from app.enums import Architecture, Firmware
from app.errors import StartupError

__all__ = ["QemuEngine", "QemuSettings"]

CAPABILITIES = Capabilities(
    architectures=frozenset({Architecture.X86_64}),
    firmwares=frozenset({Firmware.BIOS}),
    max_data_disks=MAX_DATA_DISKS,
    live_seal=True,
    consistent_group=True,
)


class QemuEngine:
    """See `app.engines.base.Engine`."""

    def __init__(self, settings: QemuSettings) -> None:
        self._settings = settings
        self._store = Store(settings.root)
        self._layers = Layers(
            self._store.layers,
            Tools(
                settings.qemu_img,
                settings.tool_timeout_s,
                file_cpu_s=settings.file_cpu_s,
                file_wall_s=settings.file_wall_s,
            ),
        )
        self._records = Records(self._store)
        self._seals = Seals(self._store, self._layers, self._records)
        self._accelerator = Accelerator(self._store, settings)
        starter = Starter(settings, self._store, self._layers, records=self._records, accelerator=self._accelerator)
        plugs = Plugs(self._records)
        self._supervision = Supervision(settings, self._store, starter, accelerator=self._accelerator, plugs=plugs)
        self._machines = QemuMachines(
            self._store, self._records, self._seals, starter=starter, supervision=self._supervision, plugs=plugs
        )
        self._contents = QemuContents(
            self._store,
            self._layers,
            self._records,
            seals=self._seals,
            machines=self._machines,
            reserve_disk_bytes=settings.reserve_disk_bytes,
        )
        self._consoles, self._files = QemuConsoles(settings.root), QemuFiles(settings.root)

    @property
    def name(self) -> str:
        """As it is kept beside each content."""
        return "qemu"

    @property
    def capabilities(self) -> Capabilities:
        """What QEMU on this host can do."""
        return CAPABILITIES

    @property
    def machines(self) -> QemuMachines:
        """Its machines."""
        return self._machines

    @property
    def contents(self) -> QemuContents:
        """Its disks and contents."""
        return self._contents

    @property
    def consoles(self) -> QemuConsoles:
        """Its consoles."""
        return self._consoles

    @property
    def files(self) -> QemuFiles:
        """Its contents as files."""
        return self._files

    @property
    def accelerator(self) -> str:
        """The word for what the next machine gets; known once the engine is open."""
        return self._accelerator.name

    def layer_of(self, content_id: UUID) -> str:
        """The layer that a content is; for operators and tests, which look at its file. Raises: KeyError."""
        return self._records.contents[content_id].layer

    async def open(self) -> None:
        """Take the store, and find the machines that run on from an earlier time.

        Raises: StartupError.
        """
        for tool in (self._settings.qemu, self._settings.qemu_img, "setpriv", "prlimit", "env", "fallocate"):
            if shutil.which(tool) is None:
                raise StartupError(
                    f"{tool} is not installed; install the packages qemu-system-x86, qemu-utils and util-linux."
                )
        await asyncio.to_thread(self._store.take)
        try:
            await asyncio.to_thread(self._load)
            await self._accelerator.choose()
            await self._supervision.find_again()
            self._supervision.open()
        except BaseException:
            await self.close()
            raise

    async def reconcile(self, known: Known) -> Report:
        """Finish or undo what a crash cut short, and remove what nobody knows."""
        await self._machines.recover_seals()
        await self._machines.plug_missing()
        removed = [f"machine {machine_id}" for machine_id in await self._machines.remove_unknown(set(known.machines))]
        for disk_id in self._records.disks.keys() - set(known.disks):
            await self._records.forget_disk(disk_id)
            removed.append(f"disk {disk_id}")
        for content_id in self._records.contents.keys() - set(known.contents):
            await self._records.forget_content(content_id)
            removed.append(f"content {content_id}")
        removed += [f"layer {name}" for name in await self._layers.sweep(self._records.roots)]
        running = {
            machine_id: machine.facts()
            for machine_id, machine in self._supervision.running.items()
            if not machine.guest_off.is_set()
        }
        off = [machine_id for machine_id in self._machines.known() if machine_id not in running]
        return Report(running=running, off=off, removed=removed, host_rebooted=self._supervision.host_rebooted)

    async def close(self) -> None:
        """Let go of the store. Machines run on."""
        await self._supervision.close()
        self._store.let_go()

    def _load(self) -> None:
        self._store.clear_temporary()
        Exports(self._store).clear()
        self._records.load()
        self._seals.load()
