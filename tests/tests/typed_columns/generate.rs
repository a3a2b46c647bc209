//! Texts that are, nearly are, or are not quite values of a type: from pieces of PostgreSQL's grammars.

/// SplitMix64: small, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    /// So many digits, more often small numbers than not.
    fn digits(&mut self, len: usize) -> String {
        let digit = |random: &mut Self| char::from(b'0' + random.below(10) as u8);
        (0..len).map(|index| if index + 2 < len && self.one_in(2) { '0' } else { digit(self) }).collect()
    }

    /// A number below `end` with two digits, sometimes with one, sometimes one too large.
    fn two_digits(&mut self, end: usize) -> String {
        let end = if self.one_in(30) { 100 } else { end };
        let number = if self.one_in(10) { end - 1 } else { self.below(end) };
        if self.one_in(8) { number.to_string() } else { format!("{number:02}") }
    }
}

const MONTHS: &[&str] = &[
    "Jan",
    "feb",
    "MAR",
    "April",
    "may",
    "june",
    "Jul",
    "aug",
    "Sept",
    "September",
    "oct",
    "nov",
    "December",
];
const SPECIAL: &[&str] = &[
    "infinity",
    "-infinity",
    "+infinity",
    "epoch",
    "allballs",
    "at",
    "on",
    "mon",
    "Thu",
    "Tues",
    "weds",
    "J",
    "j2451187",
    "T",
    "AD",
    "BC",
    "AM",
    "PM",
    "d",
    "h",
    "m",
    "y",
    "s",
    "dst",
    "jd",
    "julian",
    "isodow",
];
const ZONES: &[&str] = &[
    "Z",
    "z",
    "UTC",
    "gmt",
    "zulu",
    "UT",
    "+00",
    "-05",
    "+5:30",
    "+0530",
    "-08:00",
    "+15:59:59",
    "+1",
    "-123",
    "+16",
    "+05:",
    "+05:3:1",
    "- 7",
    "+0530:15",
    "+053015",
    "+5.5",
    "utc+3",
];
const SEPARATORS: &[&str] = &[
    " ", " ", " ", " ", " ", " ", " ", "", "", "T", "t", "  ", ",", ", ", "-", ":", ".", "/", "\t", "+", "@",
    "!",
];

fn year(random: &mut Random) -> String {
    match random.below(12) {
        0 => random.digits(2),
        1 => random.digits(3),
        2 => random.digits(5),
        3 => random.digits(6),
        4 => "294276".to_owned(),
        5 => "4714".to_owned(),
        6 => "0000".to_owned(),
        _ => ["19", "20"][random.below(2)].to_owned() + &random.digits(2),
    }
}

fn date(random: &mut Random) -> String {
    let (year, month, day) = (year(random), random.two_digits(13), random.two_digits(32));
    let name = random.pick(MONTHS);
    let delimiter = random.pick(&["-", "-", "-", "/", "."]);
    match random.below(14) {
        0 => format!("{year}{month}{day}"),
        1 => format!("{name} {day} {year}"),
        2 => format!("{day} {name} {year}"),
        3 => format!("{year} {name} {day}"),
        4 => format!("{day}{delimiter}{name}{delimiter}{year}"),
        5 => format!("{year}{delimiter}{name}{delimiter}{day}"),
        6 => format!("{name}{delimiter}{day}{delimiter}{year}"),
        7 => format!("{year}{delimiter}{}", random.digits(3)),
        8 => {
            let len = [4, 6, 7, 8][random.below(4)];
            random.digits(len)
        }
        9 => format!("J{}", random.digits(7)),
        _ => format!("{year}{delimiter}{month}{delimiter}{day}"),
    }
}

fn fraction(random: &mut Random) -> String {
    let len = [0, 1, 2, 3, 6, 6, 7, 9][random.below(8)];
    let digits = random.digits(len);
    if random.one_in(6) { format!(".{}", "999999999".split_at(len).0) } else { format!(".{digits}") }
}

fn clock(random: &mut Random) -> String {
    let (hour, minute, second) = (random.two_digits(25), random.two_digits(60), random.two_digits(61));
    let fraction = if random.one_in(3) { fraction(random) } else { String::new() };
    match random.below(11) {
        0 | 1 => format!("{hour}:{minute}"),
        5 => format!("{hour}{minute}{second}{}", random.pick(&["-08", "-0830", "-8", "/08", "-08-30"])),
        2 => format!("{hour}{minute}{second}{fraction}"),
        3 => format!("{hour}{minute}"),
        4 => format!("{minute}:{second}{fraction}"),
        _ => format!("{hour}:{minute}:{second}{fraction}"),
    }
}

fn moment(random: &mut Random, date_share: usize, zone_share: usize) -> String {
    if random.one_in(6) {
        let count = 1 + random.below(5);
        let pieces = (0..count).map(|_| any_piece(random)).collect();
        return joined(random, pieces);
    }
    let mut pieces = Vec::new();
    if random.below(10) < date_share {
        pieces.push(date(random));
    }
    if random.below(10) < 8 {
        let marker = if random.one_in(8) { "T" } else { "" };
        pieces.push(marker.to_owned() + &clock(random));
    }
    if random.one_in(6) {
        pieces.push(random.pick(&["AM", "PM", "pm"]).to_owned());
    }
    if random.below(10) < zone_share {
        pieces.push(random.pick(ZONES).to_owned());
    }
    if random.one_in(6) {
        let at = random.below(pieces.len() + 1);
        pieces.insert(at, random.pick(SPECIAL).to_owned());
    }
    if random.one_in(8) && !pieces.is_empty() {
        let (one, other) = (random.below(pieces.len()), random.below(pieces.len()));
        pieces.swap(one, other);
    }
    joined(random, pieces)
}

fn any_piece(random: &mut Random) -> String {
    match random.below(7) {
        0 | 1 => date(random),
        2 => clock(random),
        3 => random.pick(ZONES).to_owned(),
        4 => random.pick(SPECIAL).to_owned(),
        5 => random.pick(MONTHS).to_owned(),
        _ => {
            let len = 1 + random.below(8);
            random.digits(len)
        }
    }
}

fn joined(random: &mut Random, pieces: Vec<String>) -> String {
    let mut text = String::new();
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            text += random.pick(SEPARATORS);
        }
        text += piece;
    }
    text
}

const UNITS: &[&str] = &[
    "us",
    "usec",
    "microsecond",
    "microseconds",
    "ms",
    "msecs",
    "millisecond",
    "milliseconds",
    "s",
    "sec",
    "second",
    "seconds",
    "m",
    "min",
    "mins",
    "minute",
    "minutes",
    "h",
    "hr",
    "hour",
    "hours",
    "d",
    "day",
    "day",
    "Days",
    "w",
    "week",
    "weeks",
    "mon",
    "mons",
    "month",
    "y",
    "yr",
    "year",
    "YEARS",
    "dec",
    "decade",
    "c",
    "century",
    "centuries",
    "mil",
    "millennium",
    "millennia",
    "ago",
    "quarter",
    "x",
];

/// Around 32 bits, and hours that are 64 bits of microseconds.
const AT_LIMITS: &[&str] =
    &["2147483646", "2147483647", "2147483648", "2562047787", "2562047788", "4294967296"];

/// A time of day, or one of many hours.
fn duration(random: &mut Random) -> String {
    let clock = clock(random);
    match clock.find(':') {
        Some(colon) if random.one_in(8) => random.pick(AT_LIMITS).to_owned() + &clock[colon..],
        _ => clock,
    }
}

fn quantity(random: &mut Random) -> String {
    let sign = random.pick(&["", "", "", "", "-", "-", "+", "- ", "--"]);
    let len = if random.one_in(12) { 4 + random.below(16) } else { random.below(4) };
    let whole = if random.one_in(30) { random.pick(AT_LIMITS).to_owned() } else { random.digits(len) };
    let fraction = match random.below(8) {
        0 => fraction(random),
        1 => random.pick(&[".5", ".25", ".75", "."]).to_owned(),
        _ => String::new(),
    };
    format!("{sign}{whole}{fraction}")
}

fn interval(random: &mut Random) -> String {
    let count = 1 + random.below(4);
    if random.one_in(4) {
        let mut text = "P".to_owned();
        if random.one_in(4) {
            text += &format!("{}-{}-{}", random.digits(4), random.two_digits(13), random.two_digits(32));
            return if random.one_in(2) { text } else { format!("{text}T{}", duration(random)) };
        }
        for _ in 0..count {
            text += random.pick(&["", "", "T"]);
            text += &quantity(random);
            text += random.pick(&["Y", "M", "W", "D", "H", "M", "S", "y", ""]);
        }
        return text;
    }
    let mut pieces = Vec::new();
    for _ in 0..count {
        match random.below(6) {
            0 => pieces.push(random.pick(&["", "", "-", "+"]).to_owned() + &duration(random)),
            1 if random.one_in(2) => pieces.push(format!("{}-{}", quantity(random), random.two_digits(13))),
            1 => pieces.push(quantity(random)),
            _ => {
                let space = random.pick(&["", " ", " "]);
                pieces.push(quantity(random) + space + random.pick(UNITS));
            }
        }
    }
    if random.one_in(8) {
        pieces.push("ago".to_owned());
    }
    joined(random, pieces)
}

/// Where numeric ends: behind the point, before it, and what it reads at all (exponents of 2^30 - 1 since PostgreSQL 16
/// only).
const AT_LIMITS_OF_EXPONENTS: [usize; 9] =
    [16_370, 16_383, 16_384, 40_401, 131_060, 131_071, 131_073, 1_073_741_822, 1_073_741_824];

fn number(random: &mut Random) -> String {
    let len = [0, 1, 2, 3, 5, 9, 10, 17, 20, 40][random.below(10)];
    let mut text = random.pick(&["", "", "", "-", "+", " "]).to_owned() + &random.digits(len);
    if random.one_in(2) {
        text += &fraction(random);
    }
    if random.one_in(3) {
        let exponent = match random.below(20) {
            0 => AT_LIMITS_OF_EXPONENTS[random.below(AT_LIMITS_OF_EXPONENTS.len())],
            1..=6 => random.below(400),
            _ => random.below(20),
        };
        text += &format!("{}{}{exponent}", random.pick(&["e", "E"]), random.pick(&["", "+", "-"]));
    }
    match random.below(20) {
        0 => random.pick(&["NaN", "inf", "-Infinity", "+inf", "infinity", "-nan", "+NaN"]).to_owned(),
        1 => text + random.pick(&[" ", "x", "_", "f", "\n"]),
        _ => text,
    }
}

fn address(random: &mut Random) -> String {
    let count = [1, 2, 3, 4, 4, 4, 4, 5][random.below(8)];
    let octet = |random: &mut Random| match random.below(10) {
        0 => "256".to_owned(),
        1 => random.digits(3),
        _ => [0, 1, 10, 127, 128, 172, 192, 224, 239, 240, 255][random.below(11)].to_string(),
    };
    let mut text = (0..count).map(|_| octet(random)).collect::<Vec<_>>().join(".");
    if random.one_in(2) {
        let count = [8, 8, 7, 1 + random.below(9)][random.below(4)];
        let group = |random: &mut Random| match random.below(5) {
            0 => String::new(),
            1 | 2 => "0".to_owned(),
            _ => {
                let digits = 1 + random.below(4);
                (0..digits).map(|_| random.pick(&["0", "1", "a", "F", "9"])).collect()
            }
        };
        let groups: Vec<_> = (0..count).map(|_| group(random)).collect();
        text = match random.below(6) {
            0 => format!("::{text}"),
            1 => format!("::ffff:{text}"),
            2 => groups.join(":") + "::",
            3 => "::".to_owned() + &groups.join(":"),
            _ => groups.join(":"),
        };
    }
    match random.below(3) {
        0 => text,
        1 => text + "/" + &[0, 8, 16, 24, 31, 32, 33, 64, 96, 127, 128, 129][random.below(12)].to_string(),
        _ => format!("{text}/{}", random.two_digits(33)),
    }
}

fn hexadecimal(random: &mut Random, lengths: &[usize], delimiters: &[&str]) -> String {
    let delimiter = random.pick(delimiters);
    let group = |random: &mut Random, len: usize| {
        let len = if random.one_in(20) { random.below(5) } else { len };
        (0..len).map(|_| random.pick(&["0", "1", "a", "F", "9", "c", "7"])).collect::<String>()
    };
    lengths.iter().map(|len| group(random, *len)).collect::<Vec<_>>().join(delimiter)
}

/// One character is lost, doubled, or replaced.
fn damaged(random: &mut Random, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = random.below(chars.len().max(1));
    match random.below(3) {
        _ if chars.is_empty() => {}
        0 => drop(chars.remove(at)),
        1 => chars.insert(at, chars[at]),
        _ => {
            let other =
                random.pick(&[" ", "-", "+", ":", ".", "/", ",", "0", "1", "9", "T", "P", "d", "z", "é"]);
            chars[at] = other.chars().next().unwrap_or(' ');
        }
    }
    chars.into_iter().collect()
}

/// The type without its precision.
pub(crate) fn base_name(type_name: &str) -> &str {
    type_name.split_once('(').map_or(type_name, |(name, _)| name)
}

/// A text for a type.
pub(crate) fn text(random: &mut Random, type_name: &str) -> String {
    let base = base_name(type_name);
    let text = match base {
        "date" => moment(random, 10, 4),
        "time" => moment(random, 2, 4),
        "timetz" => moment(random, 2, 9),
        "timestamp" => moment(random, 9, 4),
        "timestamptz" => moment(random, 9, 9),
        "interval" => interval(random),
        "inet" | "cidr" => address(random),
        "macaddr" => {
            let lengths: &[usize] = [&[2; 6][..], &[4; 3], &[6; 2], &[12]][random.below(4)];
            hexadecimal(random, lengths, &[":", "-", "."])
        }
        "uuid" => hexadecimal(random, &[8, 4, 4, 4, 12], &["-", "-", ""]),
        "bool" => random.pick(&["true", "false", "yes", "no", "on", "off", "1", "0"]).to_owned(),
        _ => number(random),
    };
    let mut text = if base == "bool" { text[..random.below(text.len() + 1)].to_owned() } else { text };
    while random.one_in(8) {
        text = damaged(random, &text);
    }
    text
}
