//! The recipes of README.md that need a broker and a database, from top to bottom, as they stand there.

use std::fs;

use kcopy_tests::{Loading, kcopy_bin, project, run};

/// What the README calls the broker.
const BROKER: &str = "kafka:9092";
/// And the database.
const DATABASE: &str = "postgres://me@db/shop";

/// A page's blocks of SQL, and those of a shell's commands, with the language of each.
fn blocks(page: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(project().join(page)).expect(page);
    let blocks = text.split("```").skip(1).step_by(2);
    blocks
        .filter_map(|block| block.split_once('\n'))
        .map(|(language, block)| (language.to_owned(), block.to_owned()))
        .collect()
}

#[test]
fn whoever_pastes_the_readme_from_top_to_bottom_succeeds() {
    // Who has only SQL at hand gets the same.
    for has_shell in [true, false] {
        paste(has_shell);
    }
}

fn paste(has_shell: bool) {
    let mut loading = Loading::start();
    let topic = loading.topic("orders", 3);
    let order = r##"{"id": #, "customer": "ann", "total": 12.50, "at": "2026-01-31T12:00:00Z"}"##;
    for n in 0..3 {
        let line = format!("k{n}\t{}", order.replace('#', &n.to_string()));
        loading.produce(&topic, n, &[&line]);
    }
    let topic = loading.topic("events", 2);
    loading.produce(&topic, 1, &["a\t{\"n\": 1}", "b\t\\N"]);

    let mut kinds = [0; 2];
    for (language, block) in blocks("README.md") {
        let block = block.replace(BROKER, loading.broker.bootstrap());
        if language == "sql" {
            loading.database.execute(&block);
            kinds[0] += 1;
        } else if has_shell && language == "sh" && block.contains(DATABASE) {
            let mut words = block.split_whitespace();
            assert_eq!(words.next(), Some("kcopy"), "{block}");
            let url = loading.database.url();
            let mut command = std::process::Command::new(kcopy_bin());
            command.args(words.map(|word| word.replace(DATABASE, &url)));
            run(&mut command).expect_success();
            kinds[1] += 1;
        }
    }
    assert_eq!(
        kinds,
        [4, usize::from(has_shell)],
        "blocks of SQL and of commands: each is for a reader to paste"
    );
    let database = &mut loading.database;
    assert_eq!(database.value("select count(*), min(doc ->> 'customer') from docs"), "3|ann");
    assert_eq!(
        database.rows(r#"select partition, "offset", key, body from events order by 2"#),
        ["1|0|a|{\"n\": 1}", "1|1|b|∅"]
    );
    assert_eq!(database.value("select count(*), sum(total::numeric) from orders"), "3|37.50");
    let consume = |topic: &str, columns: &str| {
        let output = loading.broker.kcopy("consume", &["--columns", columns, topic], b"").expect_success();
        let mut lines: Vec<String> = output.text().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        consume("totals", "key, value"),
        [0, 1, 2].map(|n| format!(r#"{n}	{{"total":12.50,"at":"2026-01-31T12:00:00Z"}}"#))
    );
    assert_eq!(consume("copies", "key"), ["k0", "k1", "k2"]);
    assert_eq!(consume("customers", "value.total"), ["12.50"; 3]);
}

/// A shell takes a line end for the end of a command, and runs what is left of it first.
#[test]
fn no_command_of_the_documentation_has_a_line_end() {
    let mut commands = 0;
    for page in ["README.md", "docs/exactly-once-load.md", "docs/exactly-once-sql.md"] {
        for (_, block) in blocks(page).iter().filter(|(language, _)| language == "sql") {
            let literals = block.split('\'').skip(1).step_by(2);
            for literal in literals.filter(|literal| literal.contains("kcopy ")) {
                assert!(!literal.contains('\n'), "{page}: {literal}");
                commands += 1;
            }
        }
    }
    assert!(commands >= 6, "{commands}");
}
