//! Compares our kernel to one with the same configuration but without the series, in the lab. Every difference that a program
//! can see must have a line in `ci/same-as-linux.allow` that explains it.

mod allowed;
mod difference;
mod figures;
mod selftests;
mod snapshot;
mod times;

use anyhow::Result;

use self::allowed::Allowed;
use self::snapshot::Snapshot;
use crate::command::test::check::{Check, Context};
use crate::command::test::guests::{Kernel, guest};

pub(crate) use self::times::{LOADED_MEMORY, lines};

/// The guest's memory, and the parts of `guest snapshot` to compare: at once, and some again after a second.
const SNAPSHOTS: [(&str, &str); 2] = [
    (
        "128M",
        "snapshot memory limits sysctl sysfs dev wait memory sysctl",
    ),
    ("4G", "snapshot memory limits sysctl wait memory sysctl"),
];

/// The rows.
pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check::new("same/quick", quick).long(),
        Check::new("same/selftests", selftests).long(),
    ]
}

fn quick(context: &Context<'_>) -> Result<()> {
    let allowed = Allowed::read(context.layout, |path| !path.starts_with(selftests::PREFIX))?;
    let mut differences = Vec::new();
    for (memory, test) in SNAPSHOTS {
        let words: Vec<&str> = test.split(' ').collect();
        let both = [Kernel::Ours, Kernel::Unpatched].map(|kernel| -> Result<_> {
            Snapshot::parse(&guest(context, kernel, &["--memory", memory], &words)?)
        });
        let [ours, theirs] = both;
        differences.extend(ours?.differences(&theirs?, memory));
    }
    differences.extend(times::differences(context)?);
    allowed.check(&differences)
}

fn selftests(context: &Context<'_>) -> Result<()> {
    let allowed = Allowed::read(context.layout, |path| path.starts_with(selftests::PREFIX))?;
    allowed.check(&selftests::differences(context)?)
}
