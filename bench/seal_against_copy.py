"""A full-ECS image beside a system disk image of the same running ECS: `python -m bench.seal_against_copy`.

The ECS has one disk, which is filled while it is off: half random bytes, half program code. Then it runs, and images of both kinds
are made of it through the API, in turn; each is timed from its mutation to the SUCCESS of its job, and deleted again. The one is
sealed, the other sealed and copied, so the first should take the same time however much the disk holds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from app.engines.qemu.layers import SUFFIX
from bench.running import Client, host_load, service

GIB = 1 << 30
MIB = 1 << 20
CHUNK_BYTES = 64 * MIB
DISK_GIB = 8
FIRST_MIB = 1
"""Below are hello's own sectors."""
FULL_FOR_EACH_COPY = 3
TARGET = 60
CREATE = """mutation($input: CreateImageInput!) { createImage(input: $input) {
  image { id } job { id } userErrors { code message } } }"""
DELETE = "mutation($id: ID!) { deleteImages(input: {imageIds: [$id]}) { userErrors { code message } } }"
UNFINISHED = "{ jobs(filter: {status: [INIT, RUNNING]}, first: 100) { nodes { id } } }"
OPERATE = "mutation($ids: [ID!]!) {{ {0}(input: {{ecsIds: $ids{1}}}) {{ results {{ job {{ id }} }} userErrors {{ code message }} }} }}"
STOP, START = OPERATE.format("stopEcs", ", force: true"), OPERATE.format("startEcs", "")


class Made(list[tuple[float, int]]):
    """Images of one kind of one size: seconds, and bytes that the store took for it."""

    @property
    def median_s(self) -> float:
        """Of the times."""
        return statistics.median(seconds for seconds, _ in self)

    def show(self, what: str) -> None:
        """Print a line for all of them."""
        times = " ".join(f"{seconds:.3f}" for seconds, _ in self)
        took = statistics.median(taken for _, taken in self) / MIB
        print(f"  {what:20} median {self.median_s:7.3f} s, {took:8.1f} MiB more in the store   ({times})")


def fill(engine: Path, disk_id: str, folder: Path, begin: int, end: int) -> None:
    """Have a disk of a stopped machine hold data between two places."""
    layer = json.loads((engine / "disks" / f"{disk_id}.json").read_bytes())["layer"]
    pattern = folder / "pattern"
    code = Path(sys.executable).resolve().read_bytes()
    half = CHUNK_BYTES // 2
    # No block of zeroes in it: such clusters would not be copied.
    pattern.write_bytes(os.urandom(half) + (code.replace(bytes(8), b"not zero") * (half // len(code) + 2))[:half])
    commands: list[str] = []
    for offset in range(begin, end, CHUNK_BYTES):
        commands += ["-c", f"write -q -s {pattern} {offset} {min(CHUNK_BYTES, end - offset)}"]
    subprocess.run(["qemu-io", "-f", "qcow2", *commands, str(engine / "layers" / (layer + SUFFIX))], check=True)
    pattern.unlink()
    os.sync()


def make_image(client: Client, engine: Path, ecs_id: str, source: str) -> tuple[float, int]:
    """Make one and delete it: seconds, and bytes it took."""
    before = stored_bytes(engine)
    wanted = {"name": "bench", "source": {source: {"ecsId": ecs_id}}}
    began = time.perf_counter()
    payload = client.ask(CREATE, input=wanted)
    client.finish(payload["job"]["id"])
    took = time.perf_counter() - began
    more = stored_bytes(engine) - before
    client.ask(DELETE, id=payload["image"]["id"])
    for job in client.ask(UNFINISHED)["nodes"]:
        client.finish(job["id"])
    os.sync()  # what is still to be written for one must not slow down the next
    return took, more


def stored_bytes(engine: Path) -> int:
    """What all layers take in the file system."""
    return sum(path.stat().st_blocks * 512 for path in (engine / "layers").iterdir())


def operate(client: Client, mutation: str, ecs_id: str) -> None:
    """Stop or start a machine."""
    for result in client.ask(mutation, ids=[ecs_id])["results"]:
        client.finish(result["job"]["id"])


def measure(sizes_gib: Sequence[int], copies: int) -> None:
    """Make images of a machine whose disk holds more and more, and print what they took."""
    full_medians: list[float] = []
    with service() as (client, engine):
        payload = client.launch(systemDisk={"sizeGib": DISK_GIB})
        client.finish(payload["job"]["id"])
        (ecs,) = payload["ecsInstances"]
        spec = json.loads((engine / "machines" / ecs["uuid"] / "spec.json").read_bytes())
        make_image(client, engine, ecs["id"], "fullEcs")  # a warm-up
        written = FIRST_MIB * MIB
        for size_gib in sizes_gib:
            operate(client, STOP, ecs["id"])
            fill(engine, spec["disks"][0], engine.parent, written, size_gib * GIB)
            written = size_gib * GIB
            operate(client, START, ecs["id"])
            full, copied = Made(), Made()
            for _ in range(copies):
                full += [make_image(client, engine, ecs["id"], "fullEcs") for _ in range(FULL_FOR_EACH_COPY)]
                copied.append(make_image(client, engine, ecs["id"], "ecs"))
            print(f"{size_gib} GiB written, {host_load()}")
            full.show("full-ECS image")
            copied.show("system disk image")
            at_least = f" (at least {TARGET} is wanted at 4 GiB)" if size_gib == 4 else ""
            print(f"  ratio {copied.median_s / full.median_s:.0f}{at_least}\n", flush=True)
            full_medians.append(full.median_s)
    for (small, large), (first, last) in zip(pairs(sizes_gib), pairs(full_medians), strict=True):
        print(f"full-ECS image, {large} GiB against {small} GiB: {last / first:.2f} (1 is flat)")


def pairs(values: Sequence[float]) -> list[tuple[float, float]]:
    """The first with each of the others."""
    return [(values[0], value) for value in islice(values, 1, None)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time full-ECS images beside system disk images of a running ECS.")
    parser.add_argument(
        "--gib",
        type=int,
        nargs="+",
        default=[1, 4],
        help=f"how much is written, rising, below {DISK_GIB} (default: 1 4)",
    )
    parser.add_argument("--copies", type=int, default=3, help="system disk images of each size (default: 3)")
    chosen = parser.parse_args()
    sizes = sorted(set(chosen.gib))
    if sizes[0] < 1 or sizes[-1] >= DISK_GIB:
        parser.error(f"--gib: from 1 to {DISK_GIB - 1}")
    measure(sizes, chosen.copies)


if __name__ == "__main__":
    main()
