"""What the service logs: one JSON object a line where nobody watches, and never a local variable."""

import json
import subprocess
import sys

PROGRAM = """
import logging, sys
import structlog
from app import logs

logs.configure(sys.argv[1], sys.argv[2])
log = structlog.get_logger("app.some")

def fail():
    token = "img_" + "hush"
    raise ValueError("no good")

with structlog.contextvars.bound_contextvars(request_id="r-1"):
    log.info("it_happened", ecs_id="e-1")
    logging.getLogger("library").warning("told %s", "so", extra={"size": 3})
    logging.getLogger("uvicorn.error").info("chatter")
    try:
        fail()
    except ValueError:
        log.exception("it_failed")
"""


def logged(level, form):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, level, form], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == ""
    return done.stderr


def test_without_a_terminal_each_line_is_an_object():
    happened, told, failed = map(json.loads, logged("info", "auto").splitlines())

    assert happened.items() >= {
        "event": "it_happened", "level": "info", "logger": "app.some", "ecs_id": "e-1", "request_id": "r-1"
    }.items()  # fmt: skip
    assert told.items() >= {"event": "told so", "level": "warning", "logger": "library", "size": 3}.items()
    assert failed["request_id"] == "r-1"
    assert failed["exception"][0]["exc_value"] == "no good"
    assert all("locals" not in frame for frame in failed["exception"][0]["frames"])


def test_no_format_shows_local_variables():
    shown = logged("debug", "console")

    assert "ValueError: no good" in shown
    assert "hush" not in shown.replace('"img_" + "hush"', "")


def test_level_leaves_the_rest_out():
    told, *failed = logged("warning", "console").splitlines()

    assert "told so" in told
    assert "it_failed" in failed[0]
