//! The options that name devices: a first word, and settings behind commas.

use jiffy::devices::{Disk, Spec};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// `--disk FILE[,ro][,direct]`. Settings are read from the end, so that a file's name may hold commas.
pub(crate) fn disk(value: OsString) -> Result<Spec, lexopt::Error> {
    let mut disk = Disk::default();
    let mut bytes = value.into_vec();
    loop {
        let before = bytes.len();
        for (setting, set) in [
            (&b",ro"[..], &mut disk.read_only),
            (b",direct", &mut disk.direct),
        ] {
            if let Some(rest) = bytes.strip_suffix(setting) {
                *set = true;
                bytes = rest.to_vec();
            }
        }
        if bytes.len() == before {
            break;
        }
    }
    if bytes.is_empty() {
        return Err("--disk: give a file, such as --disk root.img,ro".into());
    }
    disk.path = OsStr::from_bytes(&bytes).into();
    Ok(Spec::Disk(disk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_follow_the_file() {
        for (text, path, read_only, direct) in [
            ("root.img", "root.img", false, false),
            ("root.img,ro", "root.img", true, false),
            ("a,b.img,ro,direct", "a,b.img", true, true),
            ("a.img,direct,ro", "a.img", true, true),
            ("a,rot", "a,rot", false, false),
        ] {
            let disk = Disk {
                path: path.into(),
                read_only,
                direct,
            };
            assert_eq!(
                super::disk(text.into()).unwrap(),
                Spec::Disk(disk),
                "{text}"
            );
        }
        assert!(super::disk(",ro".into()).is_err());
    }
}
