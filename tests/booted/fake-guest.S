/* A guest of a few lines that does on command what a real one must not: hang, panic, reset, garble.
   It answers every line on COM2 with an output and a done event; the letters H, X, R and P in a
   command make it hang, end with a debug exit, reset and power off instead. From an N on it says no
   to everything. */
.code32
.section .note.pvh, "a", @note
.long 4, 4, 18                  /* the PVH entry note, without which QEMU refuses the image */
.asciz "Xen"
.long _start

.text
.globl _start
_start:
    mov $stack_top, %esp
    movb $'1', number
    movl $done, verdict
    mov $0x80000090, %eax       /* PAM: the firmware's ROM again, so that a reset starts as power-on */
    call clear_config
    mov $0x80000094, %eax
    call clear_config
    mov $hello, %esi
    mov $0x3f8, %dx
    call puts
    mov $ready, %esi
    mov $0x2f8, %dx
    call puts
next:
    mov $0x2fd, %dx
    in %dx, %al
    test $1, %al
    jz next
    mov $0x2f8, %dx
    in %dx, %al
    cmp $'\n', %al
    je answer
    cmp $'H', %al
    je hang
    cmp $'X', %al
    je panic
    cmp $'R', %al
    je reset
    cmp $'N', %al
    je refuse
    cmp $'P', %al
    jne next
    mov $0x604, %dx             /* ACPI power-off, as SeaBIOS places it on q35 */
    mov $0x2000, %ax
    out %ax, %dx
hang:
    jmp hang
panic:
    mov $words, %esi
    mov $0x3f8, %dx
    call puts
    mov $0xf4, %dx
    mov $16, %eax
    out %eax, %dx
    jmp hang
reset:
    mov $half, %esi
    mov $0x2f8, %dx
    call puts
    mov $0xcf9, %dx
    mov $6, %al
    out %al, %dx
    jmp hang
refuse:
    movl $no, verdict
    jmp next
answer:
    mov verdict, %esi
    mov $0x2f8, %dx
    call puts
    mov $number, %esi
    call puts
    incb number
    jmp next
clear_config:
    mov $0xcf8, %dx
    out %eax, %dx
    mov $0xcfc, %dx
    xor %eax, %eax
    out %eax, %dx
    ret
puts:
    lodsb
    test %al, %al
    jz 1f
    out %al, %dx
    jmp puts
1:  ret

.data
hello: .asciz "fake guest\r\n"
words: .asciz "panic: all is lost\r\n"
ready: .asciz "{\"event\":\"ready\"}\n"
half:  .asciz "{\"event\":\"output\",\"te"
done:  .asciz "{\"event\":\"output\",\"text\":\"hi\"}\n{\"event\":\"done\",\"ok\":true,\"id\":"
no:    .asciz "{\"event\":\"done\",\"ok\":false,\"error\":\"out of order\",\"id\":"
number: .asciz "1}\n"
verdict: .long done

.bss
.space 4096
stack_top:
