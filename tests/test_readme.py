"""The README holds: its examples run as they stand, its settings are the ones there are, its commands name packages that exist."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from app.demo import access
from app.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def marked(kind: str) -> list[str]:
    return re.findall(rf"<!-- {kind} -->\n```\w+\n(.*?)```", README, re.DOTALL)


def settings_table() -> str:
    rows = ["| variable | default | |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        variable = "DATABASE_URL" if name == "database_url" else f"IMAGE_SERVICE_{name.upper()}"
        default = "" if field.default in (None, ()) else f"`{field.default}`"
        rows.append(f"| `{variable}` | {default} | {field.description} |")
    return "\n".join(rows)


async def test_examples_run_as_they_stand(service, tmp_path):
    given = await access.prepare(tmp_path)
    (tmp_path / ".data").mkdir()
    access.write(tmp_path / ".data", f"{service.url}/graphql", given)
    script = "\n".join(marked("example"))

    output = await run(script, tmp_path)

    assert "LAUNCH_ECS SUCCESS" in output
    assert "CREATE_FULL_ECS_IMAGE SUCCESS" in output
    assert "NOTE written by alice" in output
    assert output.count("DELETE_ECS SUCCESS") == 2


async def run(script: str, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


def test_settings_are_the_ones_there_are():
    table = settings_table()

    assert table in README, f"the settings in the README should be:\n\n{table}"


def test_commands_are_one_line_each():
    for name in ("command: demo", "command: test"):
        (command,) = marked(name)
        assert command.count("\n") == 1
