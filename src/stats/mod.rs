//! The statistics pipeline: from what HAProxy tells of itself to datapoints.

pub mod aggregate;
