"""Prints what a driver sees, scenario by scenario."""

import os
import re
import sys
import traceback

CONTEXT = os.environ.get("BEMI_CONTEXT", "")

# Options that a libpq driver starts its sessions with.
OPTIONS = f"-c bemi.context={CONTEXT}" if CONTEXT else ""

scenarios = []


def scenario(function):
    """Registers a scenario: a function, or a coroutine function, whose name is a sentence."""
    scenarios.append(function)
    return function


def note(*values):
    """Prints what was seen, without addresses of objects."""
    print(re.sub(r" at 0x[0-9a-f]+", "", " ".join(map(repr, values))))


def heading(function):
    print("#", function.__name__.replace("_", " "))


def failed(function):
    print("FAILED")
    sys.stdout.flush()
    print(function.__name__, file=sys.stderr)
    traceback.print_exc()


def run_all():
    """Runs all scenarios; the exit code says whether all of them came to their end."""
    failures = 0
    for function in scenarios:
        heading(function)
        try:
            function()
        except Exception:
            failures += 1
            failed(function)
    sys.exit(1 if failures else 0)


async def run_all_async():
    """As run_all, for coroutine functions."""
    failures = 0
    for function in scenarios:
        heading(function)
        try:
            await function()
        except Exception:
            failures += 1
            failed(function)
    sys.exit(1 if failures else 0)
