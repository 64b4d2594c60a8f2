//! What was measured: a table for people, JSON for machines.

use std::fmt::Write;

use serde_json::{Value, json};

/// All figures and the targets they are held against.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    rows: Vec<Row>,
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Row {
    what: &'static str,
    who: &'static str,
    unit: &'static str,
    samples: Vec<f64>,
}

#[derive(Debug)]
struct Target {
    text: String,
    value: f64,
    met: bool,
}

impl Figures {
    /// Adds what was measured; gives the median.
    pub(crate) fn add(
        &mut self,
        what: &'static str,
        who: &'static str,
        unit: &'static str,
        mut samples: Vec<f64>,
    ) -> f64 {
        samples.sort_by(f64::total_cmp);
        let median = percentile(&samples, 50);
        self.rows.push(Row { what, who, unit, samples });
        median
    }

    /// "At least `times` times less than": a ratio that should be this large.
    pub(crate) fn at_least(&mut self, text: impl Into<String>, ratio: f64, times: f64) {
        self.targets.push(Target {
            text: format!("{}: at least {times} times", text.into()),
            value: ratio,
            met: ratio >= times,
        });
    }

    /// A figure that should stay below a limit.
    pub(crate) fn at_most(&mut self, text: impl Into<String>, value: f64, limit: f64) {
        self.targets.push(Target { text: format!("{}: at most {limit}", text.into()), value, met: value <= limit });
    }

    /// As a table: median, 10th and 90th percentile.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let mut whats: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !whats.contains(&row.what) {
                whats.push(row.what);
            }
        }
        for what in whats {
            let _ = writeln!(text, "\n{what:<44}{:>12}{:>12}{:>12}   n", "median", "p10", "p90");
            for row in self.rows.iter().filter(|row| row.what == what) {
                let at = |percent| percentile(&row.samples, percent);
                let (who, count, unit) = (row.who, row.samples.len(), row.unit);
                let _ = writeln!(text, "  {who:<42}{:>12.3}{:>12.3}{:>12.3}   {count}  {unit}", at(50), at(10), at(90));
            }
        }
        let _ = writeln!(text, "\ntargets");
        for target in &self.targets {
            let verdict = if target.met { "met   " } else { "MISSED" };
            let _ = writeln!(text, "  {verdict} {:>10.2}   {}", target.value, target.text);
        }
        text
    }

    /// As JSON: every sample.
    pub(crate) fn json(&self) -> String {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let median = percentile(&row.samples, 50);
                json!({ "what": row.what, "who": row.who, "unit": row.unit, "median": median, "samples": row.samples })
            })
            .collect();
        let targets: Vec<Value> =
            self.targets.iter().map(|t| json!({ "target": t.text, "value": t.value, "met": t.met })).collect();
        format!("{:#}\n", json!({ "figures": rows, "targets": targets }))
    }
}

/// Nearest rank; the samples are sorted.
fn percentile(samples: &[f64], percent: usize) -> f64 {
    let last = samples.len().saturating_sub(1);
    samples.get((last * percent + 50) / 100).copied().unwrap_or(f64::NAN)
}
