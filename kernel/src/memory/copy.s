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
2:  test $31, %dl               # 32 were taken off too many, which leaves these bits as they are
    jz copy_task_end
    test $16, %dl
    jz 3f
    mov (%rsi), %rcx
    mov 8(%rsi), %r8
    mov %rcx, (%rdi)
    mov %r8, 8(%rdi)
    add $16, %rsi
    add $16, %rdi
3:  test $8, %dl
    jz 4f
    mov (%rsi), %rcx
    mov %rcx, (%rdi)
    add $8, %rsi
    add $8, %rdi
4:  test $7, %dl
    jz copy_task_end
    test $4, %dl
    jz 5f
    mov (%rsi), %ecx
    mov %ecx, (%rdi)
    add $4, %rsi
    add $4, %rdi
5:  test $2, %dl
    jz 6f
    movzwl (%rsi), %ecx
    mov %cx, (%rdi)
    add $2, %rsi
    add $2, %rdi
6:  test $1, %dl
    jz copy_task_end
    movzbl (%rsi), %ecx
    mov %cl, (%rdi)
copy_task_end:
    xor %eax, %eax
    ret
copy_task_fault:
    mov $1, %eax
    ret
