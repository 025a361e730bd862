/* Just enough of an x86-64 decoder to move a function's first instructions elsewhere. */
#ifndef TRACEKIT_DECODE_H
#define TRACEKIT_DECODE_H

#include <stddef.h>
#include <stdint.h>

/* One decoded instruction. `relative` is the offset of a rip-relative displacement or branch distance, 0 for none. */
struct tk_instruction {
    unsigned length;
    unsigned relative;
    unsigned relative_bytes; /* 1 or 4 */
    int branch;              /* a jump or call: its distance counts, not a memory operand's */
    int ends;                /* ret, jmp, int3, hlt, ud2: nothing may be taken from behind it */
};

/* 0 when the bytes at `code` are an instruction this decoder is sure of, -1 otherwise. */
int tk_decode(const uint8_t *code, size_t room, struct tk_instruction *out);

/* Copy whole instructions covering at least `wanted` bytes from `from` to `to`, as they must read at address `to`.
   Returns the bytes taken from `from` and stores the bytes written; -1 when an instruction is unknown or cannot move. */
int tk_relocate(const uint8_t *from, size_t room, unsigned wanted, uint8_t *to, size_t capacity, unsigned *written);

/* Whether anything in `code` could be a jump into the bytes 1..taken-1 of the function that starts there. */
int tk_jumps_into(const uint8_t *code, size_t length, unsigned taken);

#endif
