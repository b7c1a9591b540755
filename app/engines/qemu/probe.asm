; The accelerator's probe: a boot sector that enters 64-bit mode, uses the FPU and SSE, and says READY on the first serial port.
; nasm -f bin probe.asm; its bytes are in accelerator.py. There are hosts whose KVM runs a guest in real mode, slowly, and ends it in
; "internal-error" at the first instruction of the FPU.
        bits 16
        org 0x7c00
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7c00
        cld
        mov edi, 0x1000         ; page tables: 0x1000 -> 0x2000 -> 0x3000, where one entry maps 2 MiB on themselves
        mov cr3, edi
        xor eax, eax
        mov ecx, 0x3000/4
        rep stosd
        mov dword [0x1000], 0x2003
        mov dword [0x2000], 0x3003
        mov dword [0x3000], 0x83
        mov eax, cr4
        or al, 0x20             ; PAE
        mov cr4, eax
        mov ecx, 0xc0000080     ; EFER.LME
        rdmsr
        or ah, 1
        wrmsr
        cli
        mov eax, cr0
        or eax, 0x80000001      ; paging and protection
        mov cr0, eax
        lgdt [gdtr]
        jmp 8:wide
        bits 64
wide:   mov rax, cr0
        and al, ~4              ; no emulation of the FPU
        or al, 2
        mov cr0, rax
        mov rax, cr4
        or ax, 0x600            ; SSE
        mov cr4, rax
        fninit
        xorps xmm0, xmm0
        addps xmm0, xmm0
        mov esi, text
        mov dx, 0x3f8
.next:  lodsb
        test al, al
        jz .end
        out dx, al
        jmp .next
.end:   hlt
        jmp .end
text:   db 'READY', 10, 0
        align 8
gdt:    dq 0, 0x00209a0000000000
gdtr:   dw $-gdt-1
        dd gdt
