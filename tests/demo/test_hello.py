"""Hello in real machines: each test boots one, which takes a tenth of a second."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.demo.hello import MIN_SIZE_BYTES, STATE_LBA, disk_image, fill_sector
from app.demo.hello import __main__ as build
from app.demo.hello.code import CODE
from app.engines.qemu.seed import build_seed

DEADLINE_S = 60.0
QEMU = "qemu-system-x86_64"


class Machine:
    """A running hello, seen through its serial console and its monitor."""

    def __init__(self, process: subprocess.Popen[bytes], console: socket.socket, monitor: socket.socket) -> None:
        self.process = process
        self._console = console
        self._monitor = monitor
        self._unread = b""

    def read_until(self, end: bytes) -> bytes:
        """What came since the last call, up to and including `end`."""
        while end not in self._unread:
            more = self._console.recv(4096)
            assert more, f"the machine is gone, its last words: {self._unread!r}"
            self._unread += more
        found, _, self._unread = self._unread.partition(end)
        return found + end

    def type(self, keys: bytes) -> None:
        self._console.sendall(keys)

    def ask(self, line: bytes) -> bytes:
        """Type a line and return the line of the answer."""
        self.type(line + b"\r")
        self.read_until(line + b"\r\n")
        return self.read_until(b"\r\n").removesuffix(b"\r\n")

    def command(self, name: str) -> None:
        self._monitor.sendall(json.dumps({"execute": name}).encode())

    def wait_for_event(self, name: bytes) -> None:
        seen = b""
        while name not in seen:
            seen += self._monitor.recv(4096)

    def last_words(self) -> bytes:
        """What it prints until the process ends by itself."""
        words = self._unread
        while more := self._console.recv(4096):
            words += more
        assert self.process.wait(DEADLINE_S) == 0
        return words


@contextmanager
def running(*disks: Path, formats: str = "raw") -> Iterator[Machine]:
    """Boot the first disk beside the others."""
    if not shutil.which(QEMU):
        pytest.fail(f"{QEMU} is missing: apt-get install --no-install-recommends qemu-system-x86 qemu-utils")
    command = [QEMU, "-M", "q35,sata=off,usb=off,smbus=off", "-accel", "tcg,thread=multi", "-m", "64", "-nodefaults"]
    command += ["-no-user-config", "-display", "none"]
    for index, disk in enumerate(disks, start=1):
        name = f"disk{index}"
        file = {"driver": "file", "filename": str(disk), "cache": {"no-flush": True}}
        node = {"driver": formats if index == 1 else "raw", "node-name": name, "file": file}
        command += ["-blockdev", json.dumps(node), "-device", f"virtio-blk-pci,drive={name},bootindex={index}"]
    console, console_of_qemu = socket.socketpair()
    monitor, monitor_of_qemu = socket.socketpair()
    with console, monitor, console_of_qemu, monitor_of_qemu:
        files = (console_of_qemu.fileno(), monitor_of_qemu.fileno())
        command += ["-chardev", f"socket,id=console,fd={files[0]}", "-serial", "chardev:console"]
        command += ["-chardev", f"socket,id=monitor,fd={files[1]}", "-mon", "chardev=monitor,mode=control"]
        console.settimeout(DEADLINE_S)
        monitor.settimeout(DEADLINE_S)
        with subprocess.Popen(command, pass_fds=files) as process:
            console_of_qemu.close()
            monitor_of_qemu.close()
            machine = Machine(process, console, monitor)
            machine.command("qmp_capabilities")
            try:
                yield machine
            finally:
                process.kill()


def boot(*disks: Path) -> list[str]:
    """The lines of a machine that powers off by itself, without BYE."""
    with running(*disks) as machine:
        lines = machine.last_words().decode(errors="surrogateescape").split("\r\n")
    assert lines[-2:] == ["BYE", ""]
    return lines[:-2]


@pytest.fixture
def system_disk(tmp_path: Path) -> Path:
    disk = tmp_path / "system.raw"
    disk.write_bytes(disk_image())
    return disk


@pytest.fixture
def data_disk(tmp_path: Path) -> Path:
    return make_empty(tmp_path / "data.raw", 4 << 20)


def make_empty(path: Path, size_bytes: int) -> Path:
    path.touch()
    os.truncate(path, size_bytes)
    return path


def make_seed(folder: Path, user_data: str | None = None) -> Path:
    seed = folder / "seed.iso"
    image = build_seed(
        instance_id="i-1",
        hostname="web-1",
        user_data=user_data,
        public_keys=["ssh-ed25519 AAAA me"],
        password_hash=None,
    )
    seed.write_bytes(image)
    return seed


def test_module_holds_what_nasm_makes_of_the_source() -> None:
    if not shutil.which("nasm"):
        pytest.fail("nasm is missing: apt-get install --no-install-recommends nasm")

    code = build.assemble()

    assert code == CODE, "hello.asm has changed: python -m app.demo.hello"
    assert build.MODULE.read_text() == build.module_text(code)


def test_program_leaves_the_partition_table_and_its_state_sector_alone() -> None:
    assert CODE[446:510] == bytes(64)
    assert len(CODE) <= STATE_LBA * 512


@pytest.mark.parametrize("size_bytes", [0, MIN_SIZE_BYTES - 512, MIN_SIZE_BYTES + 1])
def test_disk_of_no_good_size_is_refused(size_bytes: int) -> None:
    with pytest.raises(ValueError, match="whole sectors"):
        disk_image(size_bytes)


def test_first_boot_tells_hostname_note_and_user_data(system_disk: Path, tmp_path: Path) -> None:
    seed = make_seed(tmp_path, "#cloud-config\r\nnote hi there\nofficial: yes\n\nr1\n\x1b[2Jtab\there \x00 Käse")

    with running(system_disk, seed) as machine:
        lines = machine.read_until(b"READY\r\n").decode().split("\r\n")

    assert lines == [
        "HELLO boots=1 hostname=web-1",
        "NOTE ",
        "USERDATA #cloud-config",
        "note hi there",
        "official: yes",
        "",
        "r1",
        ".[2Jtab here . Käse",
        "> note hi there",
        " ok",
        "> r1",
        " error",
        "READY",
        "",
    ]


def test_boots_and_note_are_kept_on_the_disk(system_disk: Path, tmp_path: Path) -> None:
    long = "x" * 502 + "é"
    first = make_seed(tmp_path, f"note {long}\noff\nnote never\n")

    boot(system_disk, first)
    second = boot(system_disk, make_seed(tmp_path, "note\noff\n"))
    third = boot(system_disk, make_seed(tmp_path, "off\n"))

    kept = long.encode()[:503].decode(errors="surrogateescape")
    assert second[:2] == ["HELLO boots=2 hostname=web-1", f"NOTE {kept}"]
    assert third[:2] == ["HELLO boots=3 hostname=web-1", "NOTE "]


def test_without_a_seed_it_still_answers(system_disk: Path, data_disk: Path) -> None:
    with running(system_disk, data_disk) as machine:
        assert machine.read_until(b"READY\r\n") == b"HELLO boots=1 hostname=\r\nNOTE \r\nUSERDATA \r\nREADY\r\n"


def test_state_sector_with_something_else_starts_afresh(system_disk: Path) -> None:
    with system_disk.open("r+b") as disk:
        disk.seek(STATE_LBA * 512)
        disk.write(b"\xff" * 512)

    with running(system_disk) as machine:
        assert machine.read_until(b"READY\r\n").startswith(b"HELLO boots=1 hostname=\r\nNOTE \r\n")


def test_reset_is_another_boot(system_disk: Path, tmp_path: Path) -> None:
    with running(system_disk, make_seed(tmp_path)) as machine:
        machine.read_until(b"READY\r\n")
        assert machine.ask(b"deaf") == b" ok"

        machine.command("system_reset")

        assert machine.read_until(b"READY\r\n").startswith(b"HELLO boots=2 hostname=web-1\r\n")
        machine.command("system_powerdown")
        assert machine.last_words() == b"BYE\r\n"


def test_console_obeys_lines(system_disk: Path, data_disk: Path) -> None:
    with running(system_disk, data_disk) as machine:
        machine.read_until(b"READY\r\n")

        assert machine.ask(b"s1") == b"00002000 ok"
        assert machine.ask(b"w1 1fff some text ") == b" ok"
        assert machine.ask(b"r1 1FFF") == b"some text " * 6 + b"some ok"
        assert machine.ask(b"r1 0") == b"." * 64 + b" ok"
        for wrong in (
            b"r1 2000",
            b"w1 ffffffff x",
            b"r1 100000000",
            b"r1",
            b"r1 x",
            b"w1 0",
            b"w1 0 ",
            b"r2 0",
            b"sf",
            b"fill 1 0 1",
        ):
            assert machine.ask(wrong) == b" error", wrong
        for unknown in (b"w1x", b"offf", b"notes", b"fill", b"fill x 0 1 a", b"rg 0", b"caf\xc3\xa9"):
            assert machine.ask(unknown) == b"?", unknown

    assert data_disk.read_bytes()[-512:] == (b"some text " * 52)[:512]


def test_console_survives_what_people_type(system_disk: Path) -> None:
    with running(system_disk) as machine:
        machine.read_until(b"READY\r\n")

        machine.type(b"\r\n\n\0\x01note ab\x7f\x08c\xff\r\n")
        assert machine.read_until(b" ok\r\n") == b"note ab\b \b\b \bc\xff\r\n ok\r\n"
        machine.type(b"x" * 600 + b"\n")
        assert machine.read_until(b"?\r\n") == b"x" * 512 + b"\r\n?\r\n"
        assert machine.ask(b"note " + b"y" * 507) == b" ok"
        machine.command("system_reset")

        assert b"\r\nNOTE " + b"y" * 503 + b"\r\n" in machine.read_until(b"READY\r\n")


def test_fill_writes_what_the_module_describes(system_disk: Path, data_disk: Path, tmp_path: Path) -> None:
    seed = make_seed(tmp_path, "fill 1 7e 183 some text\nr1 200\nfill 1 1fff 2 x\nfill 1 0 0 x\noff\n")

    lines = boot(system_disk, data_disk, seed)

    assert lines[-9:-1] == [
        "> fill 1 7e 183 some text",
        " ok",
        "> r1 200",
        "00000200 some textsome textsome textsome textsome textsome texts ok",
        "> fill 1 1fff 2 x",
        " error",
        "> fill 1 0 0 x",
        " ok",
    ]
    written = data_disk.read_bytes()
    sectors = [written[at : at + 512] for at in range(0, len(written), 512)]
    assert sectors[0x7E:0x201] == [fill_sector(lba, b"some text") for lba in range(0x7E, 0x201)]
    assert sectors[0x1FFF] == fill_sector(0x1FFF, b"x")
    assert not any(map(any, sectors[:0x7E] + sectors[0x201:0x1FFF]))


def test_seed_is_found_behind_many_disks(system_disk: Path, tmp_path: Path) -> None:
    disks = [make_empty(tmp_path / f"{number}.raw", 1 << 20) for number in range(14)]
    seed = make_seed(tmp_path, "we 5 last\nrf 40\noff\n")

    lines = boot(system_disk, *disks, seed)

    assert lines[0] == "HELLO boots=1 hostname=web-1"
    assert lines[-5:-1] == ["> we 5 last", " ok", "> rf 40", ".CD001." + lines[-2][7:]]
    assert disks[-1].read_bytes()[5 * 512 :].startswith(b"lastlast")


def test_long_user_data_is_shown_and_obeyed(system_disk: Path, tmp_path: Path) -> None:
    padding = ["#" * 599] * 54
    user_data = "\n".join([*padding, "note " + "z" * 700, "off"])
    assert 32_000 < len(user_data) < 34_000

    lines = boot(system_disk, make_seed(tmp_path, user_data))

    assert "\n".join(lines[2:58]) == f"USERDATA {user_data}"
    assert lines[58:] == ["> note " + "z" * 507, " ok", "> off"]


def test_user_data_that_does_not_fit_is_cut(system_disk: Path, tmp_path: Path) -> None:
    user_data = "#\n" * 30_719 + "##" + "note lost\n" * 100

    with running(system_disk, make_seed(tmp_path, user_data)) as machine:
        text = machine.read_until(b"READY\r\n")

    assert text.endswith(b"#\r\n##\r\nREADY\r\n")
    assert b"lost" not in text


def test_console_that_nobody_reads_holds_nothing_up(system_disk: Path, tmp_path: Path) -> None:
    user_data = "#" * 40_000 + "\nnote done\noff\n"
    with running(system_disk, make_seed(tmp_path, user_data)) as machine:
        assert machine.process.wait(DEADLINE_S) == 0

    assert b"done" in system_disk.read_bytes()[STATE_LBA * 512 :][:512]


def test_power_button_powers_off(system_disk: Path) -> None:
    with running(system_disk) as machine:
        machine.read_until(b"READY\r\n")

        machine.command("system_powerdown")

        assert machine.last_words() == b"BYE\r\n"


def test_power_button_ends_a_long_fill(system_disk: Path, tmp_path: Path) -> None:
    disk = make_empty(tmp_path / "large.raw", 1 << 40)
    with running(system_disk, disk) as machine:
        machine.read_until(b"READY\r\n")
        machine.type(b"fill 1 0 7fffffff x\r")
        machine.read_until(b"x\r\n")

        machine.command("system_powerdown")

        assert machine.last_words() == b"BYE\r\n"


def test_deaf_machine_ignores_the_power_button(system_disk: Path, tmp_path: Path) -> None:
    with running(system_disk, make_seed(tmp_path, "deaf\n")) as machine:
        machine.read_until(b"READY\r\n")

        machine.command("system_powerdown")
        machine.wait_for_event(b'"POWERDOWN"')

        assert machine.ask(b"note still here") == b" ok"
        assert machine.process.poll() is None


def test_overlay_may_be_larger_than_the_image(system_disk: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", system_disk.name, str(overlay), "64G"]
    subprocess.run(create, check=True)

    with running(overlay, formats="qcow2") as machine:
        machine.read_until(b"READY\r\n")

        assert machine.ask(b"s0") == b"08000000 ok"
        assert machine.ask(b"w0 7ffffff end") == b" ok"
        assert machine.ask(b"w0 8000000 end") == b" error"

    assert system_disk.read_bytes() == disk_image()
