//! Builds of the patched tree for tests only: a 32-bit kernel, and the files that the series touches, with more warnings.

use anyhow::Result;

use crate::base::cache::Cache;
use crate::base::ui::Ui;
use crate::command::test::check::{Check, Context};
use crate::command::test::command::Run;
use crate::command::test::guests;
use crate::kernel::series::Series;
use crate::kernel::source;
use crate::kernel::tree::{self, Tree};

/// Time limit in seconds: enough to compile a small kernel or a hundred files on a slow machine.
const SECONDS: u64 = 1200;

/// The rows.
pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::new("linux/i386", |context| script(context, "ci/i386")),
        Check::new("linux/warnings", |context| {
            // The script takes the configuration of that kernel.
            guests::vmlinux(context, "default")?;
            script(context, "ci/warnings")
        })
        .long(),
    ]
}

/// Runs a script of the repository on the tree.
fn script(context: &Context<'_>, script: &str) -> Result<()> {
    let cache = Cache::open()?;
    let tree = patched(context, &cache)?;
    let _alone = cache.lock(&format!("{}-{}", script.replace('/', "-"), tree.key))?;
    let path = tree.path().to_string_lossy();
    Run::program(&[script, &path])
        .timeout(SECONDS)
        .run(context)?
        .ended_with(0)?;
    Ok(())
}

/// The kernel source with the series.
pub(super) fn patched(context: &Context<'_>, cache: &Cache) -> Result<Tree> {
    let ui = Ui::new(true);
    let source = source::find(&ui, cache, context.source)?;
    let series = Series::read(&context.layout.series())?;
    tree::patched(&ui, cache, &source, &series)
}
