//! What a program is started with, beside its arguments.

use super::Error;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The longest host name (`__NEW_UTS_LEN` of linux/utsname.h).
const MAX_HOSTNAME: usize = 64;

/// What a program is started with, beside its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its environment: strings of the form `NAME=value`.
    pub env: Vec<OsString>,
    /// Its working directory in the guest.
    pub workdir: OsString,
    /// Its user and its group.
    pub user: (u32, u32),
    /// The guest's host name.
    pub hostname: OsString,
    /// Files and directories of this machine that it finds in the guest too, beside those that it needs to start.
    pub add: Vec<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            env: Vec::new(),
            workdir: "/".into(),
            user: (0, 0),
            hostname: "jiffy".into(),
            add: Vec::new(),
        }
    }
}

impl Settings {
    /// Only an environment.
    #[must_use]
    pub fn with_env(env: Vec<OsString>) -> Self {
        Settings {
            env,
            ..Self::default()
        }
    }

    /// Sets variables, each of which replaces one of the same name.
    ///
    /// # Errors
    /// [`Error::Env`] for one that is not `NAME=value`.
    pub fn set_env(&mut self, variables: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
        for variable in variables {
            let name = match name_of(&variable) {
                Some(name) if !name.is_empty() => name,
                _ => return Err(Error::Env(variable)),
            };
            self.env.retain(|other| name_of(other) != Some(name));
            self.env.push(variable);
        }
        Ok(())
    }

    /// Sets the user: `UID` or `UID:GID` in numbers or, where `root` has an /etc/passwd and an /etc/group, by name. Its home
    /// directory becomes that of the program.
    ///
    /// # Errors
    /// [`Error::User`].
    pub fn set_user(&mut self, text: &str, root: Option<&Path>) -> Result<(), Error> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let file = |name: &str| {
            let text = root.and_then(|root| fs::read_to_string(root.join(name)).ok());
            text.unwrap_or_default()
        };
        let (passwd, groups) = (file("etc/passwd"), file("etc/group"));
        let wrong = || Error::User(text.to_owned());
        let entry = entry(&passwd, user);
        let uid = match (number(user), &entry) {
            (Some(uid), _) => uid,
            (None, Some(fields)) => fields.get(2).and_then(|id| number(id)).ok_or_else(wrong)?,
            (None, None) => return Err(wrong()),
        };
        let gid = match group {
            None => {
                let own = entry.as_ref().and_then(|fields| number(fields.get(3)?));
                own.unwrap_or(uid)
            }
            Some(group) => number(group)
                .or_else(|| number(self::entry(&groups, group)?.get(2)?))
                .ok_or_else(wrong)?,
        };
        self.user = (uid, gid);
        let home = entry.and_then(|fields| fields.get(5).copied());
        let home = home.unwrap_or(if uid == 0 { "/root" } else { "/" });
        self.set_env([OsString::from(format!("HOME={home}"))])
    }

    /// Sets the host name.
    ///
    /// # Errors
    /// [`Error::Hostname`].
    pub fn set_hostname(&mut self, name: OsString) -> Result<(), Error> {
        if name.is_empty() || name.len() > MAX_HOSTNAME {
            return Err(Error::Hostname(name));
        }
        self.hostname = name;
        Ok(())
    }

    /// Sets the working directory.
    ///
    /// # Errors
    /// [`Error::Workdir`] for a path that is not absolute.
    pub fn set_workdir(&mut self, path: OsString) -> Result<(), Error> {
        if !path.as_bytes().starts_with(b"/") {
            return Err(Error::Workdir(path));
        }
        self.workdir = path;
        Ok(())
    }
}

/// What is before the first `=`.
fn name_of(variable: &OsStr) -> Option<&[u8]> {
    let bytes = variable.as_bytes();
    let end = bytes.iter().position(|&byte| byte == b'=')?;
    Some(&bytes[..end])
}

/// A number of a user or group; the largest stands for none.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&number| number != u32::MAX)
}

/// The fields of the line for `name`, which is a name or a number: passwd(5), group(5).
fn entry<'a>(file: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let mut lines = file.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find(|fields| fields[0] == name || fields.get(2) == Some(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_replaces_its_namesake() {
        let mut settings = Settings::with_env(vec!["A=1".into(), "AB=2".into()]);
        settings.set_env(["A=3=4".into(), "C=".into()]).unwrap();
        assert_eq!(settings.env, ["AB=2", "A=3=4", "C="]);
        for wrong in ["A", "=1", ""] {
            assert!(settings.set_env([wrong.into()]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn users_have_numbers_or_names() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
        write(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\nodd\n",
        );
        write("etc/group", "web:x:34:\nlog:x:99:\n");
        for (text, by_name, user, home) in [
            ("5", false, Some((5, 5)), "HOME=/"),
            ("5:6", false, Some((5, 6)), "HOME=/"),
            ("web", true, Some((33, 34)), "HOME=/srv"),
            ("33", true, Some((33, 34)), "HOME=/srv"),
            ("web:log", true, Some((33, 99)), "HOME=/srv"),
            ("web", false, None, ""),
            ("odd", true, None, ""),
            ("5:", true, None, ""),
            ("4294967295", true, None, ""),
        ] {
            let mut settings = Settings::default();
            let set = settings.set_user(text, by_name.then_some(root.path()));
            assert_eq!(set.ok().map(|()| settings.user), user, "{text}");
            if user.is_some() {
                assert_eq!(settings.env, [home], "{text}");
            }
        }
    }
}
