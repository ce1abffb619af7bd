# The one place where the kernel touches a task's memory by the task's own address. A page fault
# between the first two labels continues at the third (see the entry code).
.text
.global copy_task_memory, copy_task_start, copy_task_end, copy_task_fault
copy_task_memory:               # rdi to, rsi from, rdx length; returns 0, or 1 after a fault
copy_task_start:
    sub $32, %rdx
    jb 2f
1:  mov (%rsi), %rcx
    mov 8(%rsi), %r8
    mov 16(%rsi), %r9
    mov 24(%rsi), %r10
    mov %rcx, (%rdi)
    mov %r8, 8(%rdi)
    mov %r9, 16(%rdi)
    mov %r10, 24(%rdi)
    add $32, %rsi
    add $32, %rdi
    sub $32, %rdx
    jae 1b
2:  add $32, %rdx
3:  sub $8, %rdx
    jb 4f
    mov (%rsi), %rcx
    mov %rcx, (%rdi)
    add $8, %rsi
    add $8, %rdi
    jmp 3b
4:  add $8, %rdx
    jz copy_task_end
5:  mov (%rsi), %cl
    mov %cl, (%rdi)
    inc %rsi
    inc %rdi
    dec %rdx
    jnz 5b
copy_task_end:
    xor %eax, %eax
    ret
copy_task_fault:
    mov $1, %eax
    ret
