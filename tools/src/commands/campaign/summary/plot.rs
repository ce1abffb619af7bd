//! The time of each recovery of the cache over the size of its log, and the line through all of them, drawn.

use anyhow::Result;

use super::figures::replays;
use super::relation::Relation;
use crate::commands::campaign::record::Record;
use crate::plot::{Marks, Plot, Vertical};

/// Width and height, pixels.
const SIZE: (u32, u32) = (800, 500);

/// Bytes of a page, in MiB.
const PAGE_MIB: f64 = 4096.0 / 1_048_576.0;

/// An SVG with a point for each recovery, and a line if there are enough.
pub fn replays_drawn(records: &[&Record]) -> Result<String> {
    let points: Vec<(f64, f64)> = replays(records)
        .map(|(pages, ns)| (pages as f64 * PAGE_MIB, ns as f64 / 1e6))
        .collect();
    let most = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(1.0, f64::max) * 1.05;
    let (mib_max, ms_max) = (most(|point| point.0), most(|point| point.1));
    let plot = Plot {
        size: SIZE,
        x: ("roll-forward log at the crash, MiB", 0.0..mib_max),
        y: Vertical::Numbers("until calls go on, ms", 0.0..ms_max),
    };
    let line = Relation::of(replays(records))
        .map(|relation| Marks::Line([0.0, mib_max].map(|mib| (mib, relation.ms(mib)))));
    let marks: Vec<Marks> = [Marks::Dots(points)].into_iter().chain(line).collect();
    plot.draw(&marks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::campaign::record::{Outcome, Replay};
    use crate::commands::campaign::results::tests::record;

    #[test]
    fn each_replay_is_a_point() {
        let mut records: Vec<Record> = (0..7).map(|it| record(it, Outcome::Recovered)).collect();
        for record in &mut records[..5] {
            record.replay = Some(Replay {
                pages: 100 * record.number,
                files: 1,
                duration_ns: 5_000_000,
                skipped: record.number == 4,
            });
        }
        let svg = replays_drawn(&records.iter().collect::<Vec<_>>()).expect("drawn");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("<circle").count(), 4);
        replays_drawn(&[]).expect("nothing is no error");
    }
}
