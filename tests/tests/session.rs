//! The session: from Kafka to PostgreSQL and back, in the commands that people write by hand, with our binary as
//! `kafkacat` and `kafka-topics`.

use std::{thread, time::Instant};

use kcopy_tests::{Broker, DEADLINE, Database, sql_quoted};

/// Lines `uuid;random text`, the same ones for the same seed.
fn batch(seed: u64, lines: usize) -> Vec<String> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let uuid = |a: u64, b: u64| {
        let (time, rest) = (a >> 32, b >> 16);
        format!("{time:08x}-{:04x}-4{:03x}-8{:03x}-{rest:012x}", a >> 16 & 0xffff, a & 0xfff, b & 0xfff)
    };
    (0..lines).map(|_| format!("{};{:016x} {:x}", uuid(next(), next()), next(), next())).collect()
}

fn produce(broker: &Broker, topic: &str, lines: &[String]) {
    let input = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    broker.kcat(&["-P", "-qe", "-K", ";", "-t", topic], input.as_bytes()).expect_success();
}

/// The load as one would type it: 100 messages at most of one partition.
fn load(broker: &Broker, topic: &str, partition: u32, offset: &str) -> String {
    let (bootstrap, group) = (broker.bootstrap(), broker.topic("1"));
    format!(
        "COPY main(group_id,payload) FROM PROGRAM 'kafkacat -C -b {bootstrap} -c100 -qeJ -t {topic} \
         -X group.id={group} -o {offset} -p {partition} | awk ''{{print \"P{partition}\\t\" $0 }}''';"
    )
}

/// One session for each of three partitions, at once: the rows that each has loaded.
fn load_at_once(broker: &Broker, database: &Database, topic: &str, offset: &str) -> Vec<u64> {
    thread::scope(|scope| {
        let sessions = (0..3).map(|partition| {
            let sql = load(broker, topic, partition, offset);
            let mut client = database.connect();
            scope.spawn(move || client.execute(&sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}")))
        });
        sessions.collect::<Vec<_>>().into_iter().map(|session| session.join().expect("a session")).collect()
    })
}

/// What stands in `main`, as the lines that were produced.
fn loaded(database: &mut Database) -> Vec<String> {
    let mut lines =
        database.rows("select (payload::json->>'key') || ';' || (payload::json->>'payload') from main");
    lines.sort();
    lines
}

fn sorted(lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    lines.sort();
    lines
}

/// Members of `-J` lines, read by PostgreSQL.
fn members(database: &mut Database, lines: &[&str], expression: &str) -> Vec<String> {
    let array = lines.iter().map(|line| sql_quoted(line)).collect::<Vec<_>>().join(",");
    let from = format!("from unnest(array[{array}]::json[]) with ordinality as t(line, n) order by n");
    database.rows(&format!("select {expression} {from}"))
}

#[test]
fn topics_are_loaded_in_parallel_and_incrementally_and_aggregates_go_back() {
    let broker = Broker::start();
    let mut database = Database::create();
    database.execute("create table main(group_id text, payload text)");

    let shard = broker.create("PGSHARD", 3);
    let aggregations = broker.create("AGGREGATIONS", 1);

    // Fewer than 100 messages a partition: the first load takes them all.
    let mut sent = batch(1, 50);
    produce(&broker, &shard, &sent);
    let first = load_at_once(&broker, &database, &shard, "beginning");
    assert_eq!(first.iter().sum::<u64>(), 50, "{first:?}");
    assert_eq!(loaded(&mut database), sorted(&sent));

    // Nothing new: nothing comes.
    assert_eq!(load_at_once(&broker, &database, &shard, "stored"), [0, 0, 0]);

    // More than 100 a partition: -c cuts, and the next run goes on there.
    for seed in 2..=12 {
        let more = batch(seed, 50);
        produce(&broker, &shard, &more);
        sent.extend(more);
        if seed % 4 == 0 {
            load_at_once(&broker, &database, &shard, "stored");
        }
    }
    let mut runs = 0;
    while load_at_once(&broker, &database, &shard, "stored").iter().any(|rows| *rows > 0) {
        runs += 1;
        assert!(runs < 10, "the stored position does not move");
    }
    assert_eq!(loaded(&mut database), sorted(&sent));
    let twice = "select count(*) from (select payload from main group by 1 having count(*) > 1) twice";
    assert_eq!(database.value(twice), "0");
    // Each session loaded its own partition.
    let strays = "select count(*) from main where group_id <> 'P' || (payload::json->>'partition')";
    assert_eq!(database.value(strays), "0");

    publish(&broker, &mut database, &aggregations);

    let listed = broker.topics(&["--list"]).expect_success();
    assert!(listed.lines().contains(&shard.as_str()) && listed.lines().contains(&aggregations.as_str()));
    broker.topics(&["--delete", "--topic", &shard]).expect_success();
    broker.topics(&["--delete", "--topic", &aggregations]).expect_success();
    // Apache Kafka answers before all of it knows.
    let deleted = Instant::now();
    while [&shard, &aggregations].iter().any(|topic| broker.topics(&["--list"]).text().contains(*topic)) {
        assert!(broker.is_apache_kafka() && deleted.elapsed() < DEADLINE, "deleted topics are still listed");
    }
    assert_eq!(broker.leftovers(), Vec::<String>::new());
}

/// Aggregates published without a key, with one in the shell way, and with one without its stray tab.
fn publish(broker: &Broker, database: &mut Database, topic: &str) {
    let bootstrap = broker.bootstrap();
    let aggregate =
        "row_to_json(row(now(), group_id, count(*))) from main group by group_id order by group_id";
    let counts =
        database.rows("select group_id || ' ' || count(*) from main group by group_id order by group_id");
    assert_eq!(counts.len(), 3);

    let plain = format!("COPY (select {aggregate}) TO PROGRAM 'kafkacat -P -b {bootstrap} -qe -t {topic}'");
    assert_eq!(database.count(&plain), 3);
    let keyed = format!(
        "COPY (select inet_server_addr() || ';', {aggregate}) \
         TO PROGRAM 'kafkacat -P -K '';'' -b {bootstrap} -qe -t {topic}'"
    );
    assert_eq!(database.count(&keyed), 3);
    let clean = format!(
        "COPY (select host(inet_server_addr()), {aggregate}) \
         TO PROGRAM 'kcopy produce -q -b {bootstrap} --columns key,value {topic}'"
    );
    assert_eq!(database.count(&clean), 3);

    let group = format!("group.id={}", broker.topic("1"));
    let arguments = ["-C", "-qeJ", "-t", topic, "-X", &group, "-o", "beginning"];
    let printed = broker.kcat(&arguments, b"").expect_success();
    let lines = printed.lines();
    assert_eq!(lines.len(), 9, "{printed:?}");
    let payload = "((line->>'payload')::json->>'f2') || ' ' || ((line->>'payload')::json->>'f3')";
    let payloads = members(database, &lines, payload);
    assert_eq!(payloads, [counts.clone(), counts.clone(), counts].concat());

    let address = database.value("select inet_server_addr() || ''");
    let host = database.value("select host(inet_server_addr())");
    let keys = members(database, &lines, "line->>'key'");
    assert_eq!(keys, [vec!["∅".to_owned(); 3], vec![address; 3], vec![host; 3]].concat());
    // COPY's column separator lands in the payload of the shell way only.
    let tabs = members(database, &lines, "(line->>'payload') like E'\\t%'");
    assert_eq!(tabs, [vec!["f"; 3], vec!["t"; 3], vec!["f"; 3]].concat());
}

#[test]
fn a_stored_run_on_an_empty_partition_skips_nothing_later() {
    let broker = Broker::start();
    let topic = broker.create("EMPTY", 3);
    let group = format!("group.id={}", broker.topic("empty"));
    let stored = |arguments: &[&str]| {
        let arguments = [&["-C", "-qe", "-t", &topic, "-X", &group, "-o", "stored"], arguments].concat();
        broker.kcat(&arguments, b"").expect_success().text().to_owned()
    };
    for _ in 0..2 {
        assert_eq!(stored(&[]), "");
        assert_eq!(stored(&["-p", "1"]), "");
    }
    broker.kcat(&["-P", "-t", &topic, "-p", "1"], b"first\nsecond\n").expect_success();
    assert_eq!(stored(&["-p", "0"]), "");
    assert_eq!(stored(&["-p", "1"]), "first\nsecond\n");
    assert_eq!(stored(&["-p", "1"]), "");
    broker.kcat(&["-P", "-t", &topic, "-p", "2"], b"third\n").expect_success();
    assert_eq!(stored(&[]), "third\n");
    assert_eq!(stored(&[]), "");
}

#[test]
fn stored_goes_on_where_a_cut_run_from_the_beginning_ended() {
    let broker = Broker::start();
    let topic = broker.create("CUT", 1);
    let group = format!("group.id={}", broker.topic("cut"));
    let run = |arguments: &[&str]| {
        let arguments = [&["-C", "-qe", "-t", &topic, "-X", &group, "-f", "%s "], arguments].concat();
        broker.kcat(&arguments, b"").expect_success().text().to_owned()
    };
    broker.kcat(&["-P", "-t", &topic], b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n").expect_success();
    assert_eq!(run(&["-o", "beginning", "-c", "4"]), "0 1 2 3 ");
    assert_eq!(run(&["-o", "stored", "-c", "3"]), "4 5 6 ");
    assert_eq!(run(&["-o", "stored"]), "7 8 9 ");
    // A look from elsewhere does not move a group that has a position.
    assert_eq!(run(&["-o", "beginning", "-c", "2"]), "0 1 ");
    assert_eq!(run(&["-o", "-1"]), "9 ");
    assert_eq!(run(&["-o", "stored"]), "");
    broker.kcat(&["-P", "-t", &topic], b"10\n").expect_success();
    assert_eq!(run(&["-o", "stored"]), "10 ");
}

#[test]
fn a_pipeline_hides_the_failure_of_its_first_command() {
    let broker = Broker::start();
    let mut database = Database::create();
    database.execute("create table main(group_id text, payload text)");
    let (bootstrap, nosuch) = (broker.bootstrap(), broker.topic("nosuch"));
    // Not a wish, a fact of sh: this is why the other form exists.
    assert_eq!(database.count(&load(&broker, &nosuch, 0, "beginning")), 0);

    let sql = format!(
        "COPY main(group_id,payload) FROM PROGRAM \
         'kcopy consume -q -b {bootstrap} --columns \"part = ''P0'', value\" {nosuch}'"
    );
    let error = database.error(&sql);
    assert_eq!(error.code, "38000", "{error:?}");
    assert!(error.message.contains("exited with exit code 1"), "{error:?}");
    let log = database.server_log();
    assert!(
        log.contains(&nosuch) && log.to_lowercase().contains("unknown"),
        "the log names the topic: {log}"
    );
}
