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
    int advice, depth, most;
    if (!PyArg_ParseTuple(arguments, "y#KLii:fetch", &names, &size, &ranges, &count, &advice, &depth))
        return NULL;
    if (count < 0 || depth < 1 || depth > 4096 || (ranges == 0 && count > 0) || size == 0 || names[size - 1] != '\0') {
        PyErr_SetString(PyExc_ValueError, "fetch needs names that end with a NUL, ranges, and a depth from 1 to 4096");
        return NULL;
    }
    tk_range *given = (tk_range *)(uintptr_t)ranges;
    for (long long i = 0; i < count; i++) {
        if (given[i].name < 0 || given[i].name >= size || given[i].length < 0 || given[i].offset < 0)
            return PyErr_Format(PyExc_ValueError, "range %lld has no name, or is below 0", i);
    }
    Py_BEGIN_ALLOW_THREADS
    most = tk_fetch(names, given, count, advice, depth);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(most);
}

PyObject *tk_door_fetch_layout(PyObject *self, PyObject *unused)
{
    return PyLong_FromSize_t(sizeof(tk_range));
}
