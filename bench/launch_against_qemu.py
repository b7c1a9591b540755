"""A launch through the API beside QEMU itself: `python -m bench.launch_against_qemu`.

One side is the running service: from sending launchEcs until hello's first line is in the console's file. The other is the limit:
the very command line of such a machine, started by hand on a fresh overlay that was made before, until its first line. Both are
watched in the same way, in turn, so that whatever else the host does meets both.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

from app.engines.qemu.layers import OPTIONS, SUFFIX, read_header
from bench.running import Client, Failed, host_load, service

LOOK_EVERY_S = 0.001
LIMIT_S = 60.0
WARM_UPS = 2
TARGET = 1.5


@dataclass
class ByHand:
    """The command line of a machine of the service, with what it needs, to be started without it."""

    command: list[str]
    machine_id: str
    layer: str
    base: Path
    virtual_bytes: int
    seed: bytes
    folder: Path

    @classmethod
    def like(cls, engine: Path, machine_id: str, folder: Path) -> ByHand:
        """As a running machine was started."""
        own = engine / "machines" / machine_id
        pid = json.loads((own / "process.json").read_bytes())["pid"]
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
        (disk,) = json.loads((own / "spec.json").read_bytes())["disks"]
        layer = json.loads((engine / "disks" / f"{disk}.json").read_bytes())["layer"]
        header = read_header(engine / "layers" / (layer + SUFFIX))
        if header is None or header.backing is None:
            raise Failed("the machine's disk does not stand on its image")
        base = engine / "layers" / header.backing
        return cls(command, machine_id, layer, base, header.virtual_bytes, (own / "seed.iso").read_bytes(), folder)

    def first_line_s(self, create_s: list[float]) -> float:
        """How long a fresh one takes; how long its overlay took is told aside."""
        machine_id, layer = str(uuid4()), uuid4().hex[: len(self.layer)]
        own, layers = self.folder / "machines" / machine_id, self.folder / "layers"
        own.mkdir(parents=True)
        layers.mkdir(exist_ok=True)
        overlay = layers / (layer + SUFFIX)
        began = time.perf_counter()
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", OPTIONS, "-F", "qcow2", "-b", str(self.base)]
        subprocess.run([*create, str(overlay), str(self.virtual_bytes)], check=True)
        create_s.append(time.perf_counter() - began)
        (own / "seed.iso").write_bytes(self.seed)
        command = [word.replace(self.machine_id, machine_id).replace(self.layer, layer) for word in self.command]
        with (own / "qemu.err").open("wb") as errors:
            began = time.perf_counter()
            process = subprocess.Popen(command, cwd=own, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        try:
            until_first_line(own / "console.log")
            return time.perf_counter() - began
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(own)
            overlay.unlink()


@dataclass
class Times:
    """Seconds of each round."""

    service: list[float] = field(default_factory=list)
    by_hand: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    done: list[float] = field(default_factory=list)
    create: list[float] = field(default_factory=list)

    def show(self) -> None:
        """Print the table."""
        rows = {
            "launchEcs, to hello's first line": self.service,
            "the same QEMU by hand, to hello's first line": self.by_hand,
            "(launchEcs, to the mutation's answer)": self.answered,
            "(launchEcs, to the job's SUCCESS; the console is looked at first)": self.done,
            "(qemu-img create of one overlay, by hand)": self.create,
        }
        print(f"{len(self.service)} pairs, {host_load()}\n")
        print(f"{'ms':66} median     min     max")
        for what, times in rows.items():
            print(f"{what:66} {statistics.median(times) * 1e3:6.0f} {min(times) * 1e3:7.0f} {max(times) * 1e3:7.0f}")
        ratio = statistics.median(self.service) / statistics.median(self.by_hand)
        pairs = [mine / limit for mine, limit in zip(self.service, self.by_hand, strict=True)]
        print(f"\nratio of the medians {ratio:.2f}, median of the pairs' ratios {statistics.median(pairs):.2f}", end="")
        print(f" (at most {TARGET} is wanted)")


def until_first_line(log: Path) -> None:
    """Return as soon as a console's file holds a whole line.

    Raises: Failed: there is none for a long time.
    """
    deadline = time.perf_counter() + LIMIT_S
    while time.perf_counter() < deadline:
        try:
            if b"\n" in log.read_bytes():
                return
        except FileNotFoundError:
            pass
        time.sleep(LOOK_EVERY_S)
    raise Failed(f"no line for {LIMIT_S:g} s")


def by_service(client: Client, engine: Path, times: Times) -> str:
    """Launch a machine; its id in the store."""
    began = time.perf_counter()
    payload = client.launch()
    times.answered.append(time.perf_counter() - began)
    machine_id: str = payload["ecsInstances"][0]["uuid"]
    until_first_line(engine / "machines" / machine_id / "console.log")
    times.service.append(time.perf_counter() - began)
    client.finish(payload["job"]["id"])
    times.done.append(time.perf_counter() - began)
    return machine_id


def measure(pairs: int) -> Times:
    """Both sides in turn, each first as often as the other."""
    folder = Path(mkdtemp(prefix="b"))
    try:
        with service() as (client, engine):
            machine_id = by_service(client, engine, Times())
            hand = ByHand.like(engine, machine_id, folder)
            client.delete(machine_id)
            times = Times()
            for number in range(WARM_UPS + pairs):
                if number == WARM_UPS:
                    times = Times()
                if number % 2:
                    times.by_hand.append(hand.first_line_s(times.create))
                client.delete(by_service(client, engine, times))
                if not number % 2:
                    times.by_hand.append(hand.first_line_s(times.create))
            return times
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time launches through the API beside the same QEMU started by hand.")
    parser.add_argument("--pairs", type=int, default=20, help="how many of each (default: 20)")
    measure(parser.parse_args().pairs).show()


if __name__ == "__main__":
    main()
