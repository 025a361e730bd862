/* The door from Python to CRC-32C. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "crc32c.h"
#include "door.h"

PyObject *tk_door_crc32c(PyObject *self, PyObject *arguments)
{
    unsigned long long address;
    long long length;
    unsigned long before;
    if (!PyArg_ParseTuple(arguments, "KLk:crc32c", &address, &length, &before))
        return NULL;
    if (length < 0 || (length > 0 && address == 0)) {
        PyErr_SetString(PyExc_ValueError, "crc32c needs an address and a length of 0 or more");
        return NULL;
    }
    uint32_t crc;
    /* For a short record the lock costs more than the work. */
    if (length < 65536)
        return PyLong_FromUnsignedLong(tk_crc32c((uint32_t)before, (const unsigned char *)(uintptr_t)address, (size_t)length));
    Py_BEGIN_ALLOW_THREADS
    crc = tk_crc32c((uint32_t)before, (const unsigned char *)(uintptr_t)address, (size_t)length);
    Py_END_ALLOW_THREADS
    return PyLong_FromUnsignedLong(crc);
}
