# Sourced by the installation scripts. apt_install PACKAGE...: installs what is missing, on Debian and Ubuntu.
# shellcheck shell=bash

apt_install() {
    local package missing=()
    if ! command -v apt-get >/dev/null; then
        echo "error: this is neither Debian nor Ubuntu; please install these, or what they are called here: $*" >&2
        return 1
    fi
    for package in "$@"; do
        if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
            missing+=("$package")
        fi
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        return 0
    fi
    echo "installing ${missing[*]}"
    # Lists are often absent in containers, and stale elsewhere.
    as_root apt-get -qq update </dev/null
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${missing[@]}" \
        </dev/null >/dev/null
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "error: this needs root, and there is no sudo: $*" >&2
        return 1
    fi
}
