<?php
// Prints what a driver sees, scenario by scenario.

declare(strict_types=1);

function note(mixed ...$values): void
{
    $flags = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION;
    echo json_encode($values, $flags), "\n";
}

function introduce(string $driver, array $lacks): void
{
    echo "! $driver\n";
    foreach ($lacks as $feature => $why) {
        echo "- $feature: $why\n";
    }
}

/** Runs all scenarios; the exit code says whether all of them came to their end. */
function run_all(array $scenarios): never
{
    $failed = false;
    foreach ($scenarios as $sentence => $scenario) {
        echo "# $sentence\n";
        try {
            $scenario();
        } catch (Throwable $problem) {
            $failed = true;
            echo "FAILED\n";
            fwrite(STDERR, "$sentence: $problem\n");
        }
    }
    exit($failed ? 1 : 0);
}
