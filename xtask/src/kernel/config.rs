//! Kernel configuration: a profile is a list of fragments over allnoconfig, and everything a fragment asks for must be
//! in the configuration that Kconfig makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::base::failure::usage;

/// How deep profiles may include profiles, so that a cycle ends.
const MAX_DEPTH: usize = 8;

/// A value as in .config, `n` for "is not set", and the fragment that asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    value: String,
    fragment: String,
    /// Optional: the build does not fail if Kconfig does not grant it.
    wish: bool,
}

/// The file next to the fragments that lists the functions a boot runs, one per line, as X86_SPLIT_TEXT takes them.
pub(crate) const BOOT_TEXT: &str = "boot-text";

/// The options that a profile asks for. If two fragments name an option, the later one wins.
#[derive(Clone)]
pub(crate) struct Config {
    requests: BTreeMap<String, Request>,
    boot_text: String,
}

/// The names of the profiles in a directory.
pub(crate) fn profiles(dir: &Path) -> Result<Vec<String>> {
    let reading = || format!("reading {}", dir.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path.extension().is_some_and(|kind| kind == "profile")
            && let Some(name) = path.file_stem()
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

impl Config {
    /// Reads `DIR/PROFILE.profile` and the fragments it names.
    pub(crate) fn profile(dir: &Path, profile: &str) -> Result<Self> {
        let known = profiles(dir)?;
        if !known.iter().any(|name| name == profile) {
            return Err(usage(format!(
                "there is no profile {profile}; there are {}",
                known.join(", ")
            )));
        }
        let list = dir.join(BOOT_TEXT);
        let mut config = Self {
            requests: BTreeMap::new(),
            boot_text: fs::read_to_string(&list)
                .with_context(|| format!("reading {}", list.display()))?,
        };
        config.include(dir, profile, MAX_DEPTH)?;
        Ok(config)
    }

    fn include(&mut self, dir: &Path, profile: &str, depth: usize) -> Result<()> {
        let path = dir.join(format!("{profile}.profile"));
        if depth == 0 {
            bail!("{} includes itself", path.display());
        }
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        for line in text.lines() {
            let name = line.split('#').next().unwrap_or_default().trim();
            if let Some(other) = name.strip_prefix('@') {
                self.include(dir, other, depth - 1)?;
            } else if !name.is_empty() {
                self.add(&dir.join(format!("{name}.config")))?;
            }
        }
        Ok(())
    }

    /// Adds a fragment.
    pub(crate) fn add(&mut self, path: &Path) -> Result<()> {
        let text =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let fragment = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        self.add_text(&path.display().to_string(), &fragment, &text)
    }

    /// Adds the lines of a fragment that `place` has and that is called `fragment`.
    pub(crate) fn add_text(&mut self, place: &str, fragment: &str, text: &str) -> Result<()> {
        for (number, line) in text.lines().enumerate() {
            if let Some((option, value)) = parse(line) {
                let request = Request {
                    value,
                    fragment: fragment.to_owned(),
                    wish: false,
                };
                self.requests.insert(option, request);
            } else if !line.trim().is_empty() && !line.starts_with('#') {
                bail!(
                    "{place}:{}: `{line}` is neither CONFIG_X=value nor a comment",
                    number + 1
                );
            }
        }
        Ok(())
    }

    /// Makes all options so far optional, for a kernel that lacks some that they depend on.
    pub(crate) fn loosen(&mut self) {
        for request in self.requests.values_mut() {
            request.wish = true;
        }
    }

    /// The optional settings that the resulting .config lacks, as lines of a .config.
    pub(crate) fn not_granted(&self, made: &str) -> Vec<String> {
        self.differing(made)
            .filter(|(_, request, _)| request.wish)
            .map(|(option, _, found)| format!("{option}={found}"))
            .collect()
    }

    /// Differences from the resulting .config: the option, the value asked for, and the value there.
    fn differing(&self, made: &str) -> impl Iterator<Item = (&String, &Request, String)> {
        let made: BTreeMap<String, String> = made.lines().filter_map(parse).collect();
        self.requests.iter().filter_map(move |(option, request)| {
            let found = made.get(option).map_or("n", String::as_str);
            (found != request.value).then(|| (option, request, found.to_owned()))
        })
    }

    /// The functions that a boot runs, one per line.
    pub(crate) fn boot_text(&self) -> &str {
        &self.boot_text
    }

    /// The file for `KCONFIG_ALLCONFIG`.
    pub(crate) fn text(&self) -> String {
        self.requests
            .iter()
            .map(|(option, request)| {
                if request.value == "n" {
                    format!("# {option} is not set\n")
                } else {
                    format!("{option}={}\n", request.value)
                }
            })
            .collect()
    }

    /// Checks the resulting .config.
    ///
    /// # Errors
    /// Names each option that differs and is not optional, its fragment and the value found.
    pub(crate) fn check(&self, made: &str) -> Result<()> {
        let missing: Vec<String> = self
            .differing(made)
            .filter(|(_, request, _)| !request.wish)
            .map(|(option, request, found)| {
                format!(
                    "{option}={} ({}) came out as {found}",
                    request.value, request.fragment
                )
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        bail!(
            "Kconfig did not grant what the fragments ask for (a dependency is missing, or an option does not exist): {}",
            missing.join("; ")
        );
    }
}

/// Parses a line of a .config or fragment.
fn parse(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if let Some(option) = line
        .strip_prefix("# ")
        .and_then(|rest| rest.strip_suffix(" is not set"))
        .filter(|option| option.starts_with("CONFIG_"))
    {
        return Some((option.to_owned(), "n".to_owned()));
    }
    let (option, value) = line.split_once('=')?;
    option
        .starts_with("CONFIG_")
        .then(|| (option.to_owned(), value.to_owned()))
}

/// The additional fragment for software KVM.
pub(crate) fn compat_fragment(compat: &Path) -> PathBuf {
    compat.join("compat.config")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn small() -> tempfile::TempDir {
        dir(&[
            (BOOT_TEXT, "start_kernel\n"),
            ("min.profile", "base # the least\n"),
            ("more.profile", "@min\nnet\n"),
            ("circle.profile", "@circle\n"),
            ("base.config", "# Base\nCONFIG_A=y\nCONFIG_B=\"x y\"\n"),
            ("net.config", "# CONFIG_A is not set\nCONFIG_N=16\n"),
        ])
    }

    #[test]
    fn later_fragments_win() {
        let dir = small();
        let config = Config::profile(dir.path(), "more").unwrap();
        expect![[r#"
            # CONFIG_A is not set
            CONFIG_B="x y"
            CONFIG_N=16
        "#]]
        .assert_eq(&config.text());
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = small();
        let config = Config::profile(dir.path(), "more").unwrap();
        config.check("CONFIG_B=\"x y\"\nCONFIG_N=16\n").unwrap();
        let error = config.check("CONFIG_A=y\nCONFIG_N=8\n").unwrap_err();
        expect!["Kconfig did not grant what the fragments ask for (a dependency is missing, or an option does not exist): CONFIG_A=n (net.config) came out as y; CONFIG_B=\"x y\" (base.config) came out as n; CONFIG_N=16 (net.config) came out as 8"]
            .assert_eq(&error.to_string());
    }

    #[test]
    fn wishes_may_fail_and_what_is_asked_for_behind_them_may_not() {
        let dir = small();
        let mut config = Config::profile(dir.path(), "more").unwrap();
        config.loosen();
        config.add_text("x", "x", "CONFIG_N=8\n").unwrap();
        config.check("CONFIG_N=8\n").unwrap();
        expect![[r#"
            [
                "CONFIG_A=y",
                "CONFIG_B=n",
            ]
        "#]]
        .assert_debug_eq(&config.not_granted("CONFIG_A=y\nCONFIG_N=8\n"));
        assert!(config.check("CONFIG_B=\"x y\"\nCONFIG_N=16\n").is_err());
    }

    #[test]
    fn unknown_and_circular_profiles_are_refused() {
        let dir = small();
        let error = Config::profile(dir.path(), "mni").err().unwrap();
        expect!["there is no profile mni; there are circle, min, more"]
            .assert_eq(&error.to_string());
        assert!(Config::profile(dir.path(), "circle").is_err());
    }
}
