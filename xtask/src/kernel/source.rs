//! Finds the kernel source: the distribution's package, a tree, a tarball, or a URL.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use xshell::{Shell, cmd};

use crate::base::cache::Cache;
use crate::base::digest;
use crate::base::failure::usage;
use crate::base::ui::Ui;

/// Debian's and Ubuntu's source package of the kernel version that our patches are for.
const PACKAGE: &str = "linux-source-6.12";

/// Where that package puts its tarball.
const INSTALLED: &str = "/usr/src";

/// The options about the source.
#[derive(Args, Clone)]
pub(crate) struct SourceOptions {
    /// distro (the newest linux-source-6.12), a source tree, a tarball, or a URL of one
    #[arg(long, value_name = "distro|DIR|FILE|URL", default_value = "distro")]
    kernel_source: String,
    /// The expected SHA-256 of the tarball
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
}

impl SourceOptions {
    /// The same options as command-line arguments.
    pub(crate) fn arguments(&self) -> Vec<&str> {
        let mut words = vec!["--kernel-source", self.kernel_source.as_str()];
        if let Some(sum) = &self.sha256 {
            words.extend(["--sha256", sum]);
        }
        words
    }

    /// The package to install, if the source is a package's and missing.
    pub(crate) fn packages(&self) -> Result<Vec<&'static str>> {
        let absent = self.kernel_source == "distro" && newest(Path::new(INSTALLED))?.is_none();
        Ok(if absent { vec![PACKAGE] } else { Vec::new() })
    }
}

/// A source and an identifier of its content.
pub(crate) struct Source {
    /// Differs whenever the content does.
    pub(crate) id: String,
    /// Where the content is.
    pub(crate) origin: Origin,
}

/// What a tree is made from.
pub(crate) enum Origin {
    /// A tarball of a kernel tree.
    Tarball(PathBuf),
    /// The user's own tree, which is only read.
    Tree(PathBuf),
}

/// Finds the source, downloads it if necessary, and checks its SHA-256.
pub(crate) fn find(ui: &Ui, cache: &Cache, options: &SourceOptions) -> Result<Source> {
    let name = options.kernel_source.as_str();
    let sum = options.sha256.as_deref().map(checked_sum).transpose()?;
    if name == "distro" {
        let tarball = match newest(Path::new(INSTALLED))? {
            Some(tarball) => tarball,
            None => apt_download(ui, cache)?,
        };
        return tarball_source(cache, tarball, sum.as_deref());
    }
    if name.contains("://") {
        let tarball = download(ui, cache, name, sum.as_deref())?;
        return tarball_source(cache, tarball, sum.as_deref());
    }
    let path = fs::canonicalize(name)
        .map_err(|error| usage(format!("--kernel-source {name}: {error}")))?;
    if path.is_file() {
        return tarball_source(cache, path, sum.as_deref());
    }
    if sum.is_some() {
        return Err(usage("--sha256 is for a tarball, not for a tree"));
    }
    Ok(Source {
        id: format!("tree {}", digest::tree(&path)?),
        origin: Origin::Tree(path),
    })
}

fn checked_sum(sum: &str) -> Result<String> {
    let sum = sum.to_ascii_lowercase();
    if sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(sum)
    } else {
        Err(usage(format!(
            "--sha256 {sum} is not 64 hexadecimal digits"
        )))
    }
}

fn tarball_source(cache: &Cache, tarball: PathBuf, wanted: Option<&str>) -> Result<Source> {
    let sum = cache.sha256(&tarball)?;
    if let Some(wanted) = wanted {
        same_sum(&tarball.display().to_string(), wanted, &sum)?;
    }
    Ok(Source {
        id: format!("tarball {sum}"),
        origin: Origin::Tarball(tarball),
    })
}

fn same_sum(what: &str, wanted: &str, found: &str) -> Result<()> {
    if wanted == found {
        return Ok(());
    }
    bail!("{what} has SHA-256 {found} instead of {wanted}, so it is not used");
}

/// The tarball of the highest version in `/usr/src`; Ubuntu's lies in a directory of the same name.
fn newest(dir: &Path) -> Result<Option<PathBuf>> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Ok(None);
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("reading {}", dir.display()))?
            .path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(PACKAGE) {
            continue;
        }
        if path.is_dir() {
            found.extend(newest(&path)?.map(|inner| (version(&name), inner)));
        } else if name.contains(".tar.") {
            found.push((version(&name), path));
        }
    }
    found.sort();
    Ok(found.pop().map(|(_, path)| path))
}

/// The numbers in a file's name, so that 6.12.9 sorts before 6.12.10.
fn version(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// Downloads the package without installing it, for users who are not root.
fn apt_download(ui: &Ui, cache: &Cache) -> Result<PathBuf> {
    let sh = Shell::new()?;
    let about = cmd!(sh, "apt-cache show --no-all-versions {PACKAGE}")
        .quiet()
        .ignore_stderr()
        .read()
        .unwrap_or_default();
    let Some(version) = about
        .lines()
        .find_map(|line| line.strip_prefix("Version: "))
    else {
        bail!(
            "{PACKAGE} is neither in {INSTALLED} nor known to apt; run `apt-get update` (Debian 12 or later, with backports or security), or give --kernel-source FILE|DIR|URL"
        );
    };
    let key = digest::of(&[PACKAGE.as_bytes(), version.as_bytes()]);
    let entry = cache.entry("downloads", &key, |aside| {
        let step = ui.step(format!("download {PACKAGE} {version}"), 0);
        sh.change_dir(aside);
        cmd!(
            sh,
            "apt-get -qq -o APT::Sandbox::User=root download {PACKAGE}={version}"
        )
        .quiet()
        .run()
        .context("fetching the kernel's source with apt-get")?;
        let package = fs::read_dir(aside)?
            .next()
            .context("apt-get download left no file")??
            .path();
        cmd!(sh, "dpkg-deb -x {package} .").quiet().run()?;
        fs::remove_file(&package)?;
        step.done();
        Ok(())
    })?;
    newest(&entry.path().join("usr/src"))?
        .with_context(|| format!("{PACKAGE} {version} has no kernel tarball"))
}

/// Downloads a URL with curl. Over anything but https, the SHA-256 must be given.
fn download(ui: &Ui, cache: &Cache, url: &str, sum: Option<&str>) -> Result<PathBuf> {
    let checked = url.starts_with("http://") && sum.is_some();
    if !checked && !url.starts_with("https://") {
        return Err(usage(format!(
            "{url}: give an https:// URL, or an http:// URL with --sha256"
        )));
    }
    let name = url.rsplit('/').next().unwrap_or_default();
    let name = if name.is_empty() { "source" } else { name };
    let key = digest::of(&[url.as_bytes(), sum.unwrap_or_default().as_bytes()]);
    let entry = cache.entry("downloads", &key, |aside| {
        let step = ui.step(format!("download {url}"), 0);
        let sh = Shell::new()?;
        let file = aside.join(name);
        cmd!(
            sh,
            "curl --fail --location --silent --show-error --output {file} -- {url}"
        )
        .quiet()
        .run()
        .with_context(|| format!("fetching {url}"))?;
        if let Some(wanted) = sum {
            same_sum(url, wanted, &digest::file(&file)?)?;
        }
        step.done();
        Ok(())
    })?;
    Ok(entry.path().join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(newest(dir.path()).unwrap(), None);
        let nested = dir.path().join("linux-source-6.12.10");
        fs::create_dir(&nested).unwrap();
        for file in [
            dir.path().join("linux-source-6.12.9.tar.xz"),
            dir.path().join("linux-config-6.12.11.tar.xz"),
            nested.join("linux-source-6.12.10.tar.bz2"),
        ] {
            fs::write(file, "").unwrap();
        }
        let found = newest(dir.path()).unwrap().unwrap();
        assert!(found.ends_with("linux-source-6.12.10.tar.bz2"), "{found:?}");
    }

    #[test]
    fn sums_are_checked_for_form() {
        assert!(checked_sum("abc").is_err());
        assert_eq!(checked_sum(&"AB".repeat(32)).unwrap(), "ab".repeat(32));
    }
}
