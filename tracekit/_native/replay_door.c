/* The door from Python to the replay engine. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>

#include "door.h"
#include "recorder.h"
#include "replay.h"
#include "ring.h"

/* What the supervisor calls eight times a second: signals are handled, and Python is told how far the run is. */
typedef struct {
    PyThreadState *state;
    PyObject *report;
    bool failed;
} listener;

static bool listen(void *argument, const tk_progress *progress)
{
    listener *mine = argument;
    if (mine->failed) /* the exception waits for the end of the run, and nothing is called with one set */
        return false;
    PyEval_RestoreThread(mine->state);
    bool fine = PyErr_CheckSignals() == 0;
    if (fine && mine->report != Py_None) {
        PyObject *answer = PyObject_CallFunction(mine->report, "LLLL", (long long)progress->done, (long long)progress->moved,
                                                 (long long)progress->busy, (long long)progress->late);
        fine = answer != NULL && PyObject_IsTrue(answer) == 1;
        Py_XDECREF(answer);
    }
    mine->failed = mine->failed || PyErr_Occurred() != NULL;
    mine->state = PyEval_SaveThread();
    return fine;
}

static const char *NAMES[] = {"how", "pace", "ops", "op_count", "streams", "stream_count", "files", "file_count", "results",
                              "results_fd", "chunks", "turns", "period", "max_ops", "max_bytes", "max_errors", "workers",
                              "handles", "keys", "spare_bytes", "in_order", "release", "realtime", "helped", "outcome", "report", NULL};

PyObject *tk_door_replay_run(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    tk_replay replay = {0};
    tk_outcome *outcome;
    unsigned long long ops, streams, files, results, answer;
    long long op_count, turns, period, max_ops, max_bytes, max_errors, keys, spare_bytes;
    int how, pace, in_order, release, realtime, helped;
    listener mine = {0};

    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "$iiKLKiKiKiiLLLLLiiLLppppKO:replay_run", (char **)NAMES, &how, &pace,
                                     &ops, &op_count, &streams, &replay.stream_count, &files, &replay.file_count, &results,
                                     &replay.results_fd, &replay.chunks, &turns, &period, &max_ops, &max_bytes, &max_errors,
                                     &replay.workers, &replay.handles, &keys, &spare_bytes, &in_order, &release, &realtime, &helped,
                                     &answer, &mine.report))
        return NULL;
    outcome = (tk_outcome *)(uintptr_t)answer;
    if (!outcome || replay.workers < 1 || turns < 1 || op_count < 0 || replay.stream_count < 0 || (op_count > 0 && (!ops || !files)) ||
        (!results && (replay.results_fd < 0 || replay.chunks <= replay.workers))) {
        PyErr_SetString(PyExc_ValueError, "replay_run needs workers, repetitions, arrays, and rows or a file for results");
        return NULL;
    }
    replay.how = (enum tk_how)how;
    replay.pace = (enum tk_pace)pace;
    replay.ops = (const tk_op *)(uintptr_t)ops;
    replay.op_count = op_count;
    replay.streams = (const tk_stream *)(uintptr_t)streams;
    replay.files = (const tk_file *)(uintptr_t)files;
    replay.results = (tk_result *)(uintptr_t)results;
    replay.turns = turns;
    replay.period = period;
    replay.start_at = outcome->start;
    replay.max_ops = max_ops;
    replay.max_bytes = max_bytes;
    replay.max_errors = max_errors;
    replay.keys = keys;
    replay.spare_bytes = spare_bytes;
    replay.in_order = in_order;
    replay.release = release;
    replay.realtime = realtime;
    replay.helped = helped;
    replay.recorded = tk_recorder_process(NULL) != 0;
    replay.listen = listen;
    replay.listener = &mine;
    mine.state = PyEval_SaveThread();
    int error = tk_replay_run(&replay, outcome);
    PyEval_RestoreThread(mine.state);
    if (mine.failed)
        return NULL;
    if (error) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

PyObject *tk_door_replay_layouts(PyObject *self, PyObject *unused)
{
    return Py_BuildValue("{sisisisisi}", "op", (int)sizeof(tk_op), "stream", (int)sizeof(tk_stream), "file",
                         (int)sizeof(tk_file), "result", (int)sizeof(tk_result), "outcome", (int)sizeof(tk_outcome));
}

PyObject *tk_door_uring_probe(PyObject *self, PyObject *unused)
{
    tk_ring ring;
    int error = tk_ring_open(&ring, 8);
    unsigned setup = ring.setup, features = ring.features;
    if (!error)
        tk_ring_close(&ring);
    return Py_BuildValue("iII", error, setup, features);
}
