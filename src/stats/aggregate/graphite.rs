//! Graphite's plaintext: a line `path value time` for each datapoint, with the paths of haproxystats.

use super::paths::Paths;
pub use super::paths::{Grouping, Groups, Kind, Naming};
use super::{Datapoint, Subject};

/// Most metrics and values are shorter than this together.
const USUAL_LINE: usize = 32;

/// Writes the lines of one snapshot.
pub struct Lines<'a> {
    paths: Paths<'a>,
    /// A space, the time and a line end, of this length together; then the path of the next line.
    between: String,
    tail: usize,
}

impl<'a> Lines<'a> {
    /// Of a snapshot that was taken at `time`, in epoch seconds.
    #[must_use]
    pub fn new(naming: Naming<'a>, time: u64) -> Self {
        let between = format!(" {time}\n");
        Self { paths: Paths::new(naming), tail: between.len(), between }
    }

    /// Appends the lines of a subject to `out`.
    pub fn write(&mut self, subject: Subject<'_>, datapoints: &[Datapoint], out: &mut Vec<u8>) {
        for path in self.paths.of(subject) {
            // The end of a line and the path of the next one are always the same: one copy.
            self.between.truncate(self.tail);
            self.between.push_str(path);
            let (between, line) = (self.between.as_bytes(), self.between.len() + USUAL_LINE);
            out.reserve(datapoints.len() * line);
            out.extend_from_slice(path.as_bytes());
            for Datapoint { metric, value } in datapoints {
                out.extend_from_slice(metric.as_bytes());
                out.push(b' ');
                value.write(out);
                out.extend_from_slice(between);
            }
            out.truncate(out.len() - path.len());
        }
    }
}
