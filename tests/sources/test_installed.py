"""Public images that the installation itself brings."""

from app.jobs.models import Job
from app.projects import service as projects
from app.sources import installed
from app.sources.installed import PublicImage


async def test_file_that_cannot_be_taken_in_is_removed_all_the_same(project, service):
    alice = await project("alice")
    path = service.settings.data_dir.resolve() / f"{alice.name}.raw"
    path.write_bytes(b"no disk at all" * 100)
    image = PublicImage(name=alice.name, path=path, format="qcow2", size_gib=1, columns={}, tags={})

    image_id = await installed.install(await projects.project_named(alice.name), image)
    job = await alice.wait(str((await Job.get(image_id=image_id)).id))

    assert (job["status"], job["image"]["status"]) == ("FAIL", "KILLED")
    assert not path.exists()
