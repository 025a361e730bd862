"""Goldens that are shipped: one folder each, data for `harness`."""
