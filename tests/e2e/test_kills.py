"""Service, machine or tool killed at any point of any work: jobs end, bytes stay, nothing is left behind. A new kind of job is a line here.

Each kind is run undisturbed first, so that its points are known. With `--kills 50` fifty killings follow instead of one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.backups.looking import RESTORE, back_up
from tests.disks.acting import changed, create, image_of
from tests.e2e.aim import Victim
from tests.e2e.scene import Kind, Scene
from tests.exports.test_exports import begin as export

MACHINE, TOOL = Victim.MACHINE, Victim.TOOL
LAYERS = 2
SHORTENING = {"UPKEEP_PERCENT": "100", "MAX_LAYERS": str(LAYERS)}
WEIGHTS = (3, 1, 1)
"""The service is killed more often than what works for it."""


async def full_image(scene: Scene) -> None:
    await scene.alice.make_image(scene.kept["id"], full=True, wait=False, name=scene.name())


async def system_image(scene: Scene) -> None:
    await scene.alice.make_image(scene.kept["id"], wait=False, name=scene.name())


async def backup(scene: Scene) -> None:
    await back_up(scene.alice, scene.kept["id"], wait=False, name=scene.name())


async def copy(scene: Scene) -> None:
    source = {"image": {"imageId": scene.image["id"]}}
    await image_of(scene.alice, source, wait=False, name=scene.name(scene.image_state))


async def import_(scene: Scene) -> None:
    await image_of(scene.alice, await scene.uploaded(), wait=False, name=scene.name("data"))


async def import_from_url(scene: Scene) -> None:
    source = {"url": {"url": scene.mirror.url(), "kind": "DATA_DISK"}}
    await image_of(scene.alice, source, wait=False, name=scene.name("data"))


async def export_(scene: Scene) -> None:
    await scene.forget_exports()
    await export(scene.alice, scene.image["id"], format="QCOW2")


async def restore(scene: Scene) -> None:
    scene.backups.reverse()
    await restore_to(scene, {"ecsId": scene.off["id"]})


async def restore_into_new(scene: Scene) -> None:
    await restore_to(scene, {"newEcs": {"name": "new", "flavorId": "t1.nano", "exposePorts": []}})


async def restore_to(scene: Scene, target: dict[str, object]) -> None:
    payload = await scene.alice.one(RESTORE, input={"backupId": scene.backups[0]["id"], "target": target})
    assert payload["userErrors"] == [], payload


async def launch(scene: Scene) -> None:
    await scene.alice.launch(scene.full_image["id"], wait=False, name="new", exposePorts=[22])


async def disk(scene: Scene) -> None:
    await create(scene.alice, imageId=scene.data_image["id"], wait=False, name=scene.name("data"))


async def disk_on_its_way(scene: Scene) -> None:
    (made,) = await create(scene.alice, imageId=scene.data_image["id"], name=scene.name("data"))
    await changed(scene.alice, "attachEvsDisk", diskId=made["id"], ecsId=scene.off["id"])
    await changed(scene.alice, "extendEvsDisk", diskId=made["id"], sizeGib=20)
    await changed(scene.alice, "detachEvsDisk", diskId=made["id"])


async def long_chains(scene: Scene) -> None:
    for _ in range(LAYERS):
        await back_up(scene.alice, scene.kept["id"], name=scene.name())


def are_short(scene: Scene) -> bool:
    return max(scene.books.depths(scene.kept["uuid"])) <= LAYERS


async def deletions(scene: Scene) -> None:
    image = await scene.alice.make_image(scene.kept["id"], full=True, name=scene.name())
    kept = await back_up(scene.alice, scene.kept["id"], name=scene.name())
    machine = await scene.alice.launch(image["id"], name="new")
    things = {"images": image, "backups": kept, "ecsInstances": machine}
    await scene.together(*(scene.delete(what, thing["id"]) for what, thing in things.items()))


async def everything(scene: Scene) -> None:
    sealing = scene.dice.choice([full_image, system_image, backup])
    works = [sealing, copy, import_, import_from_url, export_, restore, launch, disk]
    scene.dice.shuffle(works)
    await scene.together(*(work(scene) for work in works))


KINDS = [
    Kind("full-ECS image", full_image, [MACHINE, TOOL]),
    Kind("system disk image", system_image, [MACHINE, TOOL]),
    Kind("backup", backup, [MACHINE, TOOL]),
    Kind("copy", copy, [TOOL]),
    Kind("import", import_, [TOOL]),
    Kind("import from a url", import_from_url, [TOOL]),
    Kind("export", export_, [TOOL]),
    Kind("restore", restore, [TOOL], Scene.restored),
    Kind("restore into a new ECS", restore_into_new, [TOOL]),
    Kind("launch", launch, [TOOL]),
    Kind("disk from an image", disk, [TOOL]),
    Kind("disk attached, extended and detached", disk_on_its_way),
    Kind("compaction", long_chains, [MACHINE], settings=SHORTENING, is_done=are_short),
    Kind("deletions", deletions),
    Kind("everything at once", everything, [MACHINE, TOOL], Scene.restored),
]


class Stage:
    """The scene that all kinds play in, set anew after one of them has left something wrong."""

    def __init__(self) -> None:
        self._scene: Scene | None = None

    async def clear(self) -> Scene:
        """A scene with nothing in it but what was there from the beginning."""
        if self._scene is not None and not self._scene.is_sound:
            await self.close()
        if self._scene is None:
            self._scene = await Scene.set()
        return self._scene

    async def close(self) -> None:
        """End it."""
        if self._scene is not None:
            await self._scene.close()
            self._scene = None


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.close()


@pytest.fixture
async def scene(stage: Stage) -> AsyncIterator[Scene]:
    scene = await stage.clear()
    is_sound, scene.is_sound = scene.is_sound, False
    yield scene
    if is_sound and not scene.wrong:
        await scene.clear()
        scene.is_sound = True


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_whoever_is_killed_jobs_end_bytes_stay_and_nothing_is_left(scene: Scene, kind: Kind, request) -> None:
    victims = [Victim.SERVICE, *kind.victims]
    times = request.config.getoption("--kills")

    await scene.play(kind, Victim.NOBODY)
    for victim in scene.dice.choices(victims, weights=WEIGHTS[: len(victims)], k=times):
        await scene.play(kind, victim)

    assert scene.wrong == []
