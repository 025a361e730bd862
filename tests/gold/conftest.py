"""What the gold tests share: the script that makes the reference."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.fixture(scope="session")
def generator(repository):
    """docs/reference/generate.py, with the modules beside it (`making`) importable as they are when it is run."""
    place = str(repository / "docs/reference")
    sys.path.insert(0, place)
    try:
        yield importlib.import_module("generate")
    finally:
        sys.path.remove(place)
