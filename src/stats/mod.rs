//! The statistics pipeline, a drop-in for haproxystats: so far its [`settings`].

pub mod settings;
