//! A build without Kafka says so to whoever wants it.

use std::fs;

use crate::support::{Pipeline, Run, Sink};

const ADVICE: &str = "this build has no Kafka; build it with `--features kafka`, or ";

fn run(pipeline: &Pipeline, arguments: &[&str]) -> Run {
    Run::of(pipeline.directory(), &[arguments, &["-f", "h.conf"]].concat()).expect(2)
}

#[test]
fn the_section_is_refused() {
    let pipeline = Pipeline::new(&Sink::start());
    let conf = pipeline.path("h.conf");
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(&conf, format!("{text}[kafka]\nbrokers = 127.0.0.1:1\n")).unwrap();
    for command in ["pull", "process"] {
        run(&pipeline, &[command]).complains(&format!("{ADVICE}take the section out\n"));
    }
}

#[test]
fn the_way_is_refused() {
    let pipeline = Pipeline::new(&Sink::start());
    pipeline.configure(&Sink::start(), "servers = unix:///a.sock", "", "");
    for (command, option) in [("pull", "--to"), ("process", "--from")] {
        run(&pipeline, &[command, option, "kafka"])
            .complains(&format!("error: {option} kafka: {ADVICE}leave the option out\n"));
    }
}
