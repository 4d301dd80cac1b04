# The tasks of a developer; `./run-tests` is what CI runs.

# Everything, as CI does
test:
    ./run-tests

# Without Docker and fuzz targets
quick:
    ./run-tests --quick

# The end-to-end tests against one HAProxy in Docker
docker version:
    ./run-tests --only {{version}}

# Wheel, .deb, tarballs and checksums, without the time that optimizing takes
packages directory:
    packaging/build --profile packages {{directory}}

# Figures for docs/performance.md
bench:
    cargo bench

# Licences, advisories and sources of the dependencies (needs cargo-deny and its advisory database)
deny:
    cargo deny check

# Fuzz one target until stopped (needs cargo-fuzz and a nightly compiler)
fuzz target:
    cargo +nightly fuzz run {{target}}

# Man pages and completions anew, after a change of the command line
man:
    UPDATE=1 cargo test --quiet --test it manual
