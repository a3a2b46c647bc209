//! `kcopy load` where little is known: tables made from odd records, columns left to PostgreSQL, topics that come late.

use kcopy_tests::WireLoad;

#[test]
fn a_table_that_is_made_takes_the_records_that_it_was_made_from() {
    let mut setting = WireLoad::new();
    let topic = setting.broker.create("odd", 1);
    setting.produce(
        &topic,
        "a:{\"at\":\"2026-01-01T00:00:00+01:00[Europe/Berlin]\",\"year\":\"0000-01-01T00:00:00Z\",\"nul\":\"a\\u0000b\",\
         \"ctid\":1,\"n\":{\"x\":\"\\u0000\"},\"id\":1}\nb:{\"half\":\"\\ud800\",\"id\":2}\n",
    );
    let made = setting.load(&[&topic, "--into", "odd", "--create-table"]).expect_success();
    assert!(made.stderr.contains("member \"ctid\" becomes no column of odd"), "{made:?}");
    assert!(made.stderr.contains("column \"nul\" of odd is json"), "{made:?}");
    assert_eq!(
        setting.database.rows("select id, at, year, nul, half from odd order by id"),
        [
            "1|2026-01-01T00:00:00+01:00[Europe/Berlin]|0000-01-01T00:00:00Z|\"a\\u0000b\"|∅",
            "2|∅|∅|∅|\"\\ud800\""
        ]
    );

    let named = setting.broker.create("named", 1);
    setting.produce(&named, "a:{\"key\":1,\"value\":2}\n");
    let made = setting.load(&[&named, "--into", "named", "--create-table"]).expect_success();
    assert!(made.stderr.contains("named gets whole values"), "{made:?}");
    assert_eq!(setting.database.rows("select key, value from named"), ["a|{\"key\": 1, \"value\": 2}"]);
}
