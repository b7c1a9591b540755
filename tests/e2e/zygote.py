"""Runs the command line again and again, by forking a process that has imported it: that is what takes long at each start.

A line on standard input is the arguments, what is different in the environment, and whether the process is armed from the beginning, as
JSON. The answer is the process's id, and once it has ended its exit status. The one argument of the zygote itself is the folder by which
those processes are told whom to kill (tests.e2e.aim).
"""

import json
import os
import sys
from pathlib import Path

from app import asgi, serving, worker  # noqa: F401 - imported for those to come
from app.__main__ import main
from app.demo import access  # noqa: F401
from app.engines.qemu import running
from tests.e2e.aim import Watch
from tests.engines.victim import AuditedMonitor


def run(folder: Path) -> None:
    """Serve until standard input ends."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            arguments, environment, is_armed = json.loads(line)
            sys.argv = ["app", *arguments]
            os.environ.update(environment)
            running.Monitor = AuditedMonitor  # type: ignore[misc]
            Watch(folder).install(is_armed=is_armed)
            sys.exit(main())
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
