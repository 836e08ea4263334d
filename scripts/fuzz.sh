#!/usr/bin/env bash
# Runs every fuzz target for a bounded time: SECONDS_PER_TARGET (60) each. What fails is kept in fuzz/artifacts.
#   scripts/fuzz.sh [TARGET...]
#
# libFuzzer's coverage needs flags that the stable compiler has; only the sanitizers need a nightly one, and there is no
# unsafe code for them to look into. Overflow and debug assertions are on instead.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/apt.sh
. scripts/apt.sh

seconds=${SECONDS_PER_TARGET:-60}
triple=$(rustc --version --verbose | sed -n 's/^host: //p')

# libFuzzer itself is C++.
command -v c++ >/dev/null || apt_install g++

export CARGO_TARGET_DIR=$PWD/fuzz/target
export CARGO_INCREMENTAL=0
export RUSTFLAGS="--cfg fuzzing -Cdebug-assertions -Coverflow-checks \
-Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
# With --target, build scripts and macros are built without these flags.
cargo build --release --manifest-path fuzz/Cargo.toml --target "$triple" --bins

targets=("$@")
if [ "${#targets[@]}" -eq 0 ]; then
    for source in fuzz/fuzz_targets/*.rs; do
        targets+=("$(basename "$source" .rs)")
    done
fi

for target in "${targets[@]}"; do
    echo "fuzzing $target for $seconds s"
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    "$CARGO_TARGET_DIR/$triple/release/$target" "fuzz/corpus/$target" \
        -artifact_prefix="fuzz/artifacts/$target/" -max_total_time="$seconds" -timeout=10 -print_final_stats=1
done
