//! inet, cidr and macaddr.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Refusal;
use crate::{
    base64::{hex_digit, put_hex},
    number::put_u64,
};

const NO_ADDRESS: Refusal = "not an address";
const NO_MACADDR: Refusal = "not six bytes in hexadecimal";
const CORRUPT: Refusal = "not a binary address";

/// PostgreSQL's numbers for the families.
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 3;

/// Appends the binary form of an inet or a cidr.
pub(super) fn parse(text: &[u8], is_cidr: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| NO_ADDRESS)?;
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(prefix_length(length, address.contains(':'))?)),
        None => (text, None),
    };
    if address.contains(':') {
        let octets = address.parse::<Ipv6Addr>().map_err(|_| NO_ADDRESS)?.octets();
        return put(FAMILY_V6, &octets, length.unwrap_or(128), is_cidr, out);
    }
    let (octets, count) = parse_v4(address)?;
    let length = match length {
        // An abbreviated address must have what the length counts.
        Some(length) if !is_cidr && count < 4 && usize::from(length).div_ceil(8) > count => {
            return Err(NO_ADDRESS);
        }
        Some(length) => length,
        None if is_cidr => classful_length(octets[0], count),
        None if count == 4 => 32,
        None => return Err(NO_ADDRESS),
    };
    put(FAMILY_V4, &octets, length, is_cidr, out)
}

fn prefix_length(text: &str, is_v6: bool) -> Result<u8, Refusal> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // BIND's code takes leading zeros for one of the two.
    let is_plain = is_number && !(is_v6 && text.len() > 1 && text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or("not the length of a network")
}

/// One to four decimal numbers; what is missing is 0.
fn parse_v4(text: &str) -> Result<([u8; 4], usize), Refusal> {
    let mut octets = [0; 4];
    let mut count = 0;
    for part in text.split('.') {
        let is_plain = !part.is_empty() && part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
        let octet = part.parse().ok().filter(|_| is_plain);
        *octets.get_mut(count).ok_or(NO_ADDRESS)? = octet.ok_or(NO_ADDRESS)?;
        count += 1;
    }
    Ok((octets, count))
}

/// The length of a cidr that says none: by its class, and at least what is written.
fn classful_length(first: u8, count: usize) -> u8 {
    let by_class = match first {
        240.. => 32,
        224.. => 8,
        192.. => 24,
        128.. => 16,
        _ => 8,
    };
    let written = count as u8 * 8;
    // That is what BIND's code does, for the first of the multicast networks only.
    match (first, by_class.max(written)) {
        (224, 8) => 4,
        (_, length) => length,
    }
}

fn put(family: u8, octets: &[u8], length: u8, is_cidr: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
    if usize::from(length) > octets.len() * 8 {
        return Err("not the length of a network");
    }
    if is_cidr && has_host_bits(octets, length) {
        return Err("bits are set to the right of the network's length");
    }
    out.extend_from_slice(&[family, length, u8::from(is_cidr), octets.len() as u8]);
    out.extend_from_slice(octets);
    Ok(())
}

fn has_host_bits(octets: &[u8], length: u8) -> bool {
    let length = usize::from(length);
    octets.iter().enumerate().any(|(index, octet)| {
        let network_bits = length.saturating_sub(index * 8).min(8);
        octet.checked_shl(network_bits as u32).is_some_and(|host| host != 0)
    })
}

/// Appends the text form of an inet or a cidr in binary.
pub(super) fn show(binary: &[u8], is_cidr: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let (&[family, length, _, count], octets) = binary.split_first_chunk::<4>().ok_or(CORRUPT)?;
    if usize::from(count) != octets.len() || usize::from(length) > octets.len() * 8 {
        return Err(CORRUPT);
    }
    let full = match family {
        FAMILY_V4 => {
            let octets: [u8; 4] = octets.try_into().map_err(|_| CORRUPT)?;
            out.extend_from_slice(Ipv4Addr::from(octets).to_string().as_bytes());
            32
        }
        FAMILY_V6 => {
            let octets: [u8; 16] = octets.try_into().map_err(|_| CORRUPT)?;
            out.extend_from_slice(show_v6(octets).as_bytes());
            128
        }
        _ => return Err(CORRUPT),
    };
    if is_cidr || length < full {
        out.push(b'/');
        put_u64(out, u64::from(length));
    }
    Ok(())
}

/// As Rust does it, but for the old IPv4-compatible addresses, which BIND's code shows with points.
fn show_v6(octets: [u8; 16]) -> String {
    let address = Ipv6Addr::from(octets);
    let [.., a, b, c, d] = octets;
    let is_compatible = octets[..12].iter().all(|octet| *octet == 0) && (a, b) != (0, 0);
    if is_compatible { format!("::{}", Ipv4Addr::new(a, b, c, d)) } else { address.to_string() }
}

/// Six bytes in one of the seven ways of writing them.
pub(super) fn parse_macaddr(text: &[u8]) -> Result<[u8; 6], Refusal> {
    let text = super::scalar::trim(text);
    let delimiters = |byte: &u8| matches!(byte, b':' | b'-' | b'.');
    let delimiter = text.iter().copied().find(|byte| delimiters(byte));
    let groups: Vec<&[u8]> = match delimiter {
        Some(delimiter) => text.split(|byte| *byte == delimiter).collect(),
        None => vec![text],
    };
    let widths: &[usize] = match (groups.len(), delimiter) {
        (6, Some(b':' | b'-')) => &[2, 2, 2, 2, 2, 2],
        (3, Some(b'.' | b'-')) => &[4, 4, 4],
        (2, Some(b':' | b'-')) => &[6, 6],
        (1, None) => &[12],
        _ => return Err(NO_MACADDR),
    };
    let mut address = [0; 6];
    let mut at = 0;
    for (group, &width) in groups.iter().zip(widths) {
        // Single bytes may leave their zero out.
        let is_short = width == 2 && group.len() == 1;
        if group.len() != width && !is_short {
            return Err(NO_MACADDR);
        }
        let mut digits = group.iter().map(|digit| hex_digit(*digit).ok_or(NO_MACADDR));
        for _ in 0..width / 2 {
            let first = digits.next().unwrap_or(Err(NO_MACADDR))?;
            let byte =
                if is_short { first } else { first << 4 | digits.next().unwrap_or(Err(NO_MACADDR))? };
            address[at] = byte;
            at += 1;
        }
    }
    Ok(address)
}

pub(super) fn show_macaddr(address: &[u8; 6], out: &mut Vec<u8>) {
    for (index, byte) in address.iter().enumerate() {
        if index > 0 {
            out.push(b':');
        }
        put_hex(out, &[*byte]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn convert(text: &str, is_cidr: bool) -> Result<String, Refusal> {
        let (mut binary, mut out) = (Vec::new(), Vec::new());
        parse(text.as_bytes(), is_cidr, &mut binary)?;
        show(&binary, is_cidr, &mut out)?;
        Ok(String::from_utf8(out).expect("ASCII"))
    }

    #[test]
    fn addresses_and_networks() {
        for (text, inet, cidr) in [
            ("192.168.0.1", Some("192.168.0.1"), Some("192.168.0.1/32")),
            ("192.168.0.1/24", Some("192.168.0.1/24"), None),
            ("192.168.0.0/24", Some("192.168.0.0/24"), Some("192.168.0.0/24")),
            ("192.168.0.1/32", Some("192.168.0.1"), Some("192.168.0.1/32")),
            ("0.0.0.0/0", Some("0.0.0.0/0"), Some("0.0.0.0/0")),
            ("10", None, Some("10.0.0.0/8")),
            ("10.1", None, Some("10.1.0.0/16")),
            ("224", None, Some("224.0.0.0/4")),
            ("225", None, Some("225.0.0.0/8")),
            ("192.168", None, Some("192.168.0.0/24")),
            ("::1", Some("::1"), Some("::1/128")),
            ("2001:db8::/32", Some("2001:db8::/32"), Some("2001:db8::/32")),
            ("2001:db8::1/32", Some("2001:db8::1/32"), None),
            ("::ffff:1.2.3.4", Some("::ffff:1.2.3.4"), Some("::ffff:1.2.3.4/128")),
        ] {
            assert_eq!(convert(text, false).ok().as_deref(), inet, "{text}");
            assert_eq!(convert(text, true).ok().as_deref(), cidr, "{text}");
        }
        for wrong in [
            "",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.4/33",
            "::1/129",
            "1.2.3.4/",
            "1.2.3.4/x",
            ":",
            "fe80::1%eth0",
            "1.2.3.4/+8",
        ] {
            assert!(convert(wrong, false).is_err() && convert(wrong, true).is_err(), "{wrong}");
        }
        for corrupt in [
            &b""[..],
            b"\x02\x20\x00\x04\x01\x02\x03",
            b"\x04\x20\x00\x04\x01\x02\x03\x04",
            b"\x02\x21\x00\x04\x01\x02\x03\x04",
        ] {
            assert!(show(corrupt, false, &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn mac_addresses_in_all_their_spellings() {
        for text in [
            "08:00:2b:01:02:03",
            "08-00-2B-01-02-03",
            "08002b:010203",
            "08002b-010203",
            "0800.2b01.0203",
            "0800-2b01-0203",
            "08002b010203",
            "8:0:2b:1:2:3",
        ] {
            let mut out = Vec::new();
            show_macaddr(&parse_macaddr(text.as_bytes()).expect(text), &mut out);
            assert_eq!(out, b"08:00:2b:01:02:03", "{text}");
        }
        for wrong in
            ["", "08:00:2b:01:02", "08:00:2b:01:02:03:04", "08:00:2b-01:02:03", "08002b01020", "g8002b010203"]
        {
            assert!(parse_macaddr(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_address_survives(octets in any::<[u8; 16]>(), length in 0u8..=128) {
            let (mut binary, mut out, mut again) = (Vec::new(), Vec::new(), Vec::new());
            prop_assert!(put(FAMILY_V6, &octets, length, false, &mut binary).is_ok());
            prop_assert!(show(&binary, false, &mut out).is_ok());
            prop_assert!(parse(&out, false, &mut again).is_ok());
            prop_assert_eq!(binary, again);
        }
    }
}
