"""From a recording to the description of a workload: what drives a run like it, and how sure each value is.

observed     the job's own reads among all, grouped to visits of files, and the steps they serve
requests     by which requests a file is read: shapes tried until one predicts what was recorded
layout       which files there are, how large, and how many samples are in each
order        in which order samples come
timing       how long a step computes, how far ahead is read
writes       checkpoints
describe     all of it together
text         the description as a file, with how each value was found
"""
