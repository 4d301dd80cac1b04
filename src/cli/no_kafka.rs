//! In the place of `kafka.rs` in a build without it.

use super::Failure;
use super::delivering::Post;
use super::pull::Pull;
use crate::control::Vigil;
use crate::stats::settings::Settings;

pub(super) fn pull(_: &Settings, _: &Pull<'_>, _: bool, _: &mut Vigil) -> Result<u8, Failure> {
    Err(refused("--to kafka"))
}

pub(super) fn process(_: &Settings, _: &mut Post<'_>, _: &mut Vigil) -> Result<u8, Failure> {
    Err(refused("--from kafka"))
}

fn refused(option: &str) -> Failure {
    Failure::Usage(vec![format!(
        "{option}: this build has no Kafka; build it with `--features kafka`, or leave the option out"
    )])
}
