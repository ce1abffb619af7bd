# From QEMU's PVH entry (32-bit protected mode, paging off, ebx = start information) to Rust in
# long mode in the top 2 GiB. The tables made here map the first 4 GiB twice, as they are and in
# the direct map, and the first GiB at the kernel's base; `memory` replaces them by proper ones.

.section .note.pvh, "a", @note
    .align 4
    .long 4                     # name size
    .long 4                     # descriptor size
    .long 18                    # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_start

.section .boot.text, "ax"
.code32
.global pvh_start
pvh_start:
    cli
    cld
    mov %ebx, %edi              # start information, the first argument of boot()

    mov $boot_pd, %eax          # 2048 entries of 2 MiB: the first 4 GiB
    mov $0x83, %ebx             # present, writable, large
    xor %edx, %edx
    mov $2048, %ecx
1:  mov %ebx, (%eax)
    movl $0, 4(%eax)
    add $0x200000, %ebx
    add $8, %eax
    loop 1b

    mov $boot_pd + 3, %eax
    mov $boot_pdpt_low, %ebx
    mov $4, %ecx
2:  mov %eax, (%ebx)
    add $0x1000, %eax
    add $8, %ebx
    loop 2b
    movl $boot_pd + 3, boot_pdpt_high + 510 * 8

    movl $boot_pdpt_low + 3, boot_pml4
    movl $boot_pdpt_low + 3, boot_pml4 + 256 * 8
    movl $boot_pdpt_high + 3, boot_pml4 + 511 * 8

    mov $boot_pml4, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x6a0, %eax             # PAE, global pages, SSE (OSFXSR, OSXMMEXCPT)
    mov %eax, %cr4
    mov $0xc0000080, %ecx       # EFER
    rdmsr
    or $0x901, %eax             # system calls, long mode, no-execute
    wrmsr
    mov %cr0, %eax
    and $0xfffffffb, %eax       # no x87 emulation
    or $0x80010022, %eax        # paging, write protection, numeric errors, monitor coprocessor
    mov %eax, %cr0
    lgdt boot_gdt_pointer
    ljmp $8, $3f

.code64
3:  mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    movabs $boot_stack_top, %rsp
    movabs $boot, %rax
    xor %ebp, %ebp
    mov %edi, %edi
    call *%rax
4:  cli
    hlt
    jmp 4b

.section .boot.data, "aw"
    .align 8
boot_gdt:
    .quad 0
    .quad 0x00209a0000000000    # code, long mode
    .quad 0x0000920000000000    # data
boot_gdt_pointer:
    .word boot_gdt_pointer - boot_gdt - 1
    .long boot_gdt
    .align 4096
boot_pml4:      .skip 4096
boot_pdpt_low:  .skip 4096
boot_pdpt_high: .skip 4096
boot_pd:        .skip 4 * 4096

.section .bss
    .align 4096
    .global boot_stack_bottom
boot_stack_bottom:
    .skip 65536
    .global boot_stack_top
boot_stack_top:
