//! What the runner gives up before a guest runs, so that a guest that got control of it would gain little.

pub mod cgroup;
pub(crate) mod jail;
mod landlock;
pub(crate) mod seccomp;
#[cfg(test)]
mod tests;
