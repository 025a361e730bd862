/* The door from Python to ranged GETs. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>

#include "door.h"
#include "pace.h"
#include "ranged.h"

/* After a signal: Python's handlers, which only the main thread has; not 0 where one raised. */
static int after_signal(void *state)
{
    PyThreadState **saved = state;
    PyEval_RestoreThread(*saved);
    int raised = PyErr_CheckSignals();
    *saved = PyEval_SaveThread();
    return raised;
}

PyObject *tk_door_ranged_get(PyObject *self, PyObject *arguments)
{
    int fd;
    const char *request;
    Py_ssize_t size, room;
    long long due, timeout;
    unsigned long long address;
    tk_answer answer;
    if (!PyArg_ParseTuple(arguments, "iy#LLKn:ranged_get", &fd, &request, &size, &due, &timeout, &address, &room))
        return NULL;
    if (room < 0 || (address == 0 && room > 0)) {
        PyErr_SetString(PyExc_ValueError, "ranged_get needs an address and room of 0 or more");
        return NULL;
    }
    int raised = 0;
    PyThreadState *saved = PyEval_SaveThread();
    while (due > 0 && !raised && tk_sleep_until(due) == EINTR)
        raised = after_signal(&saved);
    if (!raised)
        tk_ranged_get(fd, request, (size_t)size, tk_now_ns() + timeout, (char *)(uintptr_t)address, (size_t)room, after_signal,
                      &saved, &answer);
    PyEval_RestoreThread(saved);
    if (PyErr_Occurred())
        return NULL;
    return Py_BuildValue("LLLiLLiiiiy#", (long long)answer.submitted, (long long)answer.first_byte, (long long)answer.completed,
                         answer.status, (long long)answer.count, (long long)answer.first, answer.error, answer.ended,
                         answer.stale, answer.keep, answer.text, (Py_ssize_t)answer.kept);
}
