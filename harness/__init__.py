"""The acceptance harness: envelopes, criteria, verdicts."""
