/* The functions of the module that stand in files of their own. Include after Python.h. */
#ifndef TRACEKIT_DOOR_H
#define TRACEKIT_DOOR_H

#include <stdbool.h>

#include "strings.h"

PyObject *tk_door_replay_run(PyObject *self, PyObject *arguments, PyObject *keywords);
PyObject *tk_door_replay_layouts(PyObject *self, PyObject *unused);
PyObject *tk_door_uring_probe(PyObject *self, PyObject *unused);

PyObject *tk_door_parser(PyObject *self, PyObject *unused);
PyObject *tk_door_parser_columns(PyObject *self, PyObject *unused);
PyObject *tk_door_parser_lines(PyObject *self, PyObject *arguments);
PyObject *tk_door_parser_run(PyObject *self, PyObject *arguments);
PyObject *tk_door_parser_new_strings(PyObject *self, PyObject *arguments);
PyObject *tk_door_parser_intern(PyObject *self, PyObject *arguments);
PyObject *tk_new_strings(tk_strings *table, bool as_bytes);
PyObject *tk_door_events(PyObject *self, PyObject *unused);
PyObject *tk_door_events_columns(PyObject *self, PyObject *unused);
PyObject *tk_door_events_read(PyObject *self, PyObject *arguments);
PyObject *tk_door_events_new_texts(PyObject *self, PyObject *arguments);
PyObject *tk_door_events_code(PyObject *self, PyObject *arguments);
PyObject *tk_door_positions(PyObject *self, PyObject *unused);
PyObject *tk_door_positions_follow(PyObject *self, PyObject *arguments);
PyObject *tk_door_cells(PyObject *self, PyObject *arguments);
PyObject *tk_door_cells_scan(PyObject *self, PyObject *arguments);
PyObject *tk_door_cells_texts(PyObject *self, PyObject *arguments);
PyObject *tk_door_fetch(PyObject *self, PyObject *arguments);
PyObject *tk_door_fetch_layout(PyObject *self, PyObject *unused);
PyObject *tk_door_ranged_get(PyObject *self, PyObject *arguments);
PyObject *tk_door_connects(PyObject *self, PyObject *unused);
PyObject *tk_door_standstill_watch(PyObject *self, PyObject *unused);
PyObject *tk_door_standstill_seen(PyObject *self, PyObject *capsule);
PyObject *tk_door_crc32c(PyObject *self, PyObject *arguments);
PyObject *tk_door_emit_lines(PyObject *self, PyObject *arguments);

PyObject *tk_door_strace(PyObject *self, PyObject *unused);
PyObject *tk_door_strace_layout(PyObject *self, PyObject *unused);
PyObject *tk_door_strace_run(PyObject *self, PyObject *arguments);
PyObject *tk_door_strace_bad(PyObject *self, PyObject *capsule);
PyObject *tk_door_strace_new_strings(PyObject *self, PyObject *arguments);
PyObject *tk_door_strace_finish(PyObject *self, PyObject *capsule);

PyObject *tk_door_tally_follow(PyObject *self, PyObject *arguments);
PyObject *tk_door_tally_runs(PyObject *self, PyObject *arguments);
PyObject *tk_door_tally_histogram(PyObject *self, PyObject *arguments);
PyObject *tk_door_tally_buckets(PyObject *self, PyObject *unused);
PyObject *tk_door_keyed_times(PyObject *self, PyObject *arguments);
PyObject *tk_door_keyed_ranks(PyObject *self, PyObject *arguments);
PyObject *tk_door_power_cells(PyObject *self, PyObject *arguments);
PyObject *tk_door_groups(PyObject *self, PyObject *arguments);
PyObject *tk_door_groups_add(PyObject *self, PyObject *arguments);
PyObject *tk_door_groups_columns(PyObject *self, PyObject *arguments);
PyObject *tk_door_groups_clear(PyObject *self, PyObject *capsule);

PyObject *tk_door_people(PyObject *self, PyObject *unused);
PyObject *tk_door_people_known(PyObject *self, PyObject *capsule);
PyObject *tk_door_compile_rows(PyObject *self, PyObject *arguments);
PyObject *tk_door_compile_survey(PyObject *self, PyObject *argument);
PyObject *tk_door_compile_deal(PyObject *self, PyObject *argument);
PyObject *tk_door_compile_layouts(PyObject *self, PyObject *unused);

#endif
