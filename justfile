# A convenience over scripts/, which need no `just`.

default:
    @just --list --unsorted

# The story: Kafka to PostgreSQL and back, told step by step
demo:
    scripts/demo

# The whole suite; the last line sums it up
test *ARGS:
    scripts/test {{ARGS}}

# Side by side with kcat, in one table
bench *ARGS:
    scripts/bench {{ARGS}}

# Format, clippy, docs, licences and banned dependencies
lint:
    scripts/lint

# The static binary and its links, in target/dist
static:
    scripts/static

# The same session against Apache Kafka
interop *ARGS:
    scripts/interop {{ARGS}}

# What speaks SQL, on PostgreSQL 13 to 18
matrix *ARGS:
    scripts/postgres-matrix {{ARGS}}

# A thousand kills of everything that takes part in exactly-once loading
chaos KILLS="1000":
    [ -n "${KCOPY_BIN:-}" ] || cargo build --locked --package kcopy
    KCOPY_CHAOS_KILLS={{KILLS}} cargo test --locked --package kcopy-tests --test chaos -- --nocapture

# Hostile bytes against every decoder: `just fuzz 10000000`; odd texts against PostgreSQL: `just fuzz texts`
fuzz *ARGS:
    scripts/fuzz {{ARGS}}
