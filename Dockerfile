# The exporter only, as an unprivileged user on a small base image: docker build -t aitask_exporter .
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
# Root certificates, for providers with publicly trusted certificates.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /source/target/release/aitask_exporter /usr/local/bin/aitask_exporter
USER 65534:65534
EXPOSE 10054
ENTRYPOINT ["aitask_exporter"]
