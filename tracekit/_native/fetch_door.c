/* The door from Python to the reader of many files. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "door.h"
#include "fetch.h"

PyObject *tk_door_fetch(PyObject *self, PyObject *arguments)
{
    const char *names;
    Py_ssize_t size;
    unsigned long long ranges;
    long long count;
    int advice;
    if (!PyArg_ParseTuple(arguments, "y#KLi:fetch", &names, &size, &ranges, &count, &advice))
        return NULL;
    if (count < 0 || (ranges == 0 && count > 0) || size == 0 || names[size - 1] != '\0') {
        PyErr_SetString(PyExc_ValueError, "fetch needs names that end with a NUL, and ranges");
        return NULL;
    }
    tk_range *given = (tk_range *)(uintptr_t)ranges;
    for (long long i = 0; i < count; i++) {
        if (given[i].name < 0 || given[i].name >= size || given[i].length < 0 || given[i].offset < 0)
            return PyErr_Format(PyExc_ValueError, "range %lld has no name, or is below 0", i);
    }
    Py_BEGIN_ALLOW_THREADS
    tk_fetch(names, given, count, advice);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

PyObject *tk_door_fetch_layout(PyObject *self, PyObject *unused)
{
    return PyLong_FromSize_t(sizeof(tk_range));
}
