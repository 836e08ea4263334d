# Sourced by the installation scripts, behind apt.sh. fetch_source PACKAGE DIRECTORY [SUITE]: unpacks the sources of a Debian
# package into DIRECTORY/PACKAGE-VERSION, and prints that, and nothing else, to standard output.
# shellcheck shell=bash
#
# Most machines have no entry for sources, so apt gets lists of its own, made from the entries of the machine, for the
# release of the machine or for SUITE; the machine's own stay as they are. apt checks the signatures.

fetch_source() {
    local package=$1 directory=$2 suite=${3:-} work
    if ! command -v apt-get >/dev/null; then
        echo "error: sources are fetched by apt-get source, and this is neither Debian nor Ubuntu" >&2
        return 1
    fi
    command -v dpkg-source >/dev/null || apt_install dpkg-dev >&2
    mkdir -p "$directory"
    # What is half done stays in here, and goes.
    work=$(mktemp -d "$directory/.work-XXXXXX")
    if fetch_source_into "$work" "$package" "$suite" && keep_source "$work" "$package" "$directory"; then
        rm -rf "$work"
    else
        rm -rf "$work"
        echo "error: no sources of $package${suite:+ of $suite} to be had" >&2
        return 1
    fi
}

# apt with the lists in $1.
apt_with_sources() {
    "$2" -qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$1/sources.list.d" \
        -o Dir::State::Lists="$1/lists" -o Dir::Cache="$1/cache" -o APT::Sandbox::User=root "${@:3}" </dev/null
}

fetch_source_into() {
    local work=$1 package=$2 suite=$3 version
    mkdir -p "$work/sources.list.d" "$work/lists/partial" "$work/cache/archives/partial" "$work/source"
    source_entries "$work/sources.list.d" "$suite"
    # An entry that has no sources, or cannot be reached, need not be the one that has the package.
    apt_with_sources "$work" apt-get update >&2 || true
    for version in $(source_versions "$work" "$package"); do
        echo "fetching the sources of $package $version" >&2
        # What a mirror lists it may no longer, or not yet, have.
        if (cd "$work/source" && apt_with_sources "$work" apt-get source --only-source "$package=$version") >&2; then
            return 0
        fi
    done
    return 1
}

# The machine's own entries, in both formats that apt knows, for sources.
source_entries() {
    local to=$1 suite=$2 file name
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$file" ] || continue
        name=$to/$(basename "$file" .list).list
        sed -n 's/^ *deb \(.*\)$/deb-src \1/p' "$file" >"$name"
        if [ -n "$suite" ]; then
            sed -E -i "s/^(deb-src +(\[[^]]*\] +)?[^ ]+) +[^ ]+/\1 $suite/" "$name"
        fi
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -f "$file" ] || continue
        sed "s/^Types:.*$/Types: deb-src/; ${suite:+s/^Suites:.*\$/Suites: $suite/}" "$file" >"$to/$(basename "$file")"
    done
}

# That of the installed package first, then the newest.
source_versions() {
    local work=$1 package=$2 all here
    all=$(apt_with_sources "$work" apt-cache --only-source showsrc "$package" 2>/dev/null \
        | sed -n 's/^Version: //p' | sort --version-sort --reverse --unique)
    here=$(dpkg-query -W -f '${source:Version}' "$package" 2>/dev/null || true)
    grep -Fx "$here" <<<"$all" || true
    grep -Fxv "$here" <<<"$all" || true
}

keep_source() {
    local work=$1 package=$2 directory=$3 unpacked kept
    unpacked=$(compgen -G "$work/source/$package-*/" | head -1) || return 1
    kept=$directory/$(basename "$unpacked")
    rm -rf "$kept"
    mv "$unpacked" "$kept"
    # As root, what reads it may run as an account of its own.
    chmod -R a+rX "$kept"
    echo "$kept"
}
