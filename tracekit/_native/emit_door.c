/* The door from Python to the writer of trace lines. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "door.h"
#include "emit.h"

PyObject *tk_door_emit_lines(PyObject *self, PyObject *arguments)
{
    unsigned long long columns, texts, out;
    long long from, to, room;
    if (!PyArg_ParseTuple(arguments, "KKLLKL:emit_lines", &columns, &texts, &from, &to, &out, &room))
        return NULL;
    if (columns == 0 || texts == 0 || out == 0 || from < 0 || room < 0) {
        PyErr_SetString(PyExc_ValueError, "emit_lines needs columns, texts and room, and places of 0 or more");
        return NULL;
    }
    tk_emitter emitter;
    const uint64_t *given = (const uint64_t *)(uintptr_t)texts;
    for (int i = 0; i < TK_COLUMNS; i++) {
        emitter.columns[i] = (const void *)(uintptr_t)((const uint64_t *)(uintptr_t)columns)[i];
        emitter.texts[i].text = (const char *)(uintptr_t)given[3 * i];
        emitter.texts[i].starts = (const int64_t *)(uintptr_t)given[3 * i + 1];
        emitter.texts[i].count = (int64_t)given[3 * i + 2];
    }
    int64_t row = from, written;
    Py_BEGIN_ALLOW_THREADS
    written = tk_emit(&emitter, &row, to, (char *)(uintptr_t)out, room);
    Py_END_ALLOW_THREADS
    if (written == TK_EMIT_BAD_CODE)
        return PyErr_Format(PyExc_ValueError, "row %lld has a code that is not in its column's table", (long long)row);
    return Py_BuildValue("LL", (long long)row, written == TK_EMIT_NO_ROOM ? 0LL : (long long)written);
}
