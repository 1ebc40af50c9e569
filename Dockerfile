# leafgate's programs: leafgate, leafgate-callout and leafgate-registry, on an image with glibc, libgcc and nothing to log in to.
#
#   docker build --tag leafgate:local .
#
# Both base images are arguments, to be had from a registry of your own or by digest. The first needs Cargo with the
# Rust version of Cargo.toml, a C compiler and a shell; the second glibc no older than the first one's, and libgcc.
ARG BUILD_IMAGE=rust:1.95.0-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package leafgate --bins \
 && mkdir /programs \
 && cp target/release/leafgate target/release/leafgate-callout target/release/leafgate-registry /programs/

FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="leafgate" \
      org.opencontainers.image.description="Lets IoT devices into NATS leaf clusters" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /programs/ /usr/local/bin/
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
# The registry: REST and EST, revocation lists and OCSP, probes and metrics. The callout: probes and metrics.
EXPOSE 8443 8080 9091 9090
ENV LEAFGATE_CONFIG=/etc/leafgate/callout.toml
CMD ["leafgate-callout"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["leafgate-callout", "--probe"]
