//! Tells the source which model checker stands in for threads.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let named =
        |checker: &&str| std::env::var_os(format!("CARGO_FEATURE_{}", checker.to_uppercase())).is_some();
    let named: Vec<&str> = ["loom", "shuttle"].into_iter().filter(named).collect();
    match named[..] {
        [checker] => {
            println!("cargo::rustc-cfg=view_model");
            println!("cargo::rustc-cfg=view_model=\"{checker}\"");
        }
        _ => panic!("name one model checker: --features loom or --features shuttle, not {named:?}"),
    }
}
