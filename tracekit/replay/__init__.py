"""Issue a trace's ops again, with their cadence: compile → plan → pacer → in-flight gate → engine → a Trace of what was done.

options     what was asked for
compile     a Trace as streams of plain arrays
plan        what will be read from where; prepare makes missing data; preflight says everything that cannot work
pacer       when the next op of a stream is due
clock       how to wait for that moment, and how to time one read (native core or Python)
inflight    how many ops and bytes may be outstanding
issue       how each kind of op is issued
engines     who issues them: chosen in one place, with the reason
result      what was done, as a Trace
verdict     the run's statement about itself
session     all of it in order: `replay(trace, options)`
"""
