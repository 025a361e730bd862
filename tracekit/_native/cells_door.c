/* The door from Python to the reader of lines of cells. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>
#include <string.h>

#include "cells.h"
#include "door.h"

static const char CAPSULE[] = "tracekit._core.cells";

static void drop(PyObject *capsule)
{
    tk_cells *scanner = PyCapsule_GetPointer(capsule, CAPSULE);
    if (scanner) {
        tk_cells_close(scanner);
        free(scanner);
    }
}

/* What each cell is: (kind, needed, scale). */
static int set_cells(tk_cells *scanner, PyObject *kinds)
{
    for (int i = 0; i < scanner->width; i++) {
        int kind, needed;
        long long scale;
        PyObject *one = PyList_GetItem(kinds, i);
        if (one == NULL || !PyArg_ParseTuple(one, "ipL:cells", &kind, &needed, &scale))
            return -1;
        if (kind < 0 || kind >= TK_CELL_KINDS || scale < 1) {
            PyErr_SetString(PyExc_ValueError, "there is no such kind of cell, or its scale is below 1");
            return -1;
        }
        if (tk_cells_set(scanner, i, kind, needed, scale) < 0) {
            PyErr_NoMemory();
            return -1;
        }
    }
    return 0;
}

PyObject *tk_door_cells(PyObject *self, PyObject *arguments)
{
    PyObject *kinds;
    int between, least, open_end;
    if (!PyArg_ParseTuple(arguments, "O!iip:cells", &PyList_Type, &kinds, &between, &least, &open_end))
        return NULL;
    Py_ssize_t width = PyList_Size(kinds);
    if (width < 1 || width > 1 << 16 || least < 1 || least > width || between < 0 || between > 0x7F) {
        PyErr_SetString(PyExc_ValueError, "cells takes some kinds, a delimiter in ASCII, and how many cells there must be");
        return NULL;
    }
    tk_cells *scanner = malloc(sizeof *scanner);
    if (scanner == NULL || tk_cells_open(scanner, (int)width, least, (char)between, open_end) < 0) {
        free(scanner);
        return PyErr_NoMemory();
    }
    PyObject *capsule = PyCapsule_New(scanner, CAPSULE, drop);
    if (capsule == NULL) {
        tk_cells_close(scanner);
        free(scanner);
    } else if (set_cells(scanner, kinds) < 0) {
        Py_CLEAR(capsule);
    }
    return capsule;
}

static PyObject *present_cells(const tk_cells *scanner)
{
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < scanner->width; i++) {
        PyObject *place = scanner->cells[i].present ? PyLong_FromLong(i) : NULL;
        if (scanner->cells[i].present && (place == NULL || PyList_Append(list, place) < 0))
            Py_CLEAR(list);
        Py_XDECREF(place);
    }
    return list;
}

PyObject *tk_door_cells_scan(PyObject *self, PyObject *arguments)
{
    PyObject *capsule;
    const char *text;
    Py_ssize_t length, position;
    unsigned long long addresses;
    long long capacity;

    if (!PyArg_ParseTuple(arguments, "Oy#nKL:cells_scan", &capsule, &text, &length, &position, &addresses, &capacity))
        return NULL;
    tk_cells *scanner = PyCapsule_GetPointer(capsule, CAPSULE);
    if (scanner == NULL)
        return NULL;
    if (addresses == 0 || position < 0 || position > length || capacity < 0) {
        PyErr_SetString(PyExc_ValueError, "cells_scan needs columns, and places of 0 or more");
        return NULL;
    }
    tk_scanned scanned = {.capacity = capacity, .position = (size_t)position};
    scanned.columns = (int64_t *const *)(uintptr_t)addresses;
    Py_BEGIN_ALLOW_THREADS
    tk_cells_scan(scanner, text, (size_t)length, &scanned);
    Py_END_ALLOW_THREADS
    if (scanned.no_memory)
        return PyErr_NoMemory();
    PyObject *present = present_cells(scanner);
    return present ? Py_BuildValue("nLLN", (Py_ssize_t)scanned.position, (long long)scanned.rows, (long long)scanned.lines,
                                   present) : NULL;
}

/* The texts of a cell that were not told yet. */
PyObject *tk_door_cells_texts(PyObject *self, PyObject *arguments)
{
    PyObject *capsule;
    int place;
    if (!PyArg_ParseTuple(arguments, "Oi:cells_texts", &capsule, &place))
        return NULL;
    tk_cells *scanner = PyCapsule_GetPointer(capsule, CAPSULE);
    if (scanner == NULL)
        return NULL;
    if (place < 0 || place >= scanner->width) {
        PyErr_SetString(PyExc_ValueError, "there is no such cell");
        return NULL;
    }
    tk_strings *table = &scanner->cells[place].table;
    PyObject *list = PyList_New(0);
    for (; list && table->told < table->count; table->told++) {
        const tk_string *one = &table->strings[table->told];
        PyObject *text = PyBytes_FromStringAndSize(table->bytes + one->at, one->length);
        if (text == NULL || PyList_Append(list, text) < 0)
            Py_CLEAR(list);
        Py_XDECREF(text);
    }
    return list;
}
