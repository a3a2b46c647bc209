//! `-h` and `-V`.

/// The usage, for `-h` (stdout) and wrong use (stderr).
pub(super) fn usage(program: &str) -> String {
    format!("Usage: {program} <options> [file1 file2 .. | topic1 topic2 ..]]\n{}\n{USAGE}", version())
}

/// What `-V` prints.
pub(super) fn version() -> String {
    format!(
        "kcat - Apache Kafka producer and consumer tool\n\
         This is kcopy {} with the options of kcat 1.7.1\n\
         Version 1.7.1 (JSON, kcopy {} builtin.features=gzip,snappy,lz4,zstd)\n",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_VERSION")
    )
}

const USAGE: &str = r#"
General options:
  -C | -P | -L | -Q  Mode: consume, produce, list metadata, query offsets.
                     Without one: consume if stdin is a terminal, else produce.
                     Of several the last counts.
  -t <topic>         Topic to consume from, produce to, or list
  -p <partition>     Partition; -1 (default) is all, or the partitioner's choice
  -b <brokers,..>    Brokers to ask first: host[:port], port 9092 if none is given
  -D <delim>         Delimiter between messages: text with \n \r \t \0 \xNN
                     Default: \n
  -K <delim>         Delimiter between key and message, likewise
  -c <cnt>           Stop after so many messages
  -m <seconds>       Time-out for metadata and for looking up offsets
                     Default: 5 seconds
  -F <config-file>   Read properties from a file of "property=value" lines;
                     may be repeated.
                     Default: $KCAT_CONFIG, else $HOME/.config/kcat.conf.
                     "-F -" and "-F none" leave out the latter, not the former.
  -X list            Print all properties with their meaning
  -X prop=val        Set a property (librdkafka's or Java's name);
                     wins over files. The prefix "topic." is accepted.
  -X dump            Print the properties in effect
  -d <ctx1,..>       Log what happens: all, broker, topic, metadata, msg,
                     protocol, fetch, consumer, ..
  -q                 Quiet: errors only
  -v                 More information (-vv: every delivery)
  -E                 Go on after errors that are not fatal
  -V                 Print the version
  -h                 Print this help

Producer options (-P):
  -z <codec>         Compress: none, gzip, snappy, lz4, zstd
  -k <str>           Key for every message; with -K for those without one
  -H <header=value>  Add a header to every message; may be repeated.
                     "header=" is an empty value, "header" a null one.
  -l                 The file is split like stdin (one file only)
  -T                 Copy what is sent to stdout, like tee
  -Z                 Empty keys and values are sent as NULL
  file1 file2..      Send each file as one message; empty ones are skipped

Consumer options (-C):
  -o <offset>        Where to start, may be repeated:
                     beginning | end | stored |
                     <N> (offset) | -<N> (N before the end) |
                     s@<ms> (first message of that time or later)
                     and where to stop:
                     e@<ms> (before the first message of that time or later)
                     "stored" reads and commits the offsets of the group in
                     -X group.id=.., which is not joined.
                     Default: beginning
  -e                 Exit when the end of every partition is reached
  -f <fmt>           Print messages by a format string, see below;
                     wins over -D and -K
  -J                 Print messages as JSON, one line each
  -s key=<pack>      Unpack keys
  -s value=<pack>    Unpack values
  -s <pack>          Unpack both. <pack> is made of:
                       < little-endian          > big-endian
                       b signed 8 bits          B unsigned 8 bits
                       h signed 16 bits         H unsigned 16 bits
                       i signed 32 bits         I unsigned 32 bits
                       q signed 64 bits         Q unsigned 64 bits
                       c one character          s the rest as text
                       $ nothing may follow
  -Z                 Print NULL keys and values as "NULL"
  -u                 Write every message at once

Metadata (-L):
  -t <topic>         Only this topic
  -J                 As JSON

Offsets by time (-Q):
  -t <t>:<p>:<ms>    Offset of the first message of that time or later in
                     partition p of topic t; may be repeated. For <ms>, -1 is
                     the end, -2 the beginning, and -3 the record with the
                     largest timestamp.
  -J                 As JSON

Format string:
  %s  value                     %S  its length, -1 for NULL
  %R  its length as a big-endian 32-bit number
  %k  key                       %K  its length, -1 for NULL
  %t  topic                     %p  partition
  %o  offset                    %T  timestamp in milliseconds
  %h  headers (name=value,..)   %%  a percent sign
  \n \r \t \xNN
 Example:
  -f 'Topic %t [%p] at offset %o: key %k: %s\n'

JSON of a message:
 { "topic": str, "partition": int, "offset": int,
   "tstype": "create|logappend|unknown", "ts": int, "broker": int,
   "headers": [ name, value, .. ], "key": str, "payload": str }

Examples:
  kcat -b localhost -t events -C -e
  echo 'key:value' | kcat -b localhost -t events -P -K:
  kcat -b localhost -L
  kcat -b localhost -Q -t events:0:1700000000000
  kcopy --help shows what is there beyond kcat
"#;
