"""Assemble hello.asm and rewrite code.py from it: `python -m app.demo.hello`. Needs nasm."""

import base64
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE / "hello.asm"
MODULE = HERE / "code.py"
_COLUMNS = 100


def assemble() -> bytes:
    """Return the program's bytes, whole sectors that start with the boot sector.

    Raises:
        FileNotFoundError: nasm is not installed.
        subprocess.CalledProcessError: the source has errors or warnings; nasm printed them.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "hello.bin")
        subprocess.run(["nasm", "-f", "bin", "-Wall", "-Werror", "-o", target, SOURCE], check=True)
        return target.read_bytes()


def module_text(code: bytes) -> str:
    """Return the source of code.py for these bytes."""
    encoded = base64.b64encode(code).decode()
    lines = [encoded[at : at + _COLUMNS] for at in range(0, len(encoded), _COLUMNS)]
    return "\n".join(
        [
            '"""The bytes of hello.asm, made by `python -m app.demo.hello`: do not edit."""',
            "",
            "import base64",
            "",
            "CODE = base64.b64decode(",
            *(f'    "{line}"' for line in lines),
            ")",
            "",
        ]
    )


if __name__ == "__main__":
    code = assemble()
    MODULE.write_text(module_text(code))
    print(f"{MODULE.name}: {len(code)} bytes")
