//! The pie of {memory setup, VM setup, boot}, as SVG.

use std::f64::consts::TAU;

use jiffy::report::Microseconds;

/// Slices: what, microseconds, colour.
fn slices(us: &Microseconds) -> [(&'static str, f64, &'static str); 3] {
    [
        ("memory setup", us.load, "#4e79a7"),
        ("VM setup", us.vm + us.vcpu, "#f28e2b"),
        ("boot", us.kernel, "#59a14f"),
    ]
}

/// Renders the pie of a run.
pub(crate) fn render(us: &Microseconds) -> String {
    let slices = slices(us);
    let total = slices.iter().map(|slice| slice.1).sum::<f64>().max(1e-9);
    let mut svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 440 200\" font-family=\"sans-serif\" font-size=\"13\">\n".to_owned();
    let mut at = 0.0;
    for (index, (name, us, colour)) in slices.iter().enumerate() {
        let share = us / total;
        let point = |turn: f64| {
            (
                100.0 + 90.0 * (turn * TAU).sin(),
                100.0 - 90.0 * (turn * TAU).cos(),
            )
        };
        // An arc from a point to itself draws nothing, so a whole circle stops just short of that.
        let (from, to) = (point(at), point(at + share.min(0.9999)));
        let large = u8::from(share > 0.5);
        svg += &format!(
            "<path d=\"M100 100L{:.2} {:.2}A90 90 0 {large} 1 {:.2} {:.2}Z\" fill=\"{colour}\"/>\n",
            from.0, from.1, to.0, to.1
        );
        let y = 60 + 30 * index;
        svg += &format!(
            "<rect x=\"210\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"230\" y=\"{y}\">{name}: {:.2} ms ({:.1} %)</text>\n",
            y - 11,
            us / 1e3,
            share * 100.0
        );
        at += share;
    }
    svg + "</svg>\n"
}
