//! See Cargo.toml.

compile_error!("ring compiles C and assembly: TLS comes from rustls with graviola; a feature of some crate turns ring on");
