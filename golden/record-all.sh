#!/bin/sh
# Record goldens again from their own programs and bless the next revision of each: on a machine that does nothing else.
#
#   sh golden/record-all.sh "WHY" [REPEATS [GOLDEN…]]
#
# REPEATS is 12 and GOLDEN every folder beside this script where nothing else is said. Needs `make .venv/.installed .venv/.torch
# .venv/.tests .venv/.goldens`. Runs that are there already (in $RUNS, a temporary directory otherwise) are kept, so it can be interrupted
# and given again with the same RUNS. What cannot be recorded or blessed is said, and the others go on.
set -u
why=${1:?say why they are recorded again, in quotes}
repeats=${2:-12}
[ $# -gt 2 ] && shift 2 || set -- "$(dirname "$0")"/*-like
bin=$(cd "${VENV:-.venv}" && pwd)/bin
runs=${RUNS:-$(mktemp -d)}
failed=""
echo "runs: $runs" >&2
for golden in "$@"; do
  name=$(basename "$golden")
  python=$bin/python
  case $name in
    tf-like) peer=$bin/../peers/tensorflow/bin/python ;;
    jax-like) peer=$bin/../peers/jax/bin/python ;;
    *) peer= ;;
  esac
  [ -n "$peer" ] && [ -x "$peer" ] && python=$peer
  "$bin/harness" record-golden "$golden" --repeats "$repeats" --specimen --python "$python" -o "$runs/$name" &&
    "$bin/harness" bless "$golden" "$runs/$name"/run*.jsonl --reason "$why" || failed="$failed $name"
done
[ -z "$failed" ] || { echo "not recorded or not blessed:$failed; runs: $runs" >&2; exit 1; }
