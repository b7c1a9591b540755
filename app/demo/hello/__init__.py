"""Hello: a public image that any machine can boot, and that the tests boot instead of faking a machine.

A real-mode program of a few sectors (`hello.asm`; its bytes are in `code.py`). It answers about 0.1 s after power-on,
even without KVM, counts its boots on its own disk, reads its NoCloud seed, obeys a few commands and stops on the
power button. After a change of the source, `python -m app.demo.hello` assembles it again (it needs nasm).

**What it prints** on the first serial port; every line ends with CR LF. Boots are counted on the disk, so the count
lives as long as the disk's contents do; a reset is another boot. Without a seed, hostname and user data are empty::

    HELLO boots=3 hostname=web-1
    NOTE the note that the disk keeps
    USERDATA first line of the user data
    note hello
    and so on
    > note hello
     ok
    READY

In user data and in sectors a tab is printed as a blank, any other control character as a dot, and bytes from 0x80 as
they are; a CR in user data is left out. Up to 60 KiB of user data are shown and obeyed.

**Commands** are lines of user data, obeyed at every boot before READY and printed after "> ", or lines typed on the
console, which echoes them. A line holds up to 512 bytes; what follows is lost. `D` is the disk, one digit in the
firmware's order (0 is the one that booted), `LBA` and `COUNT` have 1 to 8 digits, and all numbers are hexadecimal.

- `note TEXT` keeps up to 503 bytes of TEXT on the disk, for the NOTE line of later boots; without TEXT, forgets them.
- `wD LBA TEXT` fills the sector with TEXT, over and over.
- `rD LBA` prints the first 64 bytes of the sector.
- `sD` prints how many sectors of 512 bytes the disk has, as eight digits.
- `fill D LBA COUNT TEXT` writes COUNT sectors as `fill_sector` describes, up to 64 KiB at a time: 128 MiB in 2 to 5 s
  under TCG, nearly all of it QEMU's time per request.
- `deaf` makes this boot ignore the power button.
- `off` powers off.

The answer is ` ok` or ` error` and the end of the line, behind the data if there is any: `rD` answers 64 characters
and ` ok`. Arguments that make no sense, sectors behind the disk's end (`fill` writes those before it) and disks
that do not exist are errors. `off`,
like the power button, answers `BYE` and powers off (ACPI S5); the button is obeyed during a fill, too. Other lines
are left alone in user data, which may be a cloud-config or a script, and answered with `?` on the console; empty ones
are ignored.

**What it needs**: QEMU's q35 or pc machine with SeaBIOS, its disk first in the boot order, at most 16 disks. The seed
is the first of the other disks that is an ISO 9660 volume named CIDATA; as a CD-ROM it would not be seen. The firmware
looks for disks and their sizes at a reset only, so a disk that is plugged in or extended shows at the next boot.

**Its disk**: sector 0 is an MBR without partitions, the program lies in it and in those behind, sector 63
(`STATE_LBA`) holds the count of boots and the note; all others are free. The disk may be larger than its image.
"""

import struct
from itertools import cycle, islice

from app.demo.hello.code import CODE

SECTOR_BYTES = 512
STATE_LBA = 63
MIN_SIZE_BYTES = 1 << 20

_HEAD_BYTES = 64
_HASH = 0x9E3779B1
_MASK = 0xFFFFFFFF


def disk_image(size_bytes: int = MIN_SIZE_BYTES) -> bytes:
    """Return a raw disk that boots hello for the first time.

    Raises:
        ValueError: not a whole number of sectors, or less than 1 MiB.
    """
    if size_bytes < MIN_SIZE_BYTES or size_bytes % SECTOR_BYTES:
        raise ValueError(f"a hello disk has whole sectors and at least {MIN_SIZE_BYTES} bytes, not {size_bytes}")
    return CODE.ljust(size_bytes, b"\0")


def fill_sector(lba: int, text: bytes) -> bytes:
    """Return the 512 bytes that `fill` writes to sector `lba`, so that a disk can be checked from outside.

    No two sectors are alike, and they hardly compress: 64 readable bytes (the LBA as eight hexadecimal digits, a
    blank, TEXT over and over), then 448 from a linear congruential generator (constants of Numerical Recipes) that
    starts from a multiplicative hash of TEXT and LBA.
    """
    head = b"%08x " % lba + bytes(islice(cycle(text), _HEAD_BYTES - 9))
    word = 0
    for (part,) in struct.iter_unpack("<I", head[8:]):
        word = ((word ^ part) * _HASH) & _MASK
    word = ((word ^ lba) * _HASH) & _MASK
    body = bytearray()
    while len(head) + len(body) < SECTOR_BYTES:
        word = (word * 1664525 + 1013904223) & _MASK
        body += struct.pack("<I", word)
    return head + bytes(body)
