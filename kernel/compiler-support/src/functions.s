.text
.global memcpy, memmove, memset, memcmp, bcmp, fill_page_with_zeros

memcpy:                         # rdi to, rsi from, rdx length; returns to
    mov %rdi, %rax
copy_up:
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
    jz 7f
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
    jz 7f
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
    jz 7f
    movzbl (%rsi), %ecx
    mov %cl, (%rdi)
7:  ret

memmove:
    mov %rdi, %rax
    mov %rdi, %rcx
    sub %rsi, %rcx
    cmp %rdx, %rcx              # does `to` lie in [from, from + length)?
    jae copy_up
    add %rdx, %rsi
    add %rdx, %rdi
1:  sub $8, %rdx
    jb 2f
    mov -8(%rsi), %rcx
    mov %rcx, -8(%rdi)
    sub $8, %rsi
    sub $8, %rdi
    jmp 1b
2:  add $8, %rdx
    jz 4f
3:  dec %rsi
    dec %rdi
    mov (%rsi), %cl
    mov %cl, (%rdi)
    dec %rdx
    jnz 3b
4:  ret

memset:                         # rdi to, sil value, rdx length; returns to
    mov %rdi, %rax
    movzbl %sil, %ecx
    movabs $0x0101010101010101, %r8
    imul %rcx, %r8
1:  sub $32, %rdx
    jb 2f
    mov %r8, (%rdi)
    mov %r8, 8(%rdi)
    mov %r8, 16(%rdi)
    mov %r8, 24(%rdi)
    add $32, %rdi
    jmp 1b
2:  test $31, %dl
    jz 7f
    test $16, %dl
    jz 3f
    mov %r8, (%rdi)
    mov %r8, 8(%rdi)
    add $16, %rdi
3:  test $8, %dl
    jz 4f
    mov %r8, (%rdi)
    add $8, %rdi
4:  test $7, %dl
    jz 7f
    test $4, %dl
    jz 5f
    mov %r8d, (%rdi)
    add $4, %rdi
5:  test $2, %dl
    jz 6f
    mov %r8w, (%rdi)
    add $2, %rdi
6:  test $1, %dl
    jz 7f
    mov %r8b, (%rdi)
7:  ret

memcmp:
bcmp:                           # rdi, rsi, rdx length; returns the difference's sign
1:  sub $8, %rdx
    jb 2f
    mov (%rdi), %rcx
    mov (%rsi), %r8
    cmp %r8, %rcx
    jne 5f
    add $8, %rdi
    add $8, %rsi
    jmp 1b
2:  add $8, %rdx
    jz 4f
3:  movzbl (%rdi), %eax
    movzbl (%rsi), %ecx
    sub %ecx, %eax
    jne 6f
    inc %rdi
    inc %rsi
    dec %rdx
    jnz 3b
4:  xor %eax, %eax
6:  ret
5:  bswap %rcx                  # the first differing byte decides, so compare as big-endian
    bswap %r8
    cmp %r8, %rcx
    sbb %eax, %eax
    or $1, %eax
    ret

fill_page_with_zeros:           # rdi page
    xor %eax, %eax
    mov $64, %ecx
1:  mov %rax, (%rdi)
    mov %rax, 8(%rdi)
    mov %rax, 16(%rdi)
    mov %rax, 24(%rdi)
    mov %rax, 32(%rdi)
    mov %rax, 40(%rdi)
    mov %rax, 48(%rdi)
    mov %rax, 56(%rdi)
    add $64, %rdi
    dec %ecx
    jnz 1b
    ret
