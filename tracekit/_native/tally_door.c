/* The door from Python to what is added up over ops. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>

#include "door.h"
#include "tally.h"

static const char CAPSULE[] = "tracekit._core.groups";

static void *at(unsigned long long address)
{
    return (void *)(uintptr_t)address;
}

PyObject *tk_door_tally_follow(PyObject *self, PyObject *arguments)
{
    long long count;
    unsigned long long group, uri, offset, end, last_uri, last_end, gap, before;
    if (!PyArg_ParseTuple(arguments, "LKKKKKKKK:tally_follow", &count, &group, &uri, &offset, &end, &last_uri, &last_end, &gap,
                          &before))
        return NULL;
    tk_follow_job job = {count, at(group), at(uri), at(offset), at(end), at(last_uri), at(last_end), at(gap), at(before)};
    Py_BEGIN_ALLOW_THREADS
    tk_follow(&job);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

PyObject *tk_door_tally_runs(PyObject *self, PyObject *arguments)
{
    long long count;
    unsigned long long uri, follows, open, lengths;
    int64_t ended;
    if (!PyArg_ParseTuple(arguments, "LKKKK:tally_runs", &count, &uri, &follows, &open, &lengths))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    ended = tk_runs(at(uri), at(follows), count, at(open), at(lengths));
    Py_END_ALLOW_THREADS
    return PyLong_FromLongLong(ended);
}

PyObject *tk_door_tally_histogram(PyObject *self, PyObject *arguments)
{
    long long count;
    unsigned long long values, counts;
    tk_counted counted;
    if (!PyArg_ParseTuple(arguments, "LKK:tally_histogram", &count, &values, &counts))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    tk_histogram(at(values), count, at(counts), &counted);
    Py_END_ALLOW_THREADS
    if (counted.negative)
        return PyErr_Format(PyExc_ValueError, "a histogram's values are from 0 to 2^63 - 1");
    return Py_BuildValue("LLKK", (long long)counted.lowest, (long long)counted.highest, (unsigned long long)counted.sum_high,
                         (unsigned long long)counted.sum_low);
}

PyObject *tk_door_tally_buckets(PyObject *self, PyObject *unused)
{
    return PyLong_FromLong(TK_BUCKETS);
}

PyObject *tk_door_keyed_times(PyObject *self, PyObject *arguments)
{
    long long count, width;
    int bits;
    unsigned long long keys, times, counts;
    if (!PyArg_ParseTuple(arguments, "LKKiLK:keyed_times", &count, &keys, &times, &bits, &width, &counts))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    tk_keyed_times(at(keys), at(times), count, bits, width, at(counts));
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

PyObject *tk_door_keyed_ranks(PyObject *self, PyObject *arguments)
{
    long long count, width;
    unsigned long long counts, keys, ranks, buckets;
    if (!PyArg_ParseTuple(arguments, "LLKKKK:keyed_ranks", &count, &width, &counts, &keys, &ranks, &buckets))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    tk_keyed_ranks(at(counts), width, at(keys), at(ranks), count, at(buckets));
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

PyObject *tk_door_power_cells(PyObject *self, PyObject *arguments)
{
    long long count, classes;
    unsigned long long sizes, times, counts;
    if (!PyArg_ParseTuple(arguments, "LLKKK:power_cells", &count, &classes, &sizes, &times, &counts))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    tk_power_cells(at(sizes), at(times), count, classes, at(counts));
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* -- sums by rows of keys ------------------------------------------------------------------------------------------- */

static void drop(PyObject *capsule)
{
    tk_groups *groups = PyCapsule_GetPointer(capsule, CAPSULE);
    if (groups) {
        tk_groups_close(groups);
        free(groups);
    }
}

PyObject *tk_door_groups(PyObject *self, PyObject *arguments)
{
    int keys, width;
    if (!PyArg_ParseTuple(arguments, "ii:groups", &keys, &width))
        return NULL;
    if (keys < 1 || keys > TK_MOST_KEYS || width < keys || width > TK_MOST_WIDTH) {
        PyErr_SetString(PyExc_ValueError, "groups are by 1 to 4 keys, of 8 columns in all");
        return NULL;
    }
    tk_groups *groups = malloc(sizeof *groups);
    if (groups == NULL || tk_groups_open(groups, keys, width) < 0) {
        if (groups)
            tk_groups_close(groups);
        free(groups);
        return PyErr_NoMemory();
    }
    return PyCapsule_New(groups, CAPSULE, drop);
}

PyObject *tk_door_groups_add(PyObject *self, PyObject *arguments)
{
    PyObject *capsule;
    unsigned long long columns;
    long long start, count, most;
    const int64_t *from[TK_MOST_WIDTH];
    if (!PyArg_ParseTuple(arguments, "OKLLL:groups_add", &capsule, &columns, &start, &count, &most))
        return NULL;
    tk_groups *groups = PyCapsule_GetPointer(capsule, CAPSULE);
    if (groups == NULL)
        return NULL;
    for (int i = 0; i < groups->width; i++)
        from[i] = (const int64_t *)at(((const uint64_t *)at(columns))[i]) + start;
    int64_t taken;
    Py_BEGIN_ALLOW_THREADS
    taken = tk_groups_add(groups, from, count, most);
    Py_END_ALLOW_THREADS
    return taken < 0 ? PyErr_NoMemory() : Py_BuildValue("LL", (long long)taken, (long long)groups->count);
}

PyObject *tk_door_groups_columns(PyObject *self, PyObject *arguments)
{
    PyObject *capsule;
    unsigned long long columns;
    int64_t *to[TK_MOST_WIDTH];
    if (!PyArg_ParseTuple(arguments, "OK:groups_columns", &capsule, &columns))
        return NULL;
    tk_groups *groups = PyCapsule_GetPointer(capsule, CAPSULE);
    if (groups == NULL)
        return NULL;
    for (int i = 0; i < groups->width; i++)
        to[i] = at(((const uint64_t *)at(columns))[i]);
    tk_groups_columns(groups, to);
    Py_RETURN_NONE;
}

PyObject *tk_door_groups_clear(PyObject *self, PyObject *capsule)
{
    tk_groups *groups = PyCapsule_GetPointer(capsule, CAPSULE);
    if (groups == NULL)
        return NULL;
    tk_groups_clear(groups);
    Py_RETURN_NONE;
}
