//! The table of what each variant changes, and how it is put into a document.

use anyhow::{Result, bail};

use super::row::Row;

/// How many settings that Kconfig did not grant are named.
const NAMED: usize = 3;

/// Length to which reasons are cut.
const REASON: usize = 120;

/// The table in Markdown. Rows of the complete kernel show figures; others show the difference from the row with their memory.
pub(super) fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        "| taken out | what | to ready, lab µs | instructions | exits | pages | vmlinux, bytes |"
            .to_owned(),
        "|---|---|--:|--:|--:|--:|--:|".to_owned(),
    ];
    lines.extend(rows.iter().map(line));
    lines.join("\n")
}

fn line(row: &Row) -> String {
    let mut name = row.name.clone();
    if !row.with.is_empty() {
        name += &format!(", with {}", row.with.join(", "));
    }
    let cells = match (&row.figures, &row.change) {
        (Some(figures), None) => figures.numbers().map(|it| it.map_or_else(dash, grouped)),
        (Some(_), Some(change)) => change.numbers().map(|it| it.map_or_else(dash, signed)),
        (None, _) => [(); 5].map(|()| dash()),
    };
    let what = format!("{}{}", row.what, remarks(row)).replace('|', "\\|");
    format!("| {name} | {what} | {} |", cells.join(" | "))
}

fn remarks(row: &Row) -> String {
    let mut remarks = Vec::new();
    remarks.extend(row.failed.as_deref().map(in_short));
    let names = row.not_granted.iter().take(NAMED);
    let mut options: Vec<String> = names.map(|it| it.replace("CONFIG_", "")).collect();
    if row.not_granted.len() > NAMED {
        options.push(format!("{} more", row.not_granted.len() - NAMED));
    }
    if !options.is_empty() {
        remarks.push(format!("so {}", options.join(", ")));
    }
    if remarks.is_empty() {
        String::new()
    } else {
        format!(" ({})", remarks.join("; "))
    }
}

/// The most useful line of a reason: a compiler's first error, or the first line.
fn in_short(reason: &str) -> String {
    let error = |line: &&str| line.contains("error:");
    let line = reason.lines().find(error).or(reason.lines().next());
    line.unwrap_or_default()
        .trim()
        .chars()
        .take(REASON)
        .collect()
}

fn dash() -> String {
    "-".to_owned()
}

fn signed(number: i64) -> String {
    let sign = if number > 0 { "+" } else { "" };
    format!("{sign}{}", grouped(number))
}

fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-" } else { "" }.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The document with the text between the profile's two marks replaced.
///
/// # Errors
/// Unless each mark is there once, in order.
pub(super) fn replace(document: &str, profile: &str, text: &str) -> Result<String> {
    let (begin, end) = marks(profile);
    let parts: Vec<&str> = document.split(begin.as_str()).collect();
    if let [before, rest] = parts[..]
        && let [_, after] = rest.split(end.as_str()).collect::<Vec<_>>()[..]
    {
        return Ok(format!("{before}{begin}\n{text}\n{end}{after}"));
    }
    bail!("the document must have the lines {begin} and {end} once each, in that order");
}

fn marks(profile: &str) -> (String, String) {
    (
        format!("<!-- ablation:{profile} -->"),
        format!("<!-- /ablation:{profile} -->"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::measure::Figures;
    use super::super::row::Change;
    use super::*;
    use expect_test::expect;

    fn figures(us: f64, instructions: Option<u64>, bytes: u64) -> Figures {
        Figures {
            to_ready_us: us,
            instructions,
            exits: 310,
            pages: 120,
            kernel_bytes: bytes,
        }
    }

    fn row(name: &str, figures: Result<Figures, String>, base: Option<&Figures>) -> Row {
        Row {
            name: name.to_owned(),
            what: "mm: a|b".to_owned(),
            memory: "128M".to_owned(),
            with: Vec::new(),
            not_granted: Vec::new(),
            change: base.and_then(|base| Some(Change::between(base, figures.as_ref().ok()?))),
            failed: figures.as_ref().err().cloned(),
            figures: figures.ok(),
        }
    }

    #[test]
    fn rows_are_changes_and_failures_say_why() {
        let base = figures(5686.5, Some(3_400_186), 5_884_744);
        let mut dearer = row(
            "0025",
            Ok(figures(5996.4, Some(3_400_000), 5_884_744)),
            Some(&base),
        );
        dearer.with.push("0026".to_owned());
        let uncounted = row("16G", Ok(figures(5000.0, None, 5_900_000)), Some(&base));
        let mut broken = row(
            "0003",
            Err("could not:\n  CC x\nf.c:1: error: no g\n".to_owned()),
            None,
        );
        broken.not_granted = ["A=n", "B=y", "C=8", "D=n", "E=n"]
            .map(|it| format!("CONFIG_{it}"))
            .into();
        let rows = [row("nothing", Ok(base), None), dearer, uncounted, broken];
        expect![[r#"
            | taken out | what | to ready, lab µs | instructions | exits | pages | vmlinux, bytes |
            |---|---|--:|--:|--:|--:|--:|
            | nothing | mm: a\|b | 5,687 | 3,400,186 | 310 | 120 | 5,884,744 |
            | 0025, with 0026 | mm: a\|b | +309 | -186 | 0 | 0 | 0 |
            | 16G | mm: a\|b | -687 | - | 0 | 0 | +15,256 |
            | 0003 | mm: a\|b (f.c:1: error: no g; so A=n, B=y, C=8, 2 more) | - | - | - | - | - |"#]]
        .assert_eq(&table(&rows));
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let document =
            "a\n<!-- ablation:min -->\nold\n<!-- /ablation:min -->\nb\n<!-- ablation:default -->\n";
        expect![[r#"
            a
            <!-- ablation:min -->
            new
            <!-- /ablation:min -->
            b
            <!-- ablation:default -->
        "#]]
        .assert_eq(&replace(document, "min", "new").unwrap());
        for profile in ["default", "smp"] {
            assert!(replace(document, profile, "new").is_err(), "{profile}");
        }
        let twice = format!("{document}{document}");
        assert!(replace(&twice, "min", "new").is_err());
    }
}
