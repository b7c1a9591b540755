"""The steps of the Dockerfile in a plain folder, where there is no container engine: build, run as another user, ask its health, stop.

What differs from a container: each stage's root is a folder, so absolute paths of ours (/srv, /data) are put below it; the base image is
this machine with its own Python; steps that install or add users for the whole system are left to the machine and printed as such.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

from dockerfile_parse import DockerfileParser

REPOSITORY = Path(__file__).parent.parent
OURS = ("/srv", "/data")
UNPRIVILEGED = 65534
"""Uid and gid of nobody, who stands for the container's user."""


class Stage:
    """One FROM with what follows."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name, self.workdir, self.env = root, name, "/", dict[str, str]()
        self.entrypoint: list[str] = []
        self.command: list[str] = []
        self.health: list[str] = []

    def inside(self, path: str) -> Path:
        """A path of the container as one of this machine."""
        return self.root / os.path.normpath(os.path.join(self.workdir, path)).lstrip("/")

    def below(self, text: str) -> str:
        """A text with our absolute paths put below the stage's root."""
        for path in OURS:
            text = text.replace(path, str(self.root / path.lstrip("/"))) if text.startswith(path) else text
        return text


def build(work: Path) -> Stage:
    """All stages; the last one."""
    parser = DockerfileParser(path=str(REPOSITORY / "Dockerfile"))
    stages: dict[str, Stage] = {}
    stage = Stage(work, "")
    for step in parser.structure:
        kind, value = step["instruction"], step["value"]
        print(f"  {kind} {value[:110]}", flush=True)
        if kind == "FROM":
            name = value.split(" AS ")[1] if " AS " in value else "final"
            stage = stages[name] = Stage(work / name, name)
            stage.root.mkdir()
        elif kind == "WORKDIR":
            stage.workdir = value
            stage.inside(".").mkdir(parents=True, exist_ok=True)
        elif kind == "COPY":
            copy(stage, stages, value.split())
        elif kind == "RUN":
            run(stage, value)
        else:
            remember(stage, kind, value)
    return stage


def copy(stage: Stage, stages: dict[str, Stage], words: list[str]) -> None:
    """From the repository, only what .dockerignore lets through, or from an earlier stage."""
    source, target = words[-2], stage.inside(words[-1])
    if words[0].startswith("--from="):
        shutil.copytree(
            stages[words[0].removeprefix("--from=")].inside(source), target, symlinks=True, dirs_exist_ok=True
        )
        return
    allowed = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert source in allowed, f"{source} is kept out by .dockerignore"
    if (REPOSITORY / source).is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / source, target, dirs_exist_ok=True, ignore=ignored)
    else:
        shutil.copy(REPOSITORY / source, target)


def run(stage: Stage, value: str) -> None:
    """In the stage's folder, unless it is about the whole system."""
    if "apt-get" in value:
        for tool in ("qemu-system-x86_64", "qemu-img"):
            assert shutil.which(tool), f"{tool} is not installed"
        print("    (the machine has these packages)", flush=True)
        return
    base = stage.root / "base"
    base.mkdir(exist_ok=True)
    if not (base / "python").exists():  # Debian's, which every user may run, stands for the base image's
        (base / "python").symlink_to(shutil.which("python3", path="/usr/bin") or sys.executable)
    environment = {**os.environ, "PATH": f"{base}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-euc", value], cwd=stage.inside("."), check=True, env=environment)


def remember(stage: Stage, kind: str, value: str) -> None:
    """What matters when it runs."""
    if kind == "ENV":
        stage.env |= dict(pair.split("=", 1) for pair in value.split())
    elif kind == "ENTRYPOINT":
        stage.entrypoint = json.loads(value)
    elif kind == "CMD":
        stage.command = json.loads(value)
    elif kind == "HEALTHCHECK":
        stage.health = json.loads(value[value.index("[") :])


def try_out(stage: Stage) -> None:
    """Start it as nobody, wait until its health check is content, stop it."""
    moved = relocated(stage)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    data = stage.root / "data"
    data.mkdir()
    if os.getuid() == 0:
        os.chown(data, UNPRIVILEGED, UNPRIVILEGED)
    env = {"PATH": os.environ["PATH"], "HOME": str(data)} | {k: stage.below(v) for k, v in stage.env.items()}
    who = {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []} if os.getuid() == 0 else {}
    command = [*moved, *[port if word == "8000" else word for word in stage.command]]
    service = subprocess.Popen(command, cwd=stage.inside("."), env=env, **who)  # type: ignore[call-overload]
    check = [
        stage.below(str(stage.inside(stage.health[0]))),
        *[w.replace(":8000", f":{port}") for w in stage.health[1:]],
    ]
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(check, env=env, capture_output=True, check=False).returncode:
            assert service.poll() is None, f"the service ended with {service.returncode}"
            assert time.monotonic() < deadline, "the health check is not content after a minute"
            time.sleep(0.2)
        print("  healthy", flush=True)
    finally:
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0, f"stopped with {service.returncode}"
    print("  stopped", flush=True)


def relocated(stage: Stage) -> list[str]:
    """The entry point, with the virtual environment told where it now is: in a container it does not move."""
    python = stage.inside(stage.entrypoint[0])
    assert python.exists(), python
    return [str(python), *stage.entrypoint[1:]]


if __name__ == "__main__":
    folder = Path(mkdtemp(prefix="image-"))
    folder.chmod(0o755)
    try:
        try_out(build(folder))
    finally:
        shutil.rmtree(folder)
