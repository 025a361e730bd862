/* tracekit._core: the one door from Python into native code. The stable ABI of Python 3.10, so one build serves all. */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attach.h"
#include "door.h"
#include "pace.h"
#include "rawnet.h"
#include "recorder.h"
#include "spool.h"
#include "touched.h"

static PyObject *now_ns(PyObject *self, PyObject *unused)
{
    return PyLong_FromLongLong(tk_now_ns());
}

static PyObject *precise_timers(PyObject *self, PyObject *unused)
{
    int error = tk_precise_timers();
    if (error) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

/* Sleep to the deadline without the GIL; signals are handled and the sleep resumed, as PEP 475 has it. */
static int wait_until(int64_t deadline_ns)
{
    int status;
    do {
        Py_BEGIN_ALLOW_THREADS
        status = tk_sleep_until(deadline_ns);
        Py_END_ALLOW_THREADS
        if (status == EINTR && PyErr_CheckSignals() < 0)
            return -1;
    } while (status == EINTR);
    return 0;
}

static PyObject *sleep_until(PyObject *self, PyObject *argument)
{
    long long deadline_ns = PyLong_AsLongLong(argument);
    if (deadline_ns == -1 && PyErr_Occurred())
        return NULL;
    if (wait_until(deadline_ns) < 0)
        return NULL;
    return PyLong_FromLongLong(tk_now_ns());
}

/* One pread with its clock reads beside the system call, where waiting for the GIL cannot inflate them. The destination
   is an address because Py_buffer joined the stable ABI only in 3.11; the caller keeps the memory alive. */
static PyObject *timed_pread(PyObject *self, PyObject *arguments)
{
    int fd;
    unsigned long long address;
    Py_ssize_t length, result;
    long long offset, deadline_ns;
    int64_t submitted, completed;
    int error = 0;

    if (!PyArg_ParseTuple(arguments, "iKnLL:timed_pread", &fd, &address, &length, &offset, &deadline_ns))
        return NULL;
    if (length < 0 || (address == 0 && length > 0)) {
        PyErr_SetString(PyExc_ValueError, "timed_pread needs an address and a length of 0 or more");
        return NULL;
    }
    if (deadline_ns > 0 && wait_until(deadline_ns) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    submitted = tk_now_ns();
    result = pread(fd, (void *)(uintptr_t)address, (size_t)length, (off_t)offset);
    if (result < 0)
        error = errno;
    completed = tk_now_ns();
    Py_END_ALLOW_THREADS
    return Py_BuildValue("LLni", (long long)submitted, (long long)completed, result, error);
}

/* -- the recorder ------------------------------------------------------------------------------------------------- */

static PyObject *left_out(const struct tk_interposed *state)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < state->left_count; i++) {
        PyObject *pair = Py_BuildValue("ss", state->left[i].name, state->left[i].reason);
        if (pair == NULL || PyList_Append(list, pair) < 0)
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list;
}

static PyObject *record_start(PyObject *self, PyObject *arguments)
{
    static const char *const names[] = {"none", "detour", "got"};
    static struct tk_interposed state;
    const char *directory;
    int tsc, detour, got;
    PyObject *left;

    if (!PyArg_ParseTuple(arguments, "sppp:record_start", &directory, &tsc, &detour, &got))
        return NULL;
    tk_recorder_start(directory, tsc, detour, got, &state);
    left = left_out(&state);
    return left ? Py_BuildValue("sznN", names[state.method], state.reason, (Py_ssize_t)state.hooked, left) : NULL;
}

static PyObject *record_touches(PyObject *self, PyObject *argument)
{
    long mode = PyLong_AsLong(argument);
    if (mode == -1 && PyErr_Occurred())
        return NULL;
    if (mode < TK_TOUCH_OFF || mode > TK_TOUCH_EXACT) {
        PyErr_SetString(PyExc_ValueError, "record_touches takes 0 (off), 1 (pagemap) or 2 (exact)");
        return NULL;
    }
    return Py_BuildValue("z", tk_touch_prepare((enum tk_touch_mode)mode));
}

static PyObject *record_raw(PyObject *self, PyObject *argument)
{
    int start = PyObject_IsTrue(argument);
    return start < 0 ? NULL : Py_BuildValue("z", start ? tk_net_start() : tk_net_prepare());
}

static PyObject *record_pause(PyObject *self, PyObject *argument)
{
    int paused = PyObject_IsTrue(argument);
    if (paused < 0)
        return NULL;
    tk_recorder_pause(paused);
    Py_RETURN_NONE;
}

static PyObject *record_line(PyObject *self, PyObject *arguments)
{
    PyObject *path = NULL;
    const char *text;
    Py_ssize_t bytes;
    int whole;
    if (!PyArg_ParseTuple(arguments, "O&s#:record_line", PyUnicode_FSConverter, &path, &text, &bytes))
        return NULL;
    whole = tk_append_line(PyBytes_AsString(path), text, (size_t)bytes);
    Py_DECREF(path);
    return PyBool_FromLong(whole);
}

static PyObject *record_hush(PyObject *self, PyObject *argument)
{
    int hushed = PyObject_IsTrue(argument);
    return hushed < 0 ? NULL : PyBool_FromLong(tk_recorder_hush(hushed));
}

/* -1 stands for "none"; the caller sees to the ranges. */
static PyObject *record_context(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    long long values[5];
    if (count != 5) {
        PyErr_SetString(PyExc_TypeError, "record_context takes sample, step, epoch, worker and run");
        return NULL;
    }
    for (int i = 0; i < 5; i++) {
        values[i] = PyLong_AsLongLong(arguments[i]);
        if (values[i] == -1 && PyErr_Occurred())
            return NULL;
    }
    tk_recorder_context(values[0], (int32_t)values[1], (int32_t)values[2], (int32_t)values[3],
                        (uint32_t)values[4]);
    Py_RETURN_NONE;
}

/* Kept for the life of the process: a program may be started from any thread at any time. */
static char **kept_words(PyObject *list)
{
    Py_ssize_t count = PyList_Size(list);
    char **words = count < 0 ? NULL : calloc((size_t)count + 1, sizeof *words);
    if (words == NULL)
        return count < 0 ? NULL : (char **)PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *text = PyList_GetItem(list, i);
        const char *bytes = text ? PyBytes_AsString(text) : NULL;
        if (bytes == NULL)
            return NULL;
        words[i] = strdup(bytes);
    }
    return words;
}

static PyObject *record_environment(PyObject *self, PyObject *arguments)
{
    PyObject *list;
    const char *entry, *preload = NULL;
    char **variables;

    if (!PyArg_ParseTuple(arguments, "Oz|z:record_environment", &list, &entry, &preload))
        return NULL;
    variables = kept_words(list);
    if (variables == NULL)
        return NULL;
    tk_exec_environment(variables, entry ? strdup(entry) : NULL, preload ? strdup(preload) : NULL);
    Py_RETURN_NONE;
}

static PyObject *record_attach_plan(PyObject *self, PyObject *arguments)
{
    PyObject *list, *directory = NULL;
    char **words;
    if (!PyArg_ParseTuple(arguments, "OO&:record_attach_plan", &list, PyUnicode_FSConverter, &directory))
        return NULL;
    words = kept_words(list);
    if (words)
        tk_attach_plan(words, strdup(PyBytes_AsString(directory)));
    Py_DECREF(directory);
    if (words == NULL)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *record_attach(PyObject *self, PyObject *argument)
{
    PyObject *path = NULL;
    if (!PyUnicode_FSConverter(argument, &path))
        return NULL;
    tk_attach_before(PyBytes_AsString(path));
    Py_DECREF(path);
    Py_RETURN_NONE;
}

static PyObject *record_children(PyObject *self, PyObject *argument)
{
    int wanted = PyObject_IsTrue(argument);
    if (wanted < 0)
        return NULL;
    tk_recorder_children(wanted);
    Py_RETURN_NONE;
}

static PyObject *record_rescan(PyObject *self, PyObject *unused)
{
    return PyLong_FromLong(tk_interpose_again());
}

static PyObject *record_process(PyObject *self, PyObject *unused)
{
    int64_t born = 0;
    uint64_t start = tk_recorder_process(&born);
    return Py_BuildValue("KL", (unsigned long long)start, (long long)born);
}

static PyObject *record_lost(PyObject *self, PyObject *argument)
{
    long ops = PyLong_AsLong(argument);
    if (ops == -1 && PyErr_Occurred())
        return NULL;
    if (ops > 0)
        tk_count_lost_ops((uint64_t)ops);
    Py_RETURN_NONE;
}

static PyObject *clock_anchor(PyObject *self, PyObject *unused)
{
    uint64_t ticks;
    int64_t ns = tk_anchor(&ticks);
    return Py_BuildValue("LK", (long long)ns, (unsigned long long)ticks);
}

static PyMethodDef methods[] = {
    {"record_start", record_start, METH_VARARGS,
     "record_start(directory, tsc, detour, got) -> (method, reason, hooked, left)."},
    {"record_touches", record_touches, METH_O,
     "Look for touched pages of mapped files from record_start on: 1 pagemap, 2 exact; the reason if that cannot be, or None."},
    {"record_raw", record_raw, METH_O,
     "Catch system calls from outside the C library: False before record_start, True after it; the reason if not, or None."},
    {"record_pause", record_pause, METH_O, "Stop noting I/O (True) or go on (False)."},
    {"record_line", record_line, METH_VARARGS,
     "record_line(path, text) -> bool: append with one write that is not noted, to this process's lines where the path is empty."},
    {"record_hush", record_hush, METH_O,
     "Do not note (True) or note (False) what this thread looks up and lists; returns how it was."},
    {"record_context", (PyCFunction)(void (*)(void))record_context, METH_FASTCALL,
     "record_context(sample, step, epoch, worker, run): what this thread's ops serve from here on; -1 is none."},
    {"record_environment", record_environment, METH_VARARGS,
     "record_environment(variables, path_entry, preload=None): what a started program gets back when its environment lacks it."},
    {"record_attach_plan", record_attach_plan, METH_VARARGS,
     "record_attach_plan(words, directory): attach this strace to programs that are no Python, before they begin."},
    {"record_attach", record_attach, METH_O, "Attach it now to this process, which is about to execute this path."},
    {"record_children", record_children, METH_O,
     "Look (True) or not (False) at children when they end: what the kernel counted as read by them is noted."},
    {"record_rescan", record_rescan, METH_NOARGS, "Hook libraries loaded since, where tables are rewritten."},
    {"record_process", record_process, METH_NOARGS,
     "record_process() -> (what names this process's spool, with the pid, or 0; CLOCK_MONOTONIC ns of its start)."},
    {"record_lost", record_lost, METH_O, "Count so many ops as lost."},
    {"clock_anchor", clock_anchor, METH_NOARGS, "(CLOCK_MONOTONIC ns, time stamp counter) at one moment."},
    {"now_ns", now_ns, METH_NOARGS, "CLOCK_MONOTONIC in nanoseconds."},
    {"precise_timers", precise_timers, METH_NOARGS, "Set the calling thread's timer slack to 1 ns."},
    {"sleep_until", sleep_until, METH_O, "Sleep to an absolute CLOCK_MONOTONIC time; return the time after waking."},
    {"timed_pread", timed_pread, METH_VARARGS,
     "timed_pread(fd, address, length, offset, deadline_ns) -> (t_submit, t_complete, result, errno)."},
    {"replay_run", (PyCFunction)(void (*)(void))tk_door_replay_run, METH_VARARGS | METH_KEYWORDS, "Replay a plan."},
    {"replay_layouts", tk_door_replay_layouts, METH_NOARGS, "Sizes of the structures of replay_run, in bytes."},
    {"uring_probe", tk_door_uring_probe, METH_NOARGS, "uring_probe() -> (errno or 0, setup flags, features)."},
    {"parser", tk_door_parser, METH_NOARGS, "A new parser of trace lines."},
    {"parser_columns", tk_door_parser_columns, METH_NOARGS, "The columns it fills: (name, kind)."},
    {"parser_lines", tk_door_parser_lines, METH_VARARGS, "How many lines end in a text."},
    {"parser_run", tk_door_parser_run, METH_VARARGS, "Read lines into columns."},
    {"parser_new_strings", tk_door_parser_new_strings, METH_VARARGS, "The strings of a column that are new."},
    {"parser_intern", tk_door_parser_intern, METH_VARARGS, "The code of a string in a column's table."},
    {"events", tk_door_events, METH_NOARGS, "A new scanner of dftracer's lines."},
    {"events_columns", tk_door_events_columns, METH_NOARGS, "The columns it fills, and how many of them are texts."},
    {"events_read", tk_door_events_read, METH_VARARGS, "Read lines into columns."},
    {"events_new_texts", tk_door_events_new_texts, METH_VARARGS, "The texts of a column that are new."},
    {"events_code", tk_door_events_code, METH_VARARGS, "The code of a text in a column's table."},
    {"positions", tk_door_positions, METH_NOARGS, "Positions of open files, none yet."},
    {"positions_follow", tk_door_positions_follow, METH_VARARGS, "Follow calls in their order."},
    {"cells", tk_door_cells, METH_VARARGS, "A new reader of lines of cells."},
    {"cells_scan", tk_door_cells_scan, METH_VARARGS, "Read such lines into columns."},
    {"cells_texts", tk_door_cells_texts, METH_VARARGS, "The texts of a cell that are new."},
    {"fetch", tk_door_fetch, METH_VARARGS, "Ranges of many files into memory."},
    {"fetch_layout", tk_door_fetch_layout, METH_NOARGS, "The size of a range's record."},
    {"ranged_get", tk_door_ranged_get, METH_VARARGS, "One ranged GET over plain HTTP."},
    {"standstill_watch", tk_door_standstill_watch, METH_NOARGS, "Look for standstills of the machine from now on."},
    {"standstill_seen", tk_door_standstill_seen, METH_O, "End that; what was seen."},
    {"connects", tk_door_connects, METH_NOARGS, "TCP connections that this process opened."},
    {"crc32c", tk_door_crc32c, METH_VARARGS, "The CRC-32C of memory."},
    {"emit_lines", tk_door_emit_lines, METH_VARARGS, "Columns as lines of ops."},
    {"strace", tk_door_strace, METH_NOARGS, "A new reader of strace's text."},
    {"strace_layout", tk_door_strace_layout, METH_NOARGS, "The columns it fills, and the ops it knows."},
    {"strace_run", tk_door_strace_run, METH_VARARGS, "Read lines into columns."},
    {"strace_bad", tk_door_strace_bad, METH_O, "The bad lines."},
    {"strace_new_strings", tk_door_strace_new_strings, METH_VARARGS, "Names or errors that are new."},
    {"strace_finish", tk_door_strace_finish, METH_O, "What was left out."},
    {"tally_follow", tk_door_tally_follow, METH_VARARGS, "What comes before each read in its group."},
    {"tally_runs", tk_door_tally_runs, METH_VARARGS, "Lengths of runs of reads."},
    {"tally_histogram", tk_door_tally_histogram, METH_VARARGS, "Values into buckets."},
    {"keyed_times", tk_door_keyed_times, METH_VARARGS, "Times into buckets of keys."},
    {"keyed_ranks", tk_door_keyed_ranks, METH_VARARGS, "The buckets of keys at their ranks."},
    {"power_cells", tk_door_power_cells, METH_VARARGS, "Ops into powers of two of sizes and times."},
    {"tally_buckets", tk_door_tally_buckets, METH_NOARGS, "How many buckets there are."},
    {"groups", tk_door_groups, METH_VARARGS, "A table of sums by rows of keys."},
    {"groups_add", tk_door_groups_add, METH_VARARGS, "Add rows to it."},
    {"groups_columns", tk_door_groups_columns, METH_VARARGS, "Copy its rows out."},
    {"groups_clear", tk_door_groups_clear, METH_O, "Empty it."},
    {"people", tk_door_people, METH_NOARGS, "A table of those who issue ops."},
    {"people_known", tk_door_people_known, METH_O, "All of them, in order of their numbers."},
    {"compile_rows", tk_door_compile_rows, METH_VARARGS, "Columns to rows."},
    {"compile_survey", tk_door_compile_survey, METH_O, "Count what rows want."},
    {"compile_deal", tk_door_compile_deal, METH_O, "Rows to ops, stream by stream."},
    {"compile_layouts", tk_door_compile_layouts, METH_NOARGS, "Sizes of the compiler's structures."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "tracekit._core", "Native parts of tracekit.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModule_Create(&definition);
}
