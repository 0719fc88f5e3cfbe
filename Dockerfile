# The image of Millrace, built from this checkout: `docker build -t millrace:0.1.0 .`
# `cargo xtask image` makes the image that the test suite runs, without Docker; this one has the same parts.

# What the program stands on: libc, libgcc, certificates and a user 65532, and no shell. Whoever releases an image names the
# base by its digest: `--build-arg BASE=...@sha256:...`.
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --profile dist --package millrace

FROM ${BASE}
COPY --from=build /src/target/dist/millrace /usr/local/bin/millrace
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/millrace"]
