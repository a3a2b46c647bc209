//! Every message of the protocol, one module each, generated from `tables/`.
//!
//! Names are the protocol's own. A field that a version lacks keeps its default; writing anything else
//! to such a version is an error, unless the table calls the field ignorable.

// The generator writes one statement per field, whatever the versions make of it.
#![allow(
    clippy::borrow_deref_ref,
    clippy::collapsible_else_if,
    clippy::collapsible_if,
    clippy::derivable_impls,
    clippy::double_parens,
    clippy::field_reassign_with_default,
    clippy::let_and_return,
    clippy::match_single_binding,
    clippy::needless_borrow,
    clippy::nonminimal_bool,
    clippy::overly_complex_bool_expr,
    clippy::unnecessary_map_or,
    unused_mut,
    unused_parens
)]

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

impl ApiKey {
    /// The version of the header of a request: 2 from the first flexible version on, else 1.
    pub const fn request_header_version(self, api_version: i16) -> i16 {
        if api_version >= self.request_flexible_from() { 2 } else { 1 }
    }

    /// The version of the header of a response: 1 from the first flexible version on, else 0.
    ///
    /// ApiVersions always answers with 0, so that a client can read a reply before it knows what the
    /// broker speaks (KIP-511).
    pub const fn response_header_version(self, api_version: i16) -> i16 {
        if matches!(self, ApiKey::ApiVersions) {
            return 0;
        }
        if api_version >= self.response_flexible_from() { 1 } else { 0 }
    }
}

impl TryFrom<i16> for ApiKey {
    type Error = i16;

    fn try_from(key: i16) -> Result<ApiKey, i16> {
        ApiKey::from_number(key).ok_or(key)
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
