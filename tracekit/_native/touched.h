/* Which pages of mapped files a program touches: for `record --mmap pagemap|exact`.

   Maps of regular files are kept in a table, and now and then the kernel is asked which of their pages this process has in
   its page table (PAGEMAP_SCAN, Linux 6.7). By itself the kernel maps the neighbours of a touched page as well; in a range
   registered with userfaultfd (write-protect, asynchronous: no fault is ever delivered) it does not, and the answer is
   exact. Nobody is asked for a privilege, no thread is made, and while the mode is TK_TOUCH_OFF none of this exists. */
#ifndef TRACEKIT_TOUCHED_H
#define TRACEKIT_TOUCHED_H

#include <stdatomic.h>
#include <stdint.h>

enum tk_touch_mode { TK_TOUCH_OFF, TK_TOUCH_PAGEMAP, TK_TOUCH_EXACT };

/* Why a map is left as it is. Numbers are part of the spool's layout. */
enum tk_touch_left {
    TK_LEFT_NONE,
    TK_LEFT_CODE,     /* executable: libraries */
    TK_LEFT_POPULATE, /* the kernel maps every page of it at once */
    TK_LEFT_MEMORY,   /* shared memory, huge pages, DAX: a private map would be something else */
    TK_LEFT_FULL,     /* more maps than the table has rows */
    TK_LEFT_REFUSED,  /* the kernel did not register it */
};

/* What a process says about all this, in the page of its head; readers find it at TK_TOUCH_FACTS. */
enum { TK_TOUCH_FACTS = 1024 };
struct tk_touch_facts {
    char magic[8]; /* "tktouch\0" */
    uint32_t mode, ended; /* ended: the last look was taken, nothing is missing */
    _Atomic uint64_t maps, privately, looks, look_ticks, pages;
    _Atomic uint32_t refused, closed; /* a forked child that got no userfaultfd; the descriptor was closed under us */
};

struct tk_touch_facts *tk_touch_facts(void);

/* The lock over the table of maps: signals wait, and its owner may take it again. */
void tk_touch_enter(uint64_t *signals);
void tk_touch_leave(const uint64_t *signals);

/* Under it: look at every map that overlaps the range. */
void tk_touch_look(uintptr_t start, uintptr_t end);

/* A descriptor of the process's page table, to be closed by the caller; or -errno. */
int tk_touch_pagemap(void);

/* Whether touched pages can be found here; NULL or the reason. Sets the mode: the hooks that go with it are put in by the
   next tk_interpose. */
const char *tk_touch_prepare(enum tk_touch_mode mode);

enum tk_touch_mode tk_touch_wanted(void);

/* After the C library was hooked. */
void tk_touch_start(void);

/* The calling thread goes on to another sample or step: what was touched so far was for the one before. */
void tk_touch_context(void);

/* The process ends: look for the last time. */
void tk_touch_end(void);

/* In a forked child: maps are inherited, their registration is not. */
void tk_touch_reborn(void);

#endif
