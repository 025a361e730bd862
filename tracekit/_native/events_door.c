/* The door from Python to the scanner of dftracer's lines, and to positions of open files. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>

#include "door.h"
#include "events.h"
#include "positions.h"

static const char EVENTS[] = "tracekit._core.events", POSITIONS[] = "tracekit._core.positions";

static void drop_events(PyObject *capsule)
{
    tk_events *events = PyCapsule_GetPointer(capsule, EVENTS);
    if (events) {
        tk_events_close(events);
        free(events);
    }
}

PyObject *tk_door_events(PyObject *self, PyObject *unused)
{
    tk_events *events = malloc(sizeof *events);
    if (events == NULL || tk_events_open(events) < 0) {
        if (events)
            tk_events_close(events);
        free(events);
        return PyErr_NoMemory();
    }
    return PyCapsule_New(events, EVENTS, drop_events);
}

PyObject *tk_door_events_columns(PyObject *self, PyObject *unused)
{
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < TK_EVENT_COLUMNS; i++) {
        PyObject *name = PyUnicode_FromString(TK_EVENT_COLUMN[i]);
        if (name == NULL || PyList_Append(list, name) < 0)
            Py_CLEAR(list);
        Py_XDECREF(name);
    }
    return Py_BuildValue("Ni", list, (int)TK_EVENT_FIRST_NUMBER);
}

PyObject *tk_door_events_read(PyObject *self, PyObject *arguments)
{
    PyObject *capsule;
    const char *text;
    Py_ssize_t length, position;
    unsigned long long columns;
    long long rows, capacity;

    if (!PyArg_ParseTuple(arguments, "Oy#nKLL:events_read", &capsule, &text, &length, &position, &columns, &rows, &capacity))
        return NULL;
    tk_events *events = PyCapsule_GetPointer(capsule, EVENTS);
    if (events == NULL)
        return NULL;
    if (columns == 0 || position < 0 || position > length || rows < 0 || rows > capacity) {
        PyErr_SetString(PyExc_ValueError, "events_read needs columns, and places within them and the text");
        return NULL;
    }
    tk_event_rows read = {.columns = (int64_t *)(uintptr_t)columns, .capacity = capacity, .rows = rows, .position = (size_t)position};
    Py_BEGIN_ALLOW_THREADS
    tk_events_read(events, text, (size_t)length, &read);
    Py_END_ALLOW_THREADS
    if (read.no_memory)
        return PyErr_NoMemory();
    return Py_BuildValue("nLL", (Py_ssize_t)read.position, (long long)read.rows, (long long)read.lines);
}

static tk_strings *table_of(PyObject *capsule, int column)
{
    tk_events *events = PyCapsule_GetPointer(capsule, EVENTS);
    if (events == NULL)
        return NULL;
    if (column < 0 || column >= TK_EVENT_FIRST_NUMBER) {
        PyErr_SetString(PyExc_ValueError, "there is no such column of texts");
        return NULL;
    }
    return tk_events_table(events, column);
}

PyObject *tk_door_events_new_texts(PyObject *self, PyObject *arguments)
{
    PyObject *capsule;
    int column;
    if (!PyArg_ParseTuple(arguments, "Oi:events_new_texts", &capsule, &column))
        return NULL;
    tk_strings *table = table_of(capsule, column);
    return table ? tk_new_strings(table, false) : NULL;
}

PyObject *tk_door_events_code(PyObject *self, PyObject *arguments)
{
    PyObject *capsule;
    int column;
    const char *text;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(arguments, "Ois#:events_code", &capsule, &column, &text, &length))
        return NULL;
    tk_strings *table = table_of(capsule, column);
    if (table == NULL)
        return NULL;
    int32_t code = tk_strings_code(table, text, (size_t)length);
    return code < 0 ? PyErr_NoMemory() : PyLong_FromLong(code);
}

static void drop_positions(PyObject *capsule)
{
    tk_positions *positions = PyCapsule_GetPointer(capsule, POSITIONS);
    if (positions) {
        tk_positions_close(positions);
        free(positions);
    }
}

PyObject *tk_door_positions(PyObject *self, PyObject *unused)
{
    tk_positions *positions = malloc(sizeof *positions);
    if (positions == NULL || tk_positions_open(positions) < 0) {
        if (positions)
            tk_positions_close(positions);
        free(positions);
        return PyErr_NoMemory();
    }
    return PyCapsule_New(positions, POSITIONS, drop_positions);
}

/* The columns lie one behind the other: step, tid, pid, fd, path, amount; the seventh is filled. */
PyObject *tk_door_positions_follow(PyObject *self, PyObject *arguments)
{
    PyObject *capsule;
    unsigned long long columns;
    Py_ssize_t count;
    int failed;
    if (!PyArg_ParseTuple(arguments, "OKn:positions_follow", &capsule, &columns, &count))
        return NULL;
    tk_positions *positions = PyCapsule_GetPointer(capsule, POSITIONS);
    if (positions == NULL)
        return NULL;
    if (columns == 0 || count < 0) {
        PyErr_SetString(PyExc_ValueError, "positions_follow needs columns");
        return NULL;
    }
    int64_t *first = (int64_t *)(uintptr_t)columns;
    tk_moves moves = {first, first + count, first + 2 * count, first + 3 * count, first + 4 * count, first + 5 * count,
                      first + 6 * count, (size_t)count};
    Py_BEGIN_ALLOW_THREADS
    failed = tk_positions_follow(positions, &moves);
    Py_END_ALLOW_THREADS
    if (failed)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}
