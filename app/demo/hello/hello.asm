; Hello: a whole machine in a few sectors of its disk, for SeaBIOS on QEMU's q35.
;
; The protocol that it speaks on its serial console is described in the package's docstring. Build: python -m app.demo.hello
;
; Everything runs in 16-bit real mode with cs = ds = ss = 0; es is 0 except where a comment says otherwise, and fs is set
; anew after every BIOS call, which does not keep it. Disks are reached by the BIOS only (int 0x13 with 64-bit sector
; numbers), so the same bytes boot from virtio, SATA or NVMe.
;
; Memory:       0x07000  the stack grows down from here
;               0x07c00  this program
;               0x09000  STATE, VOLUME, DIR and LINE
;               0x0a000  variables
;               0x10000  TEXT_SEG: one file of the seed
;               0x20000  DATA_SEG: sectors on their way from or to a disk
;
; Nothing that changes shares a 4 KiB page with code: an emulating QEMU then looks for changed code at every write, which
; makes fill four times slower.

        bits 16

SECTOR          equ 512
STATE_LBA       equ 63                  ; our state on the boot disk, in the gap that partitioning tools leave
MAGIC           equ 'HELO'
STACK           equ 0x7000
PROGRAM         equ 0x7c00
STATE           equ 0x9000              ; that sector: magic, boots (32 bits), note (NUL-terminated)
BOOTS           equ STATE+4
NOTE            equ STATE+8
NOTE_MAX        equ SECTOR-8-1
VOLUME          equ 0x9200              ; first sector of the seed's volume descriptor
DIR             equ 0x9400              ; first block of the seed's root directory
DIR_BYTES       equ 2048
LINE            equ 0x9c00              ; the line that is typed or obeyed, NUL-terminated
LINE_MAX        equ 512
VARIABLES       equ 0xa000
TEXT_SEG        equ 0x1000
TEXT_MAX        equ 60*1024             ; a whole number of sectors, and an offset in it fits 16 bits even after rounding up
DATA_SEG        equ 0x2000
RUN             equ 128                 ; sectors per transfer of fill: SeaBIOS takes 64 KiB, which is also qcow2's cluster
HEAD_BYTES      equ 64                  ; the readable part of a filled sector, and what r shows
HASH            equ 0x9e3779b1          ; a prime near 2^32 divided by the golden ratio: mixes well

COM1            equ 0x3f8
LSR             equ COM1+5
RECEIVED        equ 1<<0                ; a character has come
THR_EMPTY       equ 1<<5                ; one may go out
ALL_SENT        equ 1<<6
PM1_STS         equ 0x600               ; SeaBIOS puts the ACPI registers here; bit 8: power button
PM1_EN          equ 0x602
PM1_CNT         equ 0x604
PM_TMR          equ 0x608               ; counts at 3 579 545 Hz
PATIENCE        equ 2*3579545
BUTTON          equ 1<<8
SLEEP_S5        equ 1<<13               ; SLP_EN with SLP_TYP 0, which QEMU takes for power off

; ---- Boot sector: load the rest ----

        org PROGRAM
start:  jmp 0:.here
.here:  xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, STACK
        cld
        sti
        mov di, VARIABLES
        mov cx, VARIABLES_BYTES
        rep stosb
        mov word [line_end], LINE
        mov [boot_drive], dl
        mov ah, 0x42
        mov ebx, 1
        mov cx, SECTORS-1
        mov di, PROGRAM+SECTOR
        call disk
        jnc main
.halt:  hlt                             ; nothing to run, and no way to say so
        jmp .halt

; Moves sectors. In: ah = 0x42 to read, 0x43 to write; dl = drive; ebx = LBA; cx = sectors, up to RUN; es:di = memory.
; Out: carry on error. Keeps all registers.
disk:   pushad
        mov word [packet.bytes], 16
        mov [packet.count], cx
        mov [packet.offset], di
        mov [packet.segment], es
        mov [packet.lba], ebx
        mov al, 0                       ; write without verifying
        mov si, packet
        int 0x13
        popad
        ret

        times 446-($-$$) db 0
        times 64 db 0                   ; partition table: no partitions
        dw 0xaa55

; ---- What happens at each boot ----

main:   call open_events
        call count_boot
        call find_seed
        mov si, m_hello
        call puts
        mov eax, [BOOTS]
        call put_decimal
        mov si, m_hostname
        call puts
        mov eax, 'meta'
        call load_file
        call put_hostname
        call newline
        mov si, m_note
        call puts
        mov si, NOTE
        call puts
        call newline
        mov si, m_userdata
        call puts
        mov eax, 'user'
        call load_file
        call put_text
        call obey_text
        mov si, m_ready
        call puts

idle:   cli                             ; nothing may come between looking and sleeping
        call obey_button
        mov dx, LSR
        in al, dx
        cmp al, 0xff                    ; no serial port
        je .sleep
        test al, RECEIVED
        jnz .key
.sleep: sti                             ; takes effect after the next instruction
        hlt
        jmp idle
.key:   sti
        mov dx, COM1
        in al, dx
        call typed
        jmp idle

; One more character on the console, in al.
typed:  mov di, [line_end]
        cmp al, 13
        je .enter
        cmp al, 10
        je .enter
        cmp al, 8
        je .erase
        cmp al, 127
        je .erase
        cmp al, ' '
        jb .ret
        cmp di, LINE+LINE_MAX
        jae .ret
        stosb
        mov [line_end], di
        jmp putc
.erase: cmp di, LINE
        je .ret
        dec word [line_end]
        mov si, m_erase
        jmp puts
.enter: cmp di, LINE                    ; also the second half of CR LF
        je .ret
        mov byte [di], 0
        mov word [line_end], LINE
        call newline
        call find_verb
        jnc obey
        mov si, m_what
        jmp puts
.ret:   ret

; ---- State, on the boot disk ----

; Reads the state, or starts a fresh one, and counts this boot. A disk that refuses the write makes boots repeat, no worse.
count_boot:
        mov ah, 0x42
        call move_state
        jc .fresh
        cmp dword [STATE], MAGIC
        je .count
.fresh: mov di, STATE
        mov cx, SECTOR
        xor ax, ax
        rep stosb
        mov dword [STATE], MAGIC
.count: inc dword [BOOTS]
        mov byte [NOTE+NOTE_MAX], 0     ; whatever the sector held
        mov ah, 0x43
; In: ah as for disk. Out: carry on error.
move_state:
        mov dl, [boot_drive]
        mov ebx, STATE_LBA
        mov cx, 1
        mov di, STATE
        jmp disk

; ---- The seed: ISO 9660 (ECMA-119), volume CIDATA, in either case ----

; Looks through the disks after the first; leaves the root directory's first block in DIR, or an empty one.
find_seed:
        mov dl, 0x81
.next:  mov ah, 0x42
        mov ebx, 32768/SECTOR           ; the primary volume descriptor
        mov cx, 1
        mov di, VOLUME
        call disk
        jc .skip
        cmp dword [VOLUME+1], 'CD00'
        jne .skip
        mov eax, [VOLUME+40]            ; the volume's name, padded with blanks
        or eax, 0x20202020
        cmp eax, 'cida'
        jne .skip
        mov eax, [VOLUME+44]
        or eax, 0x20202020
        cmp eax, 'ta  '
        jne .skip
        mov [seed_drive], dl
        mov ah, 0x42
        mov ebx, [VOLUME+156+2]         ; the root directory's first block, of 2048 bytes
        shl ebx, 2
        mov cx, DIR_BYTES/SECTOR
        mov di, DIR
        call disk
        jnc .ret
.skip:  inc dl
        cmp dl, 0x90
        jb .next
        mov byte [DIR], 0
.ret:   ret

; Loads a file of the seed to TEXT_SEG, as much as fits. In: eax = first four letters of its name, in lower case
; (METADATA.;1 and META_DAT.;1 are both in use). Out: [text_len], 0 if there is no such file.
load_file:
        mov word [text_len], 0
        mov si, DIR
.next:  movzx cx, byte [si]             ; length of the entry, 0 behind the last one
        cmp cl, 34
        jb .ret
        mov edx, [si+33]
        or edx, 0x20202020
        cmp edx, eax
        je .found
        add si, cx
        cmp si, DIR+DIR_BYTES-34
        jbe .next
.ret:   ret
.found: mov ecx, [si+10]                ; bytes
        cmp ecx, TEXT_MAX
        jbe .fits
        mov ecx, TEXT_MAX
.fits:  jecxz .ret
        push cx
        mov ebx, [si+2]                 ; first block
        shl ebx, 2
        add cx, SECTOR-1
        shr cx, 9
        mov ax, TEXT_SEG
        mov es, ax
        xor di, di
        mov dl, [seed_drive]
        mov ah, 0x42
        call disk
        pop cx
        jc .zero
        mov [text_len], cx
.zero:  push ds
        pop es
        ret

; Prints the value of local-hostname in the text, as YAML or JSON, without quotes; nothing if it is not there.
put_hostname:
        mov ax, TEXT_SEG
        mov es, ax
        xor bx, bx
.scan:  mov di, bx
        lea ax, [di+k_hostname.len]
        cmp ax, [text_len]
        jae .ret
        mov si, k_hostname
        mov cx, k_hostname.len
        repe cmpsb
        je .gap
        inc bx
        jmp .scan
.gap:   call .take                      ; what stands between key and value
        jc .ret
        cmp al, ' '
        je .gap
        cmp al, ':'
        je .gap
        cmp al, '"'
        je .gap
        cmp al, "'"
        je .gap
.value: cmp al, ' '
        jbe .ret
        cmp al, '"'
        je .ret
        cmp al, "'"
        je .ret
        cmp al, ','
        je .ret
        call put_printable
        call .take
        jnc .value
.ret:   push ds
        pop es
        ret
.take:  cmp di, [text_len]
        cmc
        jc .end
        mov al, [es:di]
        inc di
.end:   ret

; Prints the text, each line ended by CR LF.
put_text:
        mov ax, TEXT_SEG
        mov fs, ax
        xor si, si
        mov bl, 0                       ; the character before
.next:  cmp si, [text_len]
        jae .end
        mov al, [fs:si]
        inc si
        cmp al, 13
        je .next
        mov bl, al
        cmp al, 10
        je .line
        call put_printable
        jmp .next
.line:  call newline
        jmp .next
.end:   cmp bl, 10
        jne newline
        ret

; Obeys those lines of the text that are commands; each is printed before its answer.
obey_text:
        xor si, si
.line:  mov ax, TEXT_SEG
        mov fs, ax
        mov di, LINE
.next:  cmp si, [text_len]
        jae .eol
        mov al, [fs:si]
        inc si
        cmp al, 10
        je .eol
        cmp al, 13
        je .next
        cmp di, LINE+LINE_MAX           ; the rest of a longer line is lost
        jae .next
        call printable
        stosb
        jmp .next
.eol:   mov byte [di], 0
        push si
        call find_verb
        jc .done
        push di
        push si
        mov si, m_prompt
        call puts
        mov si, LINE
        call puts
        call newline
        pop si
        pop di
        call obey
        call obey_button
.done:  pop si
        cmp si, [text_len]
        jb .line
        ret

; ---- Commands ----

; Looks the line up. Out: si = handler, di = what follows the verb and one blank, [drive]; carry if it is no command.
find_verb:
        mov si, verbs
.verb:  mov di, LINE
        cmp byte [si], 0
        je .none
.next:  lodsb
        test al, al
        jz .end
        mov ah, [di]
        inc di
        cmp al, '#'                     ; stands for a hexadecimal digit: a disk
        je .disk
        cmp al, ah
        je .next
.skip:  lodsb
        test al, al
        jnz .skip
.other: lodsw
        jmp .verb
.disk:  mov al, ah
        call digit
        jc .skip
        or al, 0x80
        mov [drive], al
        jmp .next
.end:   mov al, [di]
        test al, al
        jz .found
        inc di
        cmp al, ' '
        jne .other
.found: lodsw
        mov si, ax
        clc
        ret
.none:  stc
        ret

verbs:  db 'note', 0
        dw c_note
        db 'w#', 0
        dw c_write
        db 'r#', 0
        dw c_read
        db 's#', 0
        dw c_size
        db 'fill #', 0
        dw c_fill
        db 'deaf', 0
        dw c_deaf
        db 'off', 0
        dw power_off
        db 0

; Runs the handler in si and prints how it went. Handlers get di, may use all registers and es, and return carry on error.
obey:   call si
        push ds
        pop es
        mov si, m_ok
        jnc puts
        mov si, m_error
        jmp puts

; note TEXT
c_note: mov si, di
        mov di, NOTE
        mov cx, NOTE_MAX
.next:  lodsb
        stosb
        test al, al
        loopnz .next
        mov byte [di], 0
        mov ah, 0x43
        jmp move_state

; wD LBA TEXT
c_write:
        call number
        jc .ret
        cmp byte [di], 1                ; carry if there is no text
        jc .ret
        mov si, di
        call data
        mov cx, SECTOR
        call repeat
        mov ah, 0x43
        jmp move_one
.ret:   ret

; rD LBA
c_read: call number
        jc .ret
        mov ah, 0x42
        call move_one
        jc .ret
        mov cx, HEAD_BYTES
.next:  mov al, [es:di]
        inc di
        call put_printable
        loop .next
        clc
.ret:   ret

; sD
c_size: mov dl, [drive]
        mov si, parameters
        mov word [si], 26               ; the size of the structure, without its newer parts
        mov ah, 0x48
        int 0x13
        jc .ret
        mov ebx, [parameters+16]        ; sectors
        mov di, LINE
        call put_hex
        mov byte [di], 0
        mov si, LINE
        call puts
        clc
.ret:   ret

; fill D LBA COUNT TEXT
c_fill: call number
        jc .ret
        mov [fill_lba], ebx
        call number
        jc .ret
        mov [fill_left], ebx
        cmp byte [di], 1                ; carry if there is no text
        jc .ret
        mov si, di
        mov di, head+8
        mov al, ' '
        stosb
        mov cx, HEAD_BYTES-9
        call repeat
        mov si, head+8
        xor edx, edx
        mov cx, (HEAD_BYTES-8)/4
.hash:  lodsd
        xor edx, eax
        imul edx, edx, HASH
        loop .hash
        mov [fill_seed], edx
.run:   call obey_button
        mov eax, [fill_left]
        test eax, eax                   ; and no carry
        jz .ret
        mov ecx, [fill_lba]             ; up to the next multiple of RUN, so that whole clusters are written
        and ecx, RUN-1
        neg ecx
        add ecx, RUN
        cmp ecx, eax
        jbe .make
        mov ecx, eax
.make:  mov ebx, [fill_lba]
        call data
        push ecx
.next:  push cx
        call make_sector
        pop cx
        inc ebx
        loop .next
        pop ecx
        mov ebx, [fill_lba]
        call data
        mov dl, [drive]
        mov ah, 0x43
        call disk
        jc .ret
        add [fill_lba], ecx
        sub [fill_left], ecx
        jmp .run
.ret:   ret

; deaf
c_deaf: mov byte [deaf], 1
        clc
        ret

; off, and the power button
power_off:
        mov si, m_bye
        call puts
        mov ah, ALL_SENT
        call await_port
        mov dx, PM1_CNT
        mov ax, SLEEP_S5
        out dx, ax
        cli
.halt:  hlt
        jmp .halt

; Makes the sector ebx at es:di: the head, then 448 bytes that do not compress, drawn from a linear congruential generator.
; Moves di behind it; keeps ebx.
make_sector:
        push es
        push di
        push ds
        pop es
        mov di, head
        call put_hex
        pop di
        pop es
        mov si, head
        mov cx, HEAD_BYTES/4
        rep movsd
        mov eax, ebx
        xor eax, [fill_seed]
        imul eax, eax, HASH
        mov cx, (SECTOR-HEAD_BYTES)/4
.body:  imul eax, eax, 1664525
        add eax, 1013904223
        stosd
        loop .body
        ret

; Moves one sector between DATA_SEG and [drive]. In: ah as for disk, ebx = LBA. Out: carry on error, es:di = the sector.
move_one:
        call data
        mov cx, 1
        mov dl, [drive]
        jmp disk

; es:di = DATA_SEG:0
data:   push ax
        mov ax, DATA_SEG
        mov es, ax
        xor di, di
        pop ax
        ret

; Fills cx bytes at es:di with the text at si, over and over.
repeat: mov bp, si
.next:  lodsb
        test al, al
        jnz .put
        mov si, bp
        jmp .next
.put:   stosb
        loop .next
        ret

; ---- Numbers and characters ----

; In: di = text. Out: ebx = hexadecimal number of 1 to 8 digits, di behind it and one blank; carry if there is none.
number: xor ebx, ebx
        mov cx, 9
.next:  mov al, [di]
        call digit
        jc .end
        inc di
        shl ebx, 4
        or bl, al
        loop .next
.bad:   stc
        ret
.end:   cmp cl, 9
        je .bad
        cmp byte [di], 1                ; carry at the end of the line
        cmc
        jnc .ret
        cmp byte [di], ' '
        jne .bad
        inc di
.ret:   clc
        ret

; In: al = character. Out: al = its value as a hexadecimal digit; carry if it is none.
digit:  sub al, '0'
        cmp al, 10
        jb .yes
        or al, 0x20
        sub al, 'a'-'0'
        cmp al, 6
        jae .no
        add al, 10
.yes:   clc
        ret
.no:    stc
        ret

; Writes ebx as eight hexadecimal digits to es:di.
put_hex:
        mov cx, 8
.next:  rol ebx, 4
        mov al, bl
        and al, 15
        cmp al, 10
        jb .put
        add al, 'a'-'0'-10
.put:   add al, '0'
        stosb
        loop .next
        ret

; Prints eax.
put_decimal:
        mov ebx, 10
        xor cx, cx
.next:  xor edx, edx
        div ebx
        push dx
        inc cx
        test eax, eax
        jnz .next
.put:   pop ax
        add al, '0'
        call putc
        loop .put
        ret

; A character that a terminal shows: a tab becomes a blank, other control characters a dot. Bytes from 0x80 may be UTF-8.
printable:
        cmp al, 9
        je .tab
        cmp al, 127
        je .dot
        cmp al, ' '
        jae .ret
.dot:   mov al, '.'
.ret:   ret
.tab:   mov al, ' '
        ret

newline:
        push si
        mov si, m_newline
        call puts
        pop si
        ret

; Prints the NUL-terminated text at si.
puts:   lodsb
        test al, al
        jz .ret
        call putc
        jmp puts
.ret:   ret

put_printable:
        call printable
; Prints al, or loses it when nobody reads at the port's other end.
putc:   push ax
        push dx
        mov ah, THR_EMPTY
        call await_port
        jc .lost
        mov dx, COM1
        out dx, al
.lost:  pop dx
        pop ax
        ret

; Waits for bits of LSR, in ah. A port whose other end is not read stays busy: that is borne once for PATIENCE, long enough
; for a reader that is slow, and not again before it has been ready, so that nothing is held up for ever.
; Out: carry if it is busy. Keeps all registers.
await_port:
        pushad
        mov bl, ah
        call .look
        jnz .ready
        cmp byte [stalled], 0
        jne .busy
        mov dx, PM_TMR
        in eax, dx
        mov ecx, eax
.again: call .look
        jnz .ready
        mov dx, PM_TMR
        in eax, dx
        sub eax, ecx
        and eax, 0xffffff               ; the timer's 24 bits
        cmp eax, PATIENCE
        jb .again
        mov byte [stalled], 1
.busy:  popad
        stc
        ret
.ready: mov byte [stalled], 0
        popad
        clc
        ret
.look:  mov dx, LSR
        in al, dx
        test al, bl
        ret

; ---- Interrupts: the serial port (IRQ 4) and ACPI (IRQ 9) wake us from hlt ----

open_events:
        cli
        mov word [0x0c*4], on_serial
        mov word [0x0c*4+2], 0
        mov word [0x71*4], on_acpi
        mov word [0x71*4+2], 0
        mov dx, COM1+2
        mov al, 1                       ; FIFO on
        out dx, al
        mov dx, COM1+1
        out dx, al                      ; interrupt when a character has come
        mov dx, COM1+4
        mov al, 0x0b                    ; DTR, RTS, and OUT2, which lets interrupts through
        out dx, al
        mov dx, PM1_EN
        mov ax, BUTTON
        out dx, ax
        in al, 0x21
        and al, ~(1<<4 | 1<<2) & 0xff   ; IRQ 4 and the second controller
        out 0x21, al
        in al, 0xa1
        and al, ~(1<<1) & 0xff          ; IRQ 9
        out 0xa1, al
        sti
        ret

on_serial:
        push ax
        jmp on_acpi.first

; The line stays up until the status is cleared, so that is done here and remembered in [pressed].
on_acpi:
        push ax
        call poll_button
        mov al, 0x20
        out 0xa0, al
.first: mov al, 0x20
        out 0x20, al
        pop ax
        iret

poll_button:
        push ax
        push dx
        mov dx, PM1_STS
        in ax, dx
        test ax, BUTTON
        jz .ret
        mov ax, BUTTON                  ; writing a one clears it
        out dx, ax
        mov byte [cs:pressed], 1        ; ds is the BIOS's own when we interrupt it
.ret:   pop dx
        pop ax
        ret

; Powers off if the button was pressed, unless told to be deaf. Polls too: not every machine type routes ACPI to IRQ 9.
obey_button:
        call poll_button
        cmp byte [pressed], 0
        je .ret
        mov byte [pressed], 0
        cmp byte [deaf], 0
        je power_off
.ret:   ret

; ---- Texts ----

m_hello:        db 'HELLO boots=', 0
m_hostname:     db ' hostname=', 0
m_note:         db 'NOTE ', 0
m_userdata:     db 'USERDATA ', 0
m_prompt:       db '> ', 0
m_ready:        db 'READY', 13, 10, 0
m_bye:          db 'BYE', 13, 10, 0
m_ok:           db ' ok', 13, 10, 0
m_error:        db ' error', 13, 10, 0
m_what:         db '?', 13, 10, 0
m_erase:        db 8, ' ', 8, 0
m_newline:      db 13, 10, 0
k_hostname:     db 'local-hostname'
.len            equ $-k_hostname

end:
SECTORS         equ (end-start+SECTOR-1)/SECTOR
        times SECTORS*SECTOR-($-$$) db 0

; ---- Variables, zero at the start of each boot ----

        absolute VARIABLES
packet:                                 ; what int 0x13 takes (ah = 0x42 and 0x43)
.bytes:         resw 1
.count:         resw 1
.offset:        resw 1
.segment:       resw 1
.lba:           resd 2
parameters:     resb 26                 ; what it answers about a disk (ah = 0x48)
boot_drive:     resb 1
seed_drive:     resb 1
drive:          resb 1                  ; the disk that a command names
pressed:        resb 1                  ; power button, not yet obeyed
deaf:           resb 1                  ; power button is ignored
stalled:        resb 1                  ; nobody reads at the other end of the serial port
text_len:       resw 1                  ; bytes at TEXT_SEG
line_end:       resw 1                  ; behind what is typed, in LINE
fill_lba:       resd 1
fill_left:      resd 1
fill_seed:      resd 1
head:           resb HEAD_BYTES
VARIABLES_BYTES equ $-VARIABLES
