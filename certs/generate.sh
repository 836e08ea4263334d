#!/bin/sh
# Makes a certificate authority, and certificates signed by it for a PostgreSQL server or the proxy, and for clients.
#
#   certs/generate.sh server NAME [NAME ...]    server.crt and server.key for these host names and IP addresses
#   certs/generate.sh client USER               USER.crt and USER.key for the database user USER
#
# The authority (ca.crt, ca.key) is made at the first call and used again afterwards. Files go to the current
# directory, or to the one named in OUT. DAYS is the validity in days (default 825, the authority 3650).
# Needs only openssl, 1.1.1 or newer.

set -eu

OUT=${OUT:-.}
DAYS=${DAYS:-825}
CA_DAYS=3650

usage() {
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

fail() {
    echo "certs/generate.sh: $1" >&2
    exit 1
}

# P-256 keys: small, fast, and understood by every TLS library of the last ten years.
make_key() {
    (umask 077 && openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1")
}

make_authority() {
    if [ -f "$OUT/ca.crt" ] && [ -f "$OUT/ca.key" ]; then
        return
    fi
    if [ -e "$OUT/ca.crt" ] || [ -e "$OUT/ca.key" ]; then
        fail "of ca.crt and ca.key only one is in $OUT: add the other, or remove it to begin anew"
    fi
    make_key "$OUT/ca.key"
    cat > "$work/ca.cnf" <<CONFIG
[req]
distinguished_name = name
x509_extensions = authority
prompt = no
[name]
CN = PostgreSQL authority of $(hostname)
[authority]
basicConstraints = critical, CA:true, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
CONFIG
    openssl req -x509 -new -key "$OUT/ca.key" -sha256 -days "$CA_DAYS" -config "$work/ca.cnf" -out "$OUT/ca.crt"
    echo "made $OUT/ca.crt (give it to everybody who connects: sslrootcert) and $OUT/ca.key (keep it offline)"
}

# make_certificate FILE COMMON_NAME EXTENSIONS: signs with the authority.
make_certificate() {
    make_key "$OUT/$1.key"
    printf '[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = %s\n' "$2" > "$work/request.cnf"
    printf '%s\n' "$3" > "$work/extensions.cnf"
    openssl req -new -key "$OUT/$1.key" -sha256 -config "$work/request.cnf" -out "$work/request.csr"
    openssl x509 -req -in "$work/request.csr" -sha256 -days "$DAYS" -CA "$OUT/ca.crt" -CAkey "$OUT/ca.key" \
        -set_serial "0x$(openssl rand -hex 16)" -extfile "$work/extensions.cnf" -out "$OUT/$1.crt" 2> "$work/errors" ||
        fail "$(cat "$work/errors")"
    echo "made $OUT/$1.crt and $OUT/$1.key"
}

# DNS:a,IP:1.2.3.4,...
alternative_names() {
    separator=
    for name in "$@"; do
        case $name in
            *[!A-Za-z0-9.:*_-]*) fail "'$name' is neither a host name nor an IP address" ;;
            *:*) kind=IP ;;
            *[!0-9.]*) kind=DNS ;;
            *) kind=IP ;;
        esac
        printf '%s%s:%s' "$separator" "$kind" "$name"
        separator=,
    done
}

common_extensions='basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
authorityKeyIdentifier = keyid
subjectKeyIdentifier = hash'

[ $# -ge 2 ] || usage
command -v openssl > /dev/null || fail "openssl is missing: apt-get install openssl"
mkdir -p "$OUT"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

kind=$1
shift
case $kind in
    server)
        names=$(alternative_names "$@")
        make_authority
        make_certificate server "$1" "$common_extensions
extendedKeyUsage = serverAuth
subjectAltName = $names"
        ;;
    client)
        case $1 in
            .* | *[!A-Za-z0-9._@-]*) fail "'$1' has characters other than letters, digits and . _ @ -" ;;
            server | ca) fail "'$1' would overwrite another certificate's files" ;;
        esac
        make_authority
        make_certificate "$1" "$1" "$common_extensions
extendedKeyUsage = clientAuth"
        ;;
    *) usage ;;
esac
