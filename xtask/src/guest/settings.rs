//! What a program is started with: its environment, working directory and user, and the guest's host name.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use jiffy::payload::{Settings, environment, guest_environment};

use crate::base::failure::usage;

/// Options for the program.
#[derive(Args, Default)]
pub(crate) struct SettingsOptions {
    /// Set a variable of the program's environment; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<OsString>,
    /// The program's working directory in the guest [default: /]
    #[arg(long, value_name = "DIR")]
    workdir: Option<OsString>,
    /// Run the program as this user, by number, or by name if it is this machine's or of a --rootfs directory
    #[arg(long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// The guest's host name [default: jiffy]
    #[arg(long, value_name = "NAME")]
    hostname: Option<OsString>,
    /// Copy this file or directory of this machine into the guest too, at the same path; may be repeated
    #[arg(long, value_name = "FILE")]
    add: Vec<PathBuf>,
}

impl SettingsOptions {
    /// The settings of a program, whose root is `rootfs` if that was given.
    pub(crate) fn settings(&self, rootfs: Option<&Path>) -> Result<Settings> {
        self.read(rootfs).map_err(|error| usage(error.to_string()))
    }

    fn read(&self, rootfs: Option<&Path>) -> Result<Settings, jiffy::payload::Error> {
        let mut settings = Settings::with_env(match rootfs {
            Some(_) => guest_environment(),
            None => environment(),
        });
        if let Some(user) = &self.user {
            settings.set_user(user, Some(rootfs.unwrap_or(Path::new("/"))))?;
        }
        settings.set_env(self.env.iter().cloned())?;
        if let Some(path) = &self.workdir {
            settings.set_workdir(path.clone())?;
        }
        if let Some(name) = &self.hostname {
            settings.set_hostname(name.clone())?;
        }
        settings.add.clone_from(&self.add);
        Ok(settings)
    }

    /// The runner's options for them. Names have been looked up.
    pub(crate) fn runner(&self, settings: &Settings) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut pair = |name: &str, value: OsString| args.extend([name.into(), value]);
        if self.user.is_some() {
            let (uid, gid) = settings.user;
            pair("--user", format!("{uid}:{gid}").into());
            let home = settings.env.iter().find(|pair| {
                let bytes = pair.as_encoded_bytes();
                bytes.starts_with(b"HOME=")
            });
            if let Some(home) = home {
                pair("--env", home.clone());
            }
        }
        for variable in &self.env {
            pair("--env", variable.clone());
        }
        pair("--workdir", settings.workdir.clone());
        pair("--hostname", settings.hostname.clone());
        for path in &self.add {
            pair("--add", path.into());
        }
        args
    }
}
