//! The kcopy binary.

fn main() {
    let args: Vec<_> = std::env::args_os().collect();
    kcopy_cli::process::close_inherited_descriptors(&args);
    std::process::exit(kcopy_cli::main(&args));
}
