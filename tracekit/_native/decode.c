/* A table-driven length decoder for the instructions compilers put at the start of C functions. What is not in the table
   is refused: a function left alone costs coverage, one patched wrongly costs the user's program. Encodings: Intel SDM
   volume 2, chapter 2 and appendix A. */
#include "decode.h"

#include <string.h>

enum {
    NONE = 0,   /* unknown: refuse */
    PLAIN = 1,  /* opcode only */
    MODRM = 2,  /* ModRM follows */
    IMM8 = 4,   /* one immediate byte */
    IMMZ = 8,   /* 4 immediate bytes, 2 with the operand-size prefix */
    REL8 = 16,  /* branch distance of one byte */
    REL32 = 32, /* branch distance of four bytes */
    ENDS = 64,
    GROUP3 = 128 /* f6/f7: an immediate only for /0 and /1 */
};

static unsigned one_byte(uint8_t op)
{
    if (op < 0x40) { /* eight arithmetic rows; the 6 and 7 columns are gone or prefixes in 64-bit mode */
        unsigned column = op & 7;
        return column < 4 ? MODRM : column == 4 ? IMM8 | PLAIN : column == 5 ? IMMZ | PLAIN : NONE;
    }
    if (op >= 0x50 && op <= 0x5f)
        return PLAIN; /* push, pop */
    if (op >= 0x70 && op <= 0x7f)
        return REL8;
    if (op >= 0xb0 && op <= 0xb7)
        return PLAIN | IMM8;
    if (op >= 0xb8 && op <= 0xbf)
        return PLAIN | IMMZ; /* 8 bytes with REX.W: the caller looks */
    switch (op) {
    case 0x63: case 0x84: case 0x85: case 0x86: case 0x87: case 0x88: case 0x89: case 0x8a: case 0x8b: case 0x8d:
    case 0xd0: case 0xd1: case 0xd2: case 0xd3: case 0xfe:
        return MODRM;
    case 0xff:
        return MODRM; /* call and jmp through memory or register are refused by the caller */
    case 0x68: case 0xa9:
        return PLAIN | IMMZ;
    case 0x69: case 0x81: case 0xc7:
        return MODRM | IMMZ;
    case 0x6a: case 0xa8:
        return PLAIN | IMM8;
    case 0x6b: case 0x80: case 0x83: case 0xc0: case 0xc1: case 0xc6:
        return MODRM | IMM8;
    case 0x90: case 0x98: case 0x99: case 0xc9:
        return PLAIN;
    case 0xf6:
        return MODRM | GROUP3 | IMM8;
    case 0xf7:
        return MODRM | GROUP3 | IMMZ;
    case 0xe8:
        return REL32;
    case 0xe9:
        return REL32 | ENDS;
    case 0xeb:
        return REL8 | ENDS;
    case 0xc3: case 0xcc: case 0xf4:
        return PLAIN | ENDS;
    default:
        return NONE;
    }
}

static unsigned two_byte(uint8_t op)
{
    if (op >= 0x40 && op <= 0x4f)
        return MODRM; /* cmov */
    if (op >= 0x80 && op <= 0x8f)
        return REL32;
    if (op >= 0x90 && op <= 0x9f)
        return MODRM; /* setcc */
    switch (op) {
    case 0x05:
        return PLAIN; /* syscall */
    case 0x0b:
        return PLAIN | ENDS;
    case 0x10: case 0x11: case 0x1e: case 0x1f: case 0x28: case 0x29: case 0x57: case 0x6e: case 0x6f: case 0x7e:
    case 0x7f: case 0xaf: case 0xb6: case 0xb7: case 0xbe: case 0xbf: case 0xef: case 0x16: case 0x6c: case 0xd6:
        return MODRM; /* the sse moves and xors of prologues, nop, endbr64, imul, movzx, movsx */
    case 0xba:
        return MODRM | IMM8;
    default:
        return NONE;
    }
}

/* Bytes of ModRM, SIB and displacement from `p`; says where a rip-relative displacement stands. */
static unsigned operand_bytes(const uint8_t *p, unsigned at, unsigned *relative)
{
    unsigned mode = p[0] >> 6, memory = p[0] & 7, bytes = 1;
    *relative = 0;
    if (mode == 3)
        return bytes;
    if (memory == 4) {
        if (mode == 0 && (p[1] & 7) == 5)
            return 6;
        bytes++;
    } else if (mode == 0 && memory == 5) {
        *relative = at + 1;
        return 5;
    }
    return bytes + (mode == 1 ? 1 : mode == 2 ? 4 : 0);
}

int tk_decode(const uint8_t *code, size_t room, struct tk_instruction *out)
{
    unsigned at = 0, kind, short_immediate = 0, wide = 0, group3_immediate = 1;
    uint8_t copy[24] = {0}; /* reading behind the function's end must not fault */
    uint8_t op;

    memset(out, 0, sizeof *out);
    memcpy(copy, code, room < 16 ? room : 16);
    while (copy[at] == 0x66 || copy[at] == 0xf2 || copy[at] == 0xf3 || copy[at] == 0x64 || copy[at] == 0x2e) {
        short_immediate |= copy[at] == 0x66;
        if (++at > 4)
            return -1;
    }
    if ((copy[at] & 0xf0) == 0x40)
        wide = copy[at++] & 8;
    op = copy[at++];
    kind = op == 0x0f ? two_byte(copy[at++]) : one_byte(op);
    if (kind == NONE)
        return -1;
    if (kind & MODRM) {
        unsigned extension = copy[at] >> 3 & 7;
        if (op == 0xff && extension >= 2 && extension <= 5)
            return -1;
        group3_immediate = extension < 2;
        at += operand_bytes(copy + at, at, &out->relative);
        out->relative_bytes = 4;
    }
    if (kind & (REL8 | REL32)) {
        out->relative = at;
        out->relative_bytes = kind & REL8 ? 1 : 4;
        out->branch = 1;
        at += out->relative_bytes;
    }
    if (!(kind & GROUP3) || group3_immediate) {
        if (kind & IMM8)
            at += 1;
        if (kind & IMMZ)
            at += wide && op >= 0xb8 && op <= 0xbf ? 8 : short_immediate ? 2 : 4;
    }
    out->length = at;
    out->ends = (kind & ENDS) != 0;
    return at <= 15 && at <= room ? 0 : -1;
}

static int write_distance(uint8_t *where, const uint8_t *next, const uint8_t *target)
{
    intptr_t distance = target - next;
    int32_t narrow = (int32_t)distance;
    if (narrow != distance)
        return -1;
    memcpy(where, &narrow, 4);
    return 0;
}

static const uint8_t *target_of(const uint8_t *code, const struct tk_instruction *i)
{
    int32_t distance;
    if (i->relative_bytes == 1)
        distance = (int8_t)code[i->relative];
    else
        memcpy(&distance, code + i->relative, 4);
    return code + i->length + distance;
}

/* A conditional jump of one byte reaches too little from elsewhere: written anew with four. */
static int widen_branch(const uint8_t *code, const struct tk_instruction *i, uint8_t *to)
{
    uint8_t op = code[i->relative - 1];
    unsigned bytes;
    if (op == 0xeb) {
        to[0] = 0xe9;
        bytes = 5;
    } else {
        to[0] = 0x0f;
        to[1] = (uint8_t)(op + 0x10);
        bytes = 6;
    }
    return write_distance(to + bytes - 4, to + bytes, target_of(code, i)) < 0 ? -1 : (int)bytes;
}

static int move_one(const uint8_t *code, const struct tk_instruction *i, uint8_t *to)
{
    if (i->branch && i->relative_bytes == 1)
        return widen_branch(code, i, to);
    memcpy(to, code, i->length);
    if (i->relative && write_distance(to + i->relative, to + i->length, target_of(code, i)) < 0)
        return -1;
    return (int)i->length;
}

int tk_relocate(const uint8_t *from, size_t room, unsigned wanted, uint8_t *to, size_t capacity, unsigned *written)
{
    unsigned taken = 0;
    *written = 0;
    while (taken < wanted) {
        struct tk_instruction i;
        int bytes;
        if (tk_decode(from + taken, room - taken, &i) < 0 || *written + 16 > capacity)
            return -1;
        /* A branch into the bytes being taken would land in the patch. */
        if (i.branch && target_of(from + taken, &i) >= from && target_of(from + taken, &i) < from + wanted + 15)
            return -1;
        bytes = move_one(from + taken, &i, to + *written);
        if (bytes < 0)
            return -1;
        taken += i.length;
        *written += (unsigned)bytes;
        if (i.ends && taken < wanted)
            return -1;
    }
    return (int)taken;
}

int tk_jumps_into(const uint8_t *code, size_t length, unsigned taken)
{
    /* Every byte is looked at as if an instruction began there: finding one too many only means a function less. */
    for (size_t at = taken; at + 2 <= length; at++) {
        int32_t far = 0;
        uint8_t op = code[at];
        if ((op >= 0x70 && op <= 0x7f) || op == 0xeb) {
            ptrdiff_t target = (ptrdiff_t)at + 2 + (int8_t)code[at + 1];
            if (target > 0 && target < (ptrdiff_t)taken)
                return 1;
        }
        if (at + 5 <= length && (op == 0xe9 || op == 0xe8 || (op >= 0x80 && op <= 0x8f && code[at - 1] == 0x0f))) {
            memcpy(&far, code + at + 1, 4);
            ptrdiff_t target = (ptrdiff_t)at + 5 + far;
            if (target > 0 && target < (ptrdiff_t)taken)
                return 1;
        }
    }
    return 0;
}
