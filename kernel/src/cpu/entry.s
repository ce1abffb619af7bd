# Ways into the kernel and back. Interrupts are off throughout.
#
# A task's registers are saved in its own context, not on a kernel stack: the processor pushes the
# first five words there by itself (the context's end is the ring-0 stack pointer of the task state
# segment), the rest follows, and the kernel then runs on its one stack. So a task that is not
# running costs no stack, and switching is nothing but returning to another context.
#
#   context:  512 bytes of vector state | r15 … rax | vector | error | rip cs rflags rsp ss

.set SCRATCH, 0
.set FRAME_END, 8
.set KERNEL_STACK, 16
.set USER_CODE, 0x23
.set USER_DATA, 0x1b
.set SYSTEM_CALL, 256

.text
.macro push_registers
    push %rax
    push %rbx
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %rbp
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
.endm

.macro pop_registers
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rbp
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rbx
    pop %rax
.endm

# System call. The caller expects rcx, r11 and the vector registers to change, so the latter need no
# saving.
.global system_call_entry
system_call_entry:
    swapgs
    mov %rsp, %gs:SCRATCH
    mov %gs:FRAME_END, %rsp
    push $USER_DATA
    push %gs:SCRATCH
    push %r11
    push $USER_CODE
    push %rcx
    push $0
    push $SYSTEM_CALL
    push_registers
    mov %gs:KERNEL_STACK, %rsp
    xor %ebp, %ebp
    call enter_system_call
    ud2

# Interrupt or exception: the gates below have pushed vector and error code.
interrupt_entry:
    cmpq $2, (%rsp)             # machine failures come on stacks of their own: nobody goes on
    je machine_failure
    cmpq $8, (%rsp)
    je machine_failure
    cmpq $18, (%rsp)
    je machine_failure
    testb $3, 24(%rsp)
    jz from_kernel
    swapgs
    push_registers
    fxsave64 -512(%rsp)
    mov %gs:KERNEL_STACK, %rsp
    cld
    xor %ebp, %ebp
    call enter_interrupt
    ud2

# The kernel runs with interrupts off, except where it idles: an interrupt from there has nothing to
# return to. An exception is a bug of the kernel, and says so.
from_kernel:
    cld
    cmpq $14, (%rsp)            # a page fault while a task's memory was copied is its result
    jne 2f
    push %rax
    lea copy_task_start(%rip), %rax
    cmp %rax, 24(%rsp)
    jb 3f
    lea copy_task_end(%rip), %rax
    cmp %rax, 24(%rsp)
    jae 3f
    lea copy_task_fault(%rip), %rax
    mov %rax, 24(%rsp)
    pop %rax
    add $16, %rsp
    iretq
3:  pop %rax
2:  mov (%rsp), %rdi            # vector
    mov 8(%rsp), %rsi           # error code
    mov 16(%rsp), %rdx          # rip
    mov %cr2, %rcx
    cmp $32, %rdi
    jb 1f
    mov %gs:KERNEL_STACK, %rsp
    xor %ebp, %ebp
    call enter_from_idle
    ud2
1:  and $-16, %rsp
    call kernel_exception
    ud2

machine_failure:
    cld
    testb $3, 24(%rsp)
    jz 2b
    swapgs
    jmp 2b

# (rdi: frame) Continues a task that was interrupted.
.global return_from_interrupt
return_from_interrupt:
    fxrstor64 -512(%rdi)
    mov %rdi, %rsp
    pop_registers
    add $16, %rsp
    swapgs
    iretq

# (rdi: frame) Continues a task after a system call. Vector registers are cleared, so that no task
# sees what another computed.
.global return_from_system_call
return_from_system_call:
    mov %rdi, %rsp
    pop_registers
    mov 16(%rsp), %rcx
    mov 32(%rsp), %r11
    mov 40(%rsp), %rsp
    ldmxcsr default_mxcsr(%rip)
    xorps %xmm0, %xmm0
    xorps %xmm1, %xmm1
    xorps %xmm2, %xmm2
    xorps %xmm3, %xmm3
    xorps %xmm4, %xmm4
    xorps %xmm5, %xmm5
    xorps %xmm6, %xmm6
    xorps %xmm7, %xmm7
    xorps %xmm8, %xmm8
    xorps %xmm9, %xmm9
    xorps %xmm10, %xmm10
    xorps %xmm11, %xmm11
    xorps %xmm12, %xmm12
    xorps %xmm13, %xmm13
    xorps %xmm14, %xmm14
    xorps %xmm15, %xmm15
    swapgs
    sysretq

# Waits for an interrupt, which enters by from_kernel.
.global idle
idle:
    mov %gs:KERNEL_STACK, %rsp
    xor %ebp, %ebp
1:  sti
    hlt
    jmp 1b

.section .rodata
    .align 4
default_mxcsr:
    .long 0x1f80

# The gates, 16 bytes apart: an error code where the processor pushes none, then the vector.
.text
    .align 16
.global interrupt_gates
interrupt_gates:
.set vector, 0
.rept 256
    .align 16
    .if (vector != 8) && (vector != 10) && (vector != 11) && (vector != 12) && (vector != 13) && (vector != 14) && (vector != 17) && (vector != 21)
    push $0
    .endif
    push $vector
    jmp interrupt_entry
    .set vector, vector + 1
.endr
