//! The APIs through in-memory pipes and simulated time.

mod admin;
mod configs;
mod connections;
mod faults;
mod fetch;
mod groups;
mod hostile;
mod list_offsets;
mod metadata;
mod peer;
mod produce;
mod unserved;
