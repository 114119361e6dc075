//! What each patch and each trick is worth: a boot without it, compared with a boot of the complete kernel.

mod kernels;
mod measure;
mod plan;
mod row;
mod table;
mod variant;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use jiffy::report::Kind;
use serde::Serialize;

use self::kernels::Kernels;
use self::measure::{Bench, Figures};
use self::plan::Plan;
use self::row::{Change, Row};
use self::variant::{MEMORY, Variant};
use crate::base::cache::Cache;
use crate::base::failure::usage;
use crate::base::files::write;
use crate::base::install::{self, Need};
use crate::base::layout::Layout;
use crate::base::ui::{Ui, print};
use crate::command::bench::options::BenchOptions;
use crate::guest::artefacts::{self, Artefacts};
use crate::kernel::series::{Series, Unpatched};
use crate::kernel::variant::Workshop;
use crate::machine::kvm::On;

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    suite: &'static str,
    kvm: Kind,
    profile: &'a str,
    runs: u32,
    rows: &'a [Row],
}

/// Measures and prints.
pub(super) fn run(layout: &Layout, options: &BenchOptions) -> Result<()> {
    let ui = Ui::new(options.build.quiet);
    let profile = options.build.profile.as_str();
    if options.on == On::Host || profile == artefacts::FLAT {
        return Err(usage(
            "--suite ablation compares Linux kernels in the lab: it takes neither --on host nor --profile flat",
        ));
    }
    let series = Series::read(&layout.series())?;
    let mut plan = Plan::read(&layout.patches(""), &series)?;
    plan.select(&options.only)?;
    let document = document(layout);
    if options.write {
        // Fail now rather than after an hour of measuring.
        table::replace(&read(&document)?, profile, "")?;
    }
    let mut needs = vec![Need::Build, Need::Qemu];
    needs.extend(
        plan.variants
            .iter()
            .any(Variant::uses_clang)
            .then_some(Need::Llvm),
    );
    install::ensure(&ui, &needs, &[], options.build.install)?;

    let rows = rows(layout, &ui, options, &series, &plan)?;
    let table = table::table(&rows);
    if options.write {
        let text = table::replace(&read(&document)?, profile, &table)?;
        write(&document, text.as_bytes())?;
        ui.say(&format!("wrote the table to {}", document.display()));
    }
    print(&if options.build.json {
        serde_json::to_string(&Report {
            schema: 1,
            suite: "ablation",
            kvm: Kind::Lab,
            profile,
            runs: options.runs(),
            rows: &rows,
        })?
    } else {
        table
    })
}

fn document(layout: &Layout) -> PathBuf {
    layout.patches("README.md")
}

fn read(path: &std::path::Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// What all measurements need.
struct Suite<'a> {
    bench: Bench<'a>,
    kernels: Kernels<'a>,
    workshop: Workshop<'a>,
    unpatched: Unpatched<'a>,
    plan: &'a Plan,
    /// The complete kernel.
    vmlinux: PathBuf,
    /// Results of the complete kernel, by memory size.
    bases: BTreeMap<String, Figures>,
    rows: Vec<Row>,
}

fn rows(
    layout: &Layout,
    ui: &Ui,
    options: &BenchOptions,
    series: &Series,
    plan: &Plan,
) -> Result<Vec<Row>> {
    let Artefacts {
        vmlinux, initramfs, ..
    } = artefacts::build(layout, ui, &options.build, false)?;
    let cache = Cache::open()?;
    let kernels = Kernels::new(layout, ui, &cache, &options.build, series)?;
    let workshop = kernels.workshop()?;
    let unpatched = Unpatched::of(series, workshop.base().path())?;
    let mut suite = Suite {
        bench: Bench {
            layout,
            ui,
            cache: &cache,
            options: &options.build,
            initramfs: initramfs.context("this profile has no initramfs")?,
            runs: options.runs(),
        },
        kernels,
        workshop,
        unpatched,
        plan,
        vmlinux,
        bases: BTreeMap::new(),
        rows: Vec::new(),
    };
    suite.base(MEMORY)?;
    for (number, variant) in plan.variants.iter().enumerate() {
        let (number, of) = (number + 1, plan.variants.len());
        ui.say(&format!("without {} ({number} of {of})", variant.name));
        let began = Instant::now();
        suite.base(variant.memory())?;
        suite.variant(variant);
        let seconds = began.elapsed().as_secs();
        ui.say(&format!("without {}: {seconds} s", variant.name));
    }
    Ok(suite.rows)
}

impl Suite<'_> {
    /// Measures the complete kernel with this memory, which other rows are compared with. It has to boot.
    fn base(&mut self, memory: &str) -> Result<()> {
        if self.bases.contains_key(memory) {
            return Ok(());
        }
        let base = Variant::base(memory);
        let figures = self.bench.measure(&self.vmlinux, &base)?;
        self.bases.insert(memory.to_owned(), figures.clone());
        self.rows.push(Row {
            figures: Some(figures),
            ..Row::of(&base)
        });
        Ok(())
    }

    /// Measures a variant. If it cannot be built or does not get ready, its row says so.
    fn variant(&mut self, variant: &Variant) {
        let mut row = Row::of(variant);
        match self.figures(variant, &mut row) {
            Ok(figures) => {
                let base = self.bases.get(variant.memory());
                row.change = base.map(|base| Change::between(base, &figures));
                row.figures = Some(figures);
            }
            Err(error) => {
                let reason = format!("{error:#}");
                self.bench
                    .ui
                    .say(&format!("without {}: {reason}", variant.name));
                row.failed = Some(reason);
            }
        }
        self.rows.push(row);
    }

    fn figures(&self, variant: &Variant, row: &mut Row) -> Result<Figures> {
        if variant.boots_complete_kernel() {
            return self.bench.measure(&self.vmlinux, variant);
        }
        let made = self
            .kernels
            .make(&self.workshop, &self.unpatched, self.plan, variant)?;
        row.with.clone_from(&made.with);
        row.not_granted.clone_from(&made.not_granted);
        self.bench.measure(&made.vmlinux(), variant)
    }
}
