//! The SQL of `docs/exactly-once-sql.md`, block by block, as it stands there.

use std::fs;

use kcopy_tests::{Loading, project, server_program, skipped};

#[test]
fn each_block_of_the_documentation_runs() {
    let mut loading = Loading::start();
    let topic = loading.topic("orders", 3);
    let order = "{\"id\": #, \"customer\": \"ann\", \"total\": \"12.50\", \"at\": \"2026-01-31T12:00:00Z\"}";
    for n in 0..3 {
        loading.produce(&topic, n, &[&format!("k\t{}", order.replace('#', &n.to_string()))]);
    }
    let topic = loading.topic("customers", 1);
    loading.produce(&topic, 0, &["a\t{\"name\": \"ann\"}", "b\t{\"name\": \"bob\"}", "a\t\\N", "c\tno JSON"]);
    let topic = loading.topic("events", 1);
    loading.produce(&topic, 0, &["k\t{}"]);

    let program = server_program(&loading.database.folder(), loading.broker.bootstrap());
    // file_fdw takes its command as it is, so the folder of the server's program stands in front of it.
    let peek = loading.database.folder().join("peek");
    fs::copy(&program, &peek).expect("a copy of the program");
    let text = fs::read_to_string(project().join("docs/exactly-once-sql.md")).expect("the documentation");
    let mut blocks = 0;
    // The first one shows what the page is about; the recipe comes to it.
    for block in text.split("```sql\n").skip(2) {
        let sql = block.split("```").next().expect("the end of a block");
        if sql.contains("file_fdw")
            && loading.database.value("select count(*) from pg_available_extensions where name = 'file_fdw'")
                == "0"
        {
            skipped("each_block_of_the_documentation_runs", "this PostgreSQL has no file_fdw");
            continue;
        }
        // pg_cron runs what stands between the dollars.
        let sql = match sql.split("$$").nth(1) {
            Some(scheduled) => scheduled.to_owned(),
            None => sql.replace("/usr/local/bin/kcopy", peek.to_str().expect("a path")),
        };
        loading.database.execute(&sql);
        blocks += 1;
    }
    assert!(blocks >= 9, "{blocks}");
    assert_eq!(loading.database.value("select count(*), sum(total) from orders"), "3|37.50");
    assert_eq!(loading.database.rows("select id, name from customers"), ["b|bob"]);
    assert_eq!(loading.database.value("select count(*) from kcopy.rejected"), "1");
    assert_eq!(loading.database.value("select count(*) from events_new"), "1");
}
