//! Figures as a picture: what a pass costs beside the original and a plain copy, and how that grows. The same figures
//! give the same picture. It has a ground of its own, so that it is readable on light and dark pages.

use std::fmt::Write as _;
use std::time::Duration;

use super::Outcome;

/// haproxystats 0.5.2 with the same snapshot.
const ORIGINAL: (Duration, u64) = (Duration::from_millis(2450), 242_000_000);

/// How long a snapshot of some size took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    pub(crate) processes: usize,
    pub(crate) rows_each: usize,
    pub(crate) time: Duration,
    pub(crate) cpu: Duration,
}

impl Growth {
    pub(crate) fn rows(&self) -> usize {
        self.processes * self.rows_each
    }

    /// CPU time of a row.
    pub(crate) fn each(&self) -> Duration {
        self.cpu / u32::try_from(self.rows()).unwrap_or(u32::MAX)
    }
}

/// What a pass costs, and how that grows.
#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) once: Duration,
    pub(crate) running: Duration,
    pub(crate) copy: Duration,
    /// In KiB.
    pub(crate) peak: u64,
    /// Of as many processes each.
    pub(crate) growth: Vec<Growth>,
}

const HEAD: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 330" width="860" height="330" role="img"
     font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="13" fill="#24292f">
  <title>What one pass of process costs</title>
  <desc>Time and peak memory for one snapshot of 4 processes with 11,100 rows each, of haproxystats 0.5.2 and of
  supervisor-haproxy, beside a plain copy; and the CPU time by the number of rows. The figures are in performance.md.</desc>
  <!-- A ground of its own: readable on light and dark pages. -->
  <rect width="860" height="330" rx="10" fill="#ffffff"/>
"##;

const OLD: &str = "#b7791f";
const NEW: &str = "#3b6fb6";
const PLAIN: &str = "#6b7280";

/// Left edge of the bars, the longest one, and where the graph lies.
const BARS: (f64, f64) = (165.0, 200.0);
const GRAPH: [f64; 4] = [540.0, 60.0, 290.0, 205.0];

impl Chart {
    pub(crate) fn draw(&self) -> Outcome<String> {
        let mut svg = HEAD.to_owned();
        let (time, memory) = ORIGINAL;
        let bar = |name, color, time: Duration| (name, color, time.as_secs_f64(), whole_millis(time));
        let times = [
            bar("haproxystats 0.5.2", OLD, time),
            bar("process --once", NEW, self.once),
            bar("process, running", NEW, self.running),
            bar("a plain copy", PLAIN, self.copy),
        ];
        bars(&mut svg, 36.0, "Time of one pass", &times)?;
        let bar = |name, color, bytes: u64| (name, color, mega(bytes), format!("{:.0} MB", mega(bytes)));
        let sizes = [bar("haproxystats 0.5.2", OLD, memory), bar("process", NEW, self.peak * 1024)];
        bars(&mut svg, 200.0, "Peak memory", &sizes)?;
        self.graph(&mut svg)?;
        svg.push_str("</svg>\n");
        Ok(svg)
    }

    /// The sizes from the origin on; points that lie on a line through it cost the same for each row.
    fn graph(&self, svg: &mut String) -> Outcome<()> {
        let [left, top, width, height] = GRAPH;
        let (bottom, right) = (top + height, left + width);
        let most = self.growth.iter().map(Growth::rows).max().unwrap_or(1);
        let longest = self.growth.iter().map(|size| size.cpu).max().unwrap_or_default().as_secs_f64() * 1e3;
        let step = step(longest / 4.0);
        let end = (longest / step).ceil().max(1.0) * step;
        let x = |rows: usize| left + width * to_f64(rows) / to_f64(most);
        let y = |millis: f64| bottom - height * millis / end;
        writeln!(
            svg,
            "  <text x=\"{left}\" y=\"36\" font-weight=\"bold\" font-size=\"15\">CPU time by rows</text>"
        )?;
        let mut at = 0.0;
        while at <= end {
            let level = y(at);
            writeln!(svg, "  <path d=\"M{left} {level:.1}H{right}\" stroke=\"#d0d7de\"/>")?;
            writeln!(
                svg,
                "  <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#57606a\">{at:.0} ms</text>",
                left - 8.0,
                level + 4.0
            )?;
            at += step;
        }
        let mut sizes = self.growth.clone();
        sizes.sort_by_key(Growth::rows);
        let mut points = String::new();
        for size in &sizes {
            write!(points, " {:.1},{:.1}", x(size.rows()), y(size.cpu.as_secs_f64() * 1e3))?;
        }
        writeln!(
            svg,
            "  <polyline points=\"{}\" fill=\"none\" stroke=\"{NEW}\" stroke-width=\"2\"/>",
            points.trim_start()
        )?;
        for size in &sizes {
            let at = x(size.rows());
            let level = y(size.cpu.as_secs_f64() * 1e3);
            writeln!(svg, "  <circle cx=\"{at:.1}\" cy=\"{level:.1}\" r=\"4\" fill=\"{NEW}\"/>")?;
        }
        // The small ones lie too close to be named.
        for size in sizes.iter().filter(|size| size.rows() * 4 >= most) {
            writeln!(
                svg,
                "  <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{}\" fill=\"#57606a\">{}</text>",
                x(size.rows()),
                bottom + 20.0,
                if size.rows() == most { "end" } else { "middle" },
                thousands(size.rows())
            )?;
        }
        writeln!(
            svg,
            "  <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">rows of show stat, in {} processes</text>",
            left + width / 2.0,
            bottom + 42.0,
            sizes.first().map(|size| size.processes).unwrap_or_default()
        )?;
        Ok(())
    }
}

fn bars(svg: &mut String, top: f64, title: &str, bars: &[(&str, &str, f64, String)]) -> Outcome<()> {
    let (left, longest) = BARS;
    let most = bars.iter().map(|(_, _, value, _)| *value).fold(f64::MIN_POSITIVE, f64::max);
    writeln!(svg, "  <text x=\"24\" y=\"{top}\" font-weight=\"bold\" font-size=\"15\">{title}</text>")?;
    let mut at = top + 14.0;
    for (name, color, value, text) in bars {
        let width = longest * value / most;
        let middle = at + 16.0;
        writeln!(svg, "  <text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{name}</text>", left - 8.0)?;
        writeln!(
            svg,
            "  <rect x=\"{left}\" y=\"{}\" width=\"{width:.1}\" height=\"20\" rx=\"1\" fill=\"{color}\"/>",
            at + 2.0
        )?;
        let end = left + width + 8.0;
        writeln!(svg, "  <text x=\"{end:.1}\" y=\"{middle}\" font-weight=\"bold\">{text}</text>")?;
        at += 28.0;
    }
    Ok(())
}

fn whole_millis(time: Duration) -> String {
    thousands(usize::try_from((time + Duration::from_micros(500)).as_millis()).unwrap_or_default()) + " ms"
}

fn mega(bytes: u64) -> f64 {
    to_f64(usize::try_from(bytes).unwrap_or_default()) / 1e6
}

#[allow(clippy::cast_precision_loss, reason = "no picture is that exact")]
fn to_f64(count: usize) -> f64 {
    count as f64
}

/// 1, 2 or 5 with zeros: the first one that is not smaller.
fn step(least: f64) -> f64 {
    let mut steps = (0..9).flat_map(|zeros| [1.0, 2.0, 5.0].map(|first| first * 10_f64.powi(zeros)));
    steps.find(|step| *step >= least).unwrap_or(1.0)
}

fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
