/* The door from Python to the count of connections. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "connects.h"
#include "door.h"

PyObject *tk_door_connects(PyObject *self, PyObject *unused)
{
    if (!tk_connects_follow())
        Py_RETURN_NONE;
    return PyLong_FromLongLong(tk_connects_count());
}
