//! Connections around the actor.

mod connection;
mod frame_reader;
pub(crate) mod listener;

pub(crate) use self::connection::Settings;
