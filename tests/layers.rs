//! Who may import whom: the table of docs/design.md, held against the source.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by layer; each may import modules of layers below its own, and itself.
const LAYERS: &[&[&str]] = &[
    &["error", "units", "token", "tally", "wide"],
    &["stream", "window"],
    &["delay", "text", "codebook", "vocab"],
    &["weights", "flow"],
    &["batch", "codec"],
    &["pipeline", "backend"],
    &["io"],
    &["report", "strategies"],
];

/// The basics build on each other: every one may name `error`, and events hold times.
const BASICS: &[(&str, &str)] = &[("units", "error"), ("tally", "units"), ("token", "wide"), ("stream", "token")];

/// What the layers below `io` never name.
const OUTSIDE: &[&str] = &["std::fs", "std::net", "std::env", "std::process", "std::time", "rand::rng(", "thread_rng"];

fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let below = entry.strip_prefix(&root).unwrap();
            if entry.is_dir() && !below.starts_with("bin") {
                folders.push(entry);
            } else if entry.extension().is_some_and(|e| e == "rs") && below != Path::new("lib.rs") {
                let module = below.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
                found.push((module, entry.clone(), fs::read_to_string(&entry).unwrap()));
            }
        }
    }
    found
}

/// The part of a file that ships: its unit tests may look anywhere.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

/// Code without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    shipped(text).lines().map(str::trim).filter(|line| !line.starts_with("//"))
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn modules_import_downwards_only() {
    let homes = re_exports();
    let mut imports = 0;
    for (module, path, text) in sources() {
        let from = layer(&module).unwrap_or_else(|| panic!("{module} is in no layer: add it to the table"));
        for name in code(&text).flat_map(crate_names) {
            let target = homes.get(&name).unwrap_or(&name);
            if *target == module {
                continue;
            }
            let to = layer(target).unwrap_or_else(|| panic!("{}: crate::{name} is in no layer", path.display()));
            let basic = BASICS.contains(&(&module, target));
            assert!(to < from || basic, "{}: {module} imports {target}", path.display());
            imports += 1;
        }
    }
    assert!(imports > 20, "only {imports} imports found: does this test still read the source?");
}

/// First names after `crate::` in a line.
fn crate_names(line: &str) -> Vec<String> {
    let name = |rest: &str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("").to_owned();
    let names = line.split("crate::").skip(1).flat_map(|rest| match rest.strip_prefix('{') {
        Some(list) => list.split('}').next().unwrap_or("").split(',').map(|item| name(item.trim())).collect(),
        None => vec![name(rest)],
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// Which module each of `lib.rs`'s re-exports comes from.
fn re_exports() -> BTreeMap<String, String> {
    let lib = include_str!("../src/lib.rs");
    let uses = lib.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next()?.split_once("::"));
    let each = uses.flat_map(|(module, items)| {
        let items = items.trim_matches(['{', '}']).split(',').map(|item| item.trim().to_owned());
        items.map(move |item| (item, module.to_owned())).collect::<Vec<_>>()
    });
    each.collect()
}

#[test]
fn only_io_touches_the_world() {
    let outside = layer("io").unwrap();
    for (module, path, text) in sources().iter().filter(|(module, ..)| layer(module) < Some(outside)) {
        for line in code(text) {
            let named = OUTSIDE.iter().find(|name| line.contains(*name));
            assert!(named.is_none(), "{}: {module} names {}: {line}", path.display(), named.unwrap());
        }
    }
}
