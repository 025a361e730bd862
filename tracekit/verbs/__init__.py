"""The verbs of `tracekit`, one module each: `configure(parser)` and `run(args)`."""
