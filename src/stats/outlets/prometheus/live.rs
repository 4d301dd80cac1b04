//! The same metrics of one HAProxy that has just been asked, in memory: for those who are asked by Prometheus themselves.

use std::convert::Infallible;

use super::samples::{Catalogue, Samples};
use crate::stats::aggregate::{Aggregate, Scope, SnapshotError};

/// Writes what HAProxy's dumps say in Prometheus' text form.
#[derive(Debug)]
pub struct Exposition {
    catalogue: Catalogue,
    scope: Scope,
}

impl Default for Exposition {
    fn default() -> Self {
        Self { catalogue: Catalogue::new(), scope: Scope::default() }
    }
}

impl Exposition {
    /// Appends all samples of one process; nothing where one of its texts is damaged.
    pub fn write(&self, info: &str, stat: &str, out: &mut Vec<u8>) -> Result<(), SnapshotError> {
        let mut aggregate = Aggregate::new(&self.scope);
        aggregate.add_info(info)?;
        aggregate.add_stat(stat)?;
        let samples = Samples::of_haproxy(&aggregate, &self.catalogue);
        let Ok(()) = self.catalogue.write::<Infallible>(&[("", &samples)], &mut |piece| {
            out.extend_from_slice(piece);
            Ok(())
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn haproxys_metrics_are_written_and_none_of_the_pipelines() {
        let stat = "# pxname,svname,type,scur,\nweb,s1,2,4,\n\n";
        let mut out = b"a 1\n".to_vec();
        Exposition::default().write("CurrConns: 3\n\n", stat, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in [
            "a 1",
            "haproxy_process_current_connections 3",
            "haproxy_server_current_sessions{proxy=\"web\",server=\"s1\"} 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(!text.contains("haproxystats_"), "{text}");
    }

    #[test]
    fn of_damaged_texts_nothing_is_written() {
        let mut out = Vec::new();
        assert!(Exposition::default().write("CurrConns: 3\n\n", "nonsense", &mut out).is_err());
        assert_eq!(out, b"");
    }
}
