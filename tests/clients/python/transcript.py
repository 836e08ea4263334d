"""Prints what a driver sees, scenario by scenario."""

import os
import re
import sys
import threading
import time
import traceback

CONTEXT = os.environ.get("BEMI_CONTEXT", "")

# Options that a libpq driver starts its sessions with.
OPTIONS = f"-c bemi.context={CONTEXT}" if CONTEXT else ""

# Who signed the certificate that is shown, and who did not.
ROOT, WRONG_ROOT = os.environ.get("BEMI_ROOT_CERT"), os.environ.get("BEMI_WRONG_ROOT_CERT")

# How many sleep in this database. What is cancelled before it sleeps goes on.
ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"

scenarios = []


def scenario(feature=None):
    """Registers a scenario of a feature: a function, or a coroutine function, whose name is a sentence."""

    def register(function):
        sentence = function.__name__.replace("_", " ")
        scenarios.append((f"{feature}: {sentence}" if feature else sentence, function))
        return function

    return register


def note(*values):
    """Prints what was seen, without addresses of objects."""
    print(re.sub(r" at 0x[0-9a-f]+", "", " ".join(map(repr, values))))


def once_asleep(ask, act):
    """A started thread that acts when ask(ASLEEP) has found somebody asleep."""

    def wait():
        while not ask(ASLEEP):
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def introduce(driver, lacks):
    """Prints the driver with its version, and the features that it does not have."""
    print("!", driver)
    for feature, why in lacks.items():
        print(f"- {feature}: {why}")


def failed(heading):
    print("FAILED")
    sys.stdout.flush()
    print(heading, file=sys.stderr)
    traceback.print_exc()


def run_all(driver, **lacks):
    """Runs all scenarios; the exit code says whether all of them came to their end."""
    introduce(driver, lacks)
    failures = 0
    for heading, function in scenarios:
        print("#", heading)
        try:
            function()
        except Exception:
            failures += 1
            failed(heading)
    sys.exit(1 if failures else 0)


async def run_all_async(driver, **lacks):
    """As run_all, for coroutine functions."""
    introduce(driver, lacks)
    failures = 0
    for heading, function in scenarios:
        print("#", heading)
        try:
            await function()
        except Exception:
            failures += 1
            failed(heading)
    sys.exit(1 if failures else 0)
