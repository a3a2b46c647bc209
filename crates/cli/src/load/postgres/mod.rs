//! The way to PostgreSQL: where it is, who we are there, and how the line is secured.
//!
//! | | |
//! |---|---|
//! | [`parameters`] | libpq's URLs and `keyword=value` strings |
//! | [`settings`] | all sources in libpq's order: the string, a service file, `PG*`, defaults |
//! | [`files`] | pg_service.conf and ~/.pgpass |
//! | [`tls`] | every sslmode on rustls, channel binding |
//! | [`connect`] | one connection, with libpq's fall-backs between plain and secured |

pub mod connect;
pub mod files;
pub mod parameters;
pub mod settings;
pub mod tls;

use std::fmt;

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
