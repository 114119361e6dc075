//! Parses patches in git's format and the messages of patch(1).

use std::collections::BTreeSet;
use std::path::{Component, PathBuf};

use anyhow::{Result, bail};

/// The subject and the files of a patch in git's form.
pub(crate) fn parse(text: &str) -> Result<(String, BTreeSet<PathBuf>)> {
    let mut files = BTreeSet::new();
    let mut subject = String::new();
    let mut in_subject = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("Subject: ") {
            subject = rest.to_owned();
            in_subject = true;
        } else if in_subject && line.starts_with(' ') {
            subject.push_str(line);
        } else {
            in_subject = false;
        }
        if let Some((old, new)) = line
            .strip_prefix("diff --git a/")
            .and_then(|names| names.split_once(" b/"))
        {
            for name in [old, new] {
                files.insert(inside(name)?);
            }
        }
    }
    if files.is_empty() {
        bail!("it has no `diff --git` line; create it with git format-patch");
    }
    let subject = subject
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
        .map_or(subject.as_str(), |(_, rest)| rest)
        .to_owned();
    Ok((subject, files))
}

/// Patches are untrusted: they may only name files inside the tree.
fn inside(name: &str) -> Result<PathBuf> {
    let path = PathBuf::from(name);
    if path
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        Ok(path)
    } else {
        bail!("it names {name}, which is outside the tree");
    }
}

/// Finds in the output of patch(1) which file and which hunks failed.
pub(crate) fn explain(said: &str) -> Option<String> {
    let mut file = "";
    let mut told: Vec<String> = Vec::new();
    for line in said.lines() {
        if let Some(name) = line
            .strip_prefix("patching file ")
            .or_else(|| line.strip_prefix("checking file "))
        {
            file = name.trim_matches('\'');
        } else if let Some(rest) = line.strip_prefix("Hunk #")
            && let Some((number, place)) = rest.split_once(" FAILED at ")
        {
            let place = place.split('.').next().unwrap_or(place);
            told.push(format!(
                "{file}: hunk {number} (line {place}) does not match"
            ));
        } else if line.starts_with("Reversed (or previously applied)") {
            told.push(format!("{file}: the change is already there"));
        } else if line.starts_with("can't find file to patch") {
            told.push("a file that it changes is missing".to_owned());
        } else if line.contains("which already exists") {
            told.push(format!("{line} (is the change already there?)"));
        }
    }
    (!told.is_empty()).then(|| told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_outside_the_tree_are_refused() {
        for name in ["../x", "/etc/passwd", "a/../../x"] {
            let text = format!("diff --git a/{name} b/{name}\n");
            assert!(parse(&text).is_err(), "{name}");
        }
        assert!(parse("no diff").is_err());
    }
}
