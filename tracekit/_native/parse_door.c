/* The door from Python to the parser of trace files. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>
#include <string.h>

#include "door.h"
#include "parse.h"
#include "scan.h"

static const char CAPSULE[] = "tracekit._core.parser";

static void drop(PyObject *capsule)
{
    tk_parser *parser = PyCapsule_GetPointer(capsule, CAPSULE);
    if (parser) {
        tk_parser_close(parser);
        free(parser);
    }
}

PyObject *tk_door_parser(PyObject *self, PyObject *unused)
{
    tk_parser *parser = malloc(sizeof *parser);
    if (parser == NULL || tk_parser_open(parser) < 0) {
        if (parser)
            tk_parser_close(parser);
        free(parser);
        return PyErr_NoMemory();
    }
    return PyCapsule_New(parser, CAPSULE, drop);
}

PyObject *tk_door_parser_columns(PyObject *self, PyObject *unused)
{
    static const char *KINDS[] = {"int64", "int32", "text", "sample"};
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < TK_COLUMNS; i++) {
        PyObject *one = Py_BuildValue("(ss)", TK_COLUMN[i].name, KINDS[TK_COLUMN[i].kind]);
        if (one == NULL || PyList_Append(list, one) < 0)
            Py_CLEAR(list);
        Py_XDECREF(one);
    }
    return list;
}

PyObject *tk_door_parser_lines(PyObject *self, PyObject *arguments)
{
    unsigned long long text;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(arguments, "Kn:parser_lines", &text, &length))
        return NULL;
    return PyLong_FromSize_t(tk_lines_in((const char *)(uintptr_t)text, (size_t)length));
}

PyObject *tk_door_parser_run(PyObject *self, PyObject *arguments)
{
    PyObject *capsule;
    Py_ssize_t length, position;
    unsigned long long text, addresses;
    long long rows, capacity;
    unsigned present;

    if (!PyArg_ParseTuple(arguments, "OKnnKLLI:parser_run", &capsule, &text, &length, &position, &addresses, &rows, &capacity,
                          &present))
        return NULL;
    tk_parser *parser = PyCapsule_GetPointer(capsule, CAPSULE);
    if (parser == NULL)
        return NULL;
    if (text == 0 || addresses == 0 || length < 0 || position < 0 || position > length || rows < 0) {
        PyErr_SetString(PyExc_ValueError, "parser_run needs a text, columns, and places of 0 or more");
        return NULL;
    }
    tk_parsed parsed = {.capacity = capacity, .rows = rows, .position = (size_t)position, .present = present};
    for (int i = 0; i < TK_COLUMNS; i++)
        parsed.columns[i] = (void *)(uintptr_t)((const uint64_t *)(uintptr_t)addresses)[i];
    const char *begin = (const char *)(uintptr_t)text;
    Py_BEGIN_ALLOW_THREADS
    tk_parse(parser, begin, (size_t)length, &parsed);
    Py_END_ALLOW_THREADS
    if (parsed.no_memory)
        return PyErr_NoMemory();
    const char *end = memchr(begin + parsed.position, '\n', (size_t)length - parsed.position);
    return Py_BuildValue("nnLLI", (Py_ssize_t)parsed.position, end ? end - begin : length, (long long)parsed.rows,
                         (long long)parsed.lines, parsed.present);
}

/* The strings of a table that were not told yet; as bytes where they may be no UTF-8. */
PyObject *tk_new_strings(tk_strings *table, bool as_bytes)
{
    PyObject *list = PyList_New(0);
    for (; list && table->told < table->count; table->told++) {
        const tk_string *one = &table->strings[table->told];
        const char *at = table->bytes + one->at;
        PyObject *text = as_bytes ? PyBytes_FromStringAndSize(at, one->length) : PyUnicode_DecodeUTF8(at, one->length, "strict");
        if (text == NULL || PyList_Append(list, text) < 0)
            Py_CLEAR(list);
        Py_XDECREF(text);
        if (list == NULL)
            break;
    }
    return list;
}

PyObject *tk_door_parser_new_strings(PyObject *self, PyObject *arguments)
{
    PyObject *capsule;
    int column;
    if (!PyArg_ParseTuple(arguments, "Oi:parser_new_strings", &capsule, &column))
        return NULL;
    tk_parser *parser = PyCapsule_GetPointer(capsule, CAPSULE);
    if (parser == NULL)
        return NULL;
    if (column < 0 || column >= TK_COLUMNS) {
        PyErr_SetString(PyExc_ValueError, "there is no such column");
        return NULL;
    }
    return tk_new_strings(&parser->tables[column], false);
}

PyObject *tk_door_parser_intern(PyObject *self, PyObject *arguments)
{
    PyObject *capsule;
    int column;
    const char *text;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(arguments, "Ois#:parser_intern", &capsule, &column, &text, &length))
        return NULL;
    tk_parser *parser = PyCapsule_GetPointer(capsule, CAPSULE);
    if (parser == NULL)
        return NULL;
    if (column < 0 || column >= TK_COLUMNS || parser->tables[column].slots == NULL) {
        PyErr_SetString(PyExc_ValueError, "there is no such table");
        return NULL;
    }
    int32_t code = tk_strings_code(&parser->tables[column], text, (size_t)length);
    return code < 0 ? PyErr_NoMemory() : PyLong_FromLong(code);
}
