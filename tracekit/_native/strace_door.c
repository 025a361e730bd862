/* The door from Python to the reader of strace's text. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>

#include "door.h"
#include "strace.h"

static const char CAPSULE[] = "tracekit._core.strace";

static void drop(PyObject *capsule)
{
    tk_strace *state = PyCapsule_GetPointer(capsule, CAPSULE);
    if (state)
        tk_strace_close(state);
    free(state);
}

PyObject *tk_door_strace(PyObject *self, PyObject *unused)
{
    tk_strace *state = malloc(sizeof *state);
    if (state && tk_strace_open(state))
        return PyCapsule_New(state, CAPSULE, drop);
    if (state)
        tk_strace_close(state);
    free(state);
    return PyErr_NoMemory();
}

static PyObject *texts(const char *const *words, int count)
{
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < count; i++) {
        PyObject *text = PyUnicode_FromString(words[i]);
        if (text == NULL || PyList_Append(list, text) < 0)
            Py_CLEAR(list);
        Py_XDECREF(text);
    }
    return list;
}

PyObject *tk_door_strace_layout(PyObject *self, PyObject *unused)
{
    int ops = 0;
    while (TK_S_OPS[ops])
        ops++;
    return Py_BuildValue("NN", texts(TK_S_NAMES, TK_S_COLUMNS), texts(TK_S_OPS, ops));
}

PyObject *tk_door_strace_run(PyObject *self, PyObject *arguments)
{
    PyObject *capsule;
    unsigned long long text, columns;
    Py_ssize_t length, place;
    long long capacity;
    int whole, strict;
    if (!PyArg_ParseTuple(arguments, "OKnnKLpp:strace_run", &capsule, &text, &length, &place, &columns, &capacity, &whole, &strict))
        return NULL;
    tk_strace *state = PyCapsule_GetPointer(capsule, CAPSULE);
    if (state == NULL)
        return NULL;
    if (text == 0 || columns == 0 || place < 0 || place > length || capacity < TK_MOST_ROWS) {
        PyErr_SetString(PyExc_ValueError, "strace_run needs a text, a place in it, and columns with room");
        return NULL;
    }
    for (int i = 0; i < TK_S_COLUMNS; i++)
        state->columns[i] = (int64_t *)(uintptr_t)((const uint64_t *)(uintptr_t)columns)[i];
    const char *begin = (const char *)(uintptr_t)text;
    size_t position = (size_t)place;
    enum tk_strace_end end;
    state->rows = 0;
    Py_BEGIN_ALLOW_THREADS
    end = tk_strace_run(state, (tk_span){begin, begin + length}, &position, capacity, whole, strict);
    Py_END_ALLOW_THREADS
    if (state->no_memory)
        return PyErr_NoMemory();
    return Py_BuildValue("nLi", (Py_ssize_t)position, (long long)state->rows, (int)end);
}

PyObject *tk_door_strace_bad(PyObject *self, PyObject *capsule)
{
    tk_strace *state = PyCapsule_GetPointer(capsule, CAPSULE);
    if (state == NULL)
        return NULL;
    long long bad = state->bad;
    state->bad = 0;
    return Py_BuildValue("LLiy#", bad, (long long)state->bad_line, (int)state->bad_kind, state->bad_text,
                         (Py_ssize_t)(bad ? state->bad_length : 0));
}

/* The names of files, or the errors, that were not told yet. */
PyObject *tk_door_strace_new_strings(PyObject *self, PyObject *arguments)
{
    PyObject *capsule;
    int errors;
    if (!PyArg_ParseTuple(arguments, "Op:strace_new_strings", &capsule, &errors))
        return NULL;
    tk_strace *state = PyCapsule_GetPointer(capsule, CAPSULE);
    if (state == NULL)
        return NULL;
    return tk_new_strings(errors ? &state->errors : &state->uris, true);
}

PyObject *tk_door_strace_finish(PyObject *self, PyObject *capsule)
{
    tk_strace *state = PyCapsule_GetPointer(capsule, CAPSULE);
    if (state == NULL)
        return NULL;
    tk_strace_finish(state);
    PyObject *list = PyList_New(0);
    for (int32_t code = 0; list && code < state->reasons.count; code++) {
        const tk_string *one = &state->reasons.strings[code];
        const char *text = state->reasons.bytes + one->at;
        PyObject *pair = Py_BuildValue("y#L", text, (Py_ssize_t)one->length, (long long)state->left[code]);
        if (pair == NULL || PyList_Append(list, pair) < 0)
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list;
}
