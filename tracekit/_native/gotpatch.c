/* Rewriting global offset tables. Sees what a library imports by name: not the calls inside the C library (stdio, aio), not
   pointers fetched by dlsym, and not libraries loaded later until it is called again. Works where code may not be patched.
   Entries: System V ABI supplements for AMD64 (table 4.9) and AArch64 (table 5-9). */
#define _GNU_SOURCE
#include "gotpatch.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__x86_64__)
#define IS_SLOT(type) ((type) == R_X86_64_JUMP_SLOT || (type) == R_X86_64_GLOB_DAT || (type) == R_X86_64_64)
#elif defined(__aarch64__)
#define IS_SLOT(type) ((type) == R_AARCH64_JUMP_SLOT || (type) == R_AARCH64_GLOB_DAT || (type) == R_AARCH64_ABS64)
#else
#define IS_SLOT(type) 0
#endif

struct job {
    const struct tk_symbol *symbols;
    size_t count;
    uintptr_t self;
    int rewritten;
};

struct library {
    uintptr_t base, relro, relro_end;
    const ElfW(Sym) *symbols;
    const char *strings;
};

/* glibc turns the pointers of the dynamic section into addresses in place, musl leaves them relative. */
static uintptr_t place(uintptr_t base, uintptr_t pointer)
{
    return pointer < base ? base + pointer : pointer;
}

static void write_slot(const struct library *library, void **slot, void *value)
{
    uintptr_t page = (uintptr_t)slot & ~(uintptr_t)4095;
    int sealed = (uintptr_t)slot >= library->relro && (uintptr_t)slot < library->relro_end;
    if (sealed && mprotect((void *)page, 4096, PROT_READ | PROT_WRITE) != 0)
        return;
    __atomic_store_n(slot, value, __ATOMIC_RELEASE);
    if (sealed)
        mprotect((void *)page, 4096, PROT_READ);
}

static void rewrite(struct job *job, const struct library *library, const ElfW(Rela) *entries, size_t bytes)
{
    for (size_t i = 0; entries && i < bytes / sizeof *entries; i++) {
        const ElfW(Sym) *symbol = &library->symbols[ELF64_R_SYM(entries[i].r_info)];
        void **slot = (void **)(library->base + entries[i].r_offset);
        if (!IS_SLOT(ELF64_R_TYPE(entries[i].r_info)) || symbol->st_shndx != SHN_UNDEF || entries[i].r_addend != 0)
            continue;
        for (size_t k = 0; k < job->count; k++)
            if (job->symbols[k].original && *slot != job->symbols[k].hook &&
                strcmp(library->strings + symbol->st_name, job->symbols[k].name) == 0) {
                write_slot(library, slot, job->symbols[k].hook);
                job->rewritten++;
                break;
            }
    }
}

static int is_left_alone(const struct dl_phdr_info *info, uintptr_t self)
{
    const char *name = strrchr(info->dlpi_name, '/');
    name = name ? name + 1 : info->dlpi_name;
    if (strncmp(name, "libc.so", 7) == 0 || strncmp(name, "libc.musl", 9) == 0 || strncmp(name, "ld-", 3) == 0 ||
        strncmp(name, "linux-", 6) == 0 || strncmp(name, "libpthread.so", 13) == 0)
        return 1;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t first = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        if (info->dlpi_phdr[i].p_type == PT_LOAD && self >= first && self < first + info->dlpi_phdr[i].p_memsz)
            return 1;
    }
    return 0;
}

static int visit(struct dl_phdr_info *info, size_t size, void *argument)
{
    struct job *job = argument;
    struct library library = {info->dlpi_addr, 0, 0, NULL, NULL};
    const ElfW(Dyn) *dynamic = NULL;
    const ElfW(Rela) *jumps = NULL, *data = NULL;
    size_t jump_bytes = 0, data_bytes = 0;

    (void)size;
    if (is_left_alone(info, job->self))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_DYNAMIC)
            dynamic = (const void *)(info->dlpi_addr + header->p_vaddr);
        if (header->p_type == PT_GNU_RELRO) {
            library.relro = (info->dlpi_addr + header->p_vaddr) & ~(uintptr_t)4095;
            library.relro_end = info->dlpi_addr + header->p_vaddr + header->p_memsz;
        }
    }
    for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
        uintptr_t at = place(info->dlpi_addr, dynamic->d_un.d_ptr);
        switch (dynamic->d_tag) {
        case DT_SYMTAB: library.symbols = (const void *)at; break;
        case DT_STRTAB: library.strings = (const void *)at; break;
        case DT_JMPREL: jumps = (const void *)at; break;
        case DT_RELA: data = (const void *)at; break;
        case DT_PLTRELSZ: jump_bytes = dynamic->d_un.d_val; break;
        case DT_RELASZ: data_bytes = dynamic->d_un.d_val; break;
        default: break;
        }
    }
    if (library.symbols && library.strings) {
        rewrite(job, &library, jumps, jump_bytes);
        rewrite(job, &library, data, data_bytes);
    }
    return 0;
}

int tk_got_patch(const struct tk_symbol *symbols, size_t count, const void *self)
{
    struct job job = {symbols, count, (uintptr_t)self, 0};
    dl_iterate_phdr(visit, &job);
    return job.rewritten;
}
