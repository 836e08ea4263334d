# syntax=docker/dockerfile:1

# The build needs Rust and a C compiler (for ring); both are in this image.
FROM rust:1.89-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release --bin bemi

# No shell and no package manager: the binary, its C library, and the authorities that sslrootcert=system trusts.
# The tag's user has neither rights nor a password.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/bemi /usr/local/bin/bemi
COPY --from=build /src/proxy.toml /src/LICENSE-MIT /src/LICENSE-APACHE /usr/share/doc/bemi/
# Inside a container the loopback address reaches nobody.
ENV BEMI_LISTEN=0.0.0.0:6432 \
    BEMI_LOG_FORMAT=json
# The place for a proxy.toml and for certificates that are mounted; relative paths start here.
WORKDIR /etc/bemi
EXPOSE 6432
# Without an address it asks the first one that the proxy listens on.
HEALTHCHECK --interval=10s --timeout=2s --start-period=2s --retries=3 CMD ["/usr/local/bin/bemi", "health"]
# SIGTERM, the default, is what lets running transactions finish.
ENTRYPOINT ["/usr/local/bin/bemi"]
CMD ["proxy"]
