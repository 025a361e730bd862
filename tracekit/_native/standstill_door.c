/* The door from Python to the watch for standstills, for runs by threads of Python's. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>

#include "door.h"
#include "standstill.h"

static const char CAPSULE[] = "tracekit.standstill";

/* The threads are gone and so is what they saw; a second time does nothing. */
static void end(tk_standstill *watch)
{
    Py_BEGIN_ALLOW_THREADS
    tk_standstill_end(watch);
    Py_END_ALLOW_THREADS
}

static void forget(PyObject *capsule)
{
    tk_standstill *watch = PyCapsule_GetPointer(capsule, CAPSULE);
    end(watch);
    tk_standstill_free(watch);
    free(watch);
}

PyObject *tk_door_standstill_watch(PyObject *self, PyObject *unused)
{
    tk_standstill *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return PyErr_NoMemory();
    tk_standstill_start(watch);
    PyObject *capsule = PyCapsule_New(watch, CAPSULE, forget);
    if (capsule == NULL) {
        end(watch);
        tk_standstill_free(watch);
        free(watch);
    }
    return capsule;
}

PyObject *tk_door_standstill_seen(PyObject *self, PyObject *capsule)
{
    tk_standstill *watch = PyCapsule_GetPointer(capsule, CAPSULE);
    if (watch == NULL)
        return NULL;
    end(watch);
    PyObject *seen = PyList_New(watch->count);
    for (int32_t i = 0; seen && i < watch->count; i++) {
        const tk_sentinel *sentinel = &watch->sentinels[i];
        PyObject *spans = PyBytes_FromStringAndSize((const char *)sentinel->spans, (Py_ssize_t)sizeof(tk_span) * sentinel->count);
        if (spans == NULL)
            Py_CLEAR(seen);
        else
            PyList_SetItem(seen, i, spans);
    }
    return seen;
}
