/* The door from Python to the compiler of traces. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <stdlib.h>

#include "compile.h"
#include "door.h"

static const char CAPSULE[] = "tracekit._core.people";

static void drop(PyObject *capsule)
{
    tk_people *people = PyCapsule_GetPointer(capsule, CAPSULE);
    if (people) {
        tk_people_close(people);
        free(people);
    }
}

PyObject *tk_door_people(PyObject *self, PyObject *unused)
{
    tk_people *people = malloc(sizeof *people);
    if (people == NULL || tk_people_open(people)) {
        if (people)
            tk_people_close(people);
        free(people);
        return PyErr_NoMemory();
    }
    return PyCapsule_New(people, CAPSULE, drop);
}

PyObject *tk_door_people_known(PyObject *self, PyObject *capsule)
{
    tk_people *people = PyCapsule_GetPointer(capsule, CAPSULE);
    if (people == NULL)
        return NULL;
    return PyBytes_FromStringAndSize((const char *)people->known, (Py_ssize_t)people->count * (Py_ssize_t)sizeof people->known[0]);
}

PyObject *tk_door_compile_rows(PyObject *self, PyObject *arguments)
{
    PyObject *capsule;
    unsigned long long address;
    int error;
    if (!PyArg_ParseTuple(arguments, "OK:compile_rows", &capsule, &address))
        return NULL;
    tk_people *people = PyCapsule_GetPointer(capsule, CAPSULE);
    if (people == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    error = tk_compile_rows(people, (const tk_piece *)(uintptr_t)address);
    Py_END_ALLOW_THREADS
    if (error)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

PyObject *tk_door_compile_survey(PyObject *self, PyObject *argument)
{
    unsigned long long address = PyLong_AsUnsignedLongLong(argument);
    if (PyErr_Occurred())
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    tk_compile_survey((tk_survey *)(uintptr_t)address);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

PyObject *tk_door_compile_deal(PyObject *self, PyObject *argument)
{
    int error;
    unsigned long long address = PyLong_AsUnsignedLongLong(argument);
    if (PyErr_Occurred())
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    error = tk_compile_deal((tk_deal *)(uintptr_t)address);
    Py_END_ALLOW_THREADS
    if (error) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

PyObject *tk_door_compile_layouts(PyObject *self, PyObject *unused)
{
    return Py_BuildValue("{sisisisi}", "row", (int)sizeof(tk_row), "piece", (int)sizeof(tk_piece), "survey",
                         (int)sizeof(tk_survey), "deal", (int)sizeof(tk_deal));
}
