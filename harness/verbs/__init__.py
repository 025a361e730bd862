"""The verbs of `harness`, one file each."""
