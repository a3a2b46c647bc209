-- What kcopy.load and `kcopy load` keep beside the rows that they load: where each partition stands for each target,
-- and the records that were skipped. It can be run again at any time by the owner of the schema.
--
-- Row security lets a caller see and move only the positions of targets that he may insert into, and see and delete
-- those of targets that are gone (of these nothing is known but NULL). It does not hold for the owner of these tables.
-- Nothing here makes roles or grants anything.

CREATE SCHEMA IF NOT EXISTS kcopy;

CREATE TABLE IF NOT EXISTS kcopy.offsets (
    target       regclass    NOT NULL,
    topic        text        NOT NULL,
    partition    int4        NOT NULL CHECK (partition >= 0),
    cluster_id   text,
    topic_id     text,
    next_offset  int8        NOT NULL CHECK (next_offset >= 0),
    leader_epoch int4,
    rows         int8        NOT NULL DEFAULT 0,
    updated_at   timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (target, topic, partition)
);

COMMENT ON TABLE kcopy.offsets IS 'where each partition of a topic stands for each table that it is loaded into';
COMMENT ON COLUMN kcopy.offsets.topic_id IS 'as Kafka writes it (base64); NULL where brokers have none (before 2.8)';
COMMENT ON COLUMN kcopy.offsets.next_offset IS 'the offset to read next; all before it is loaded';
COMMENT ON COLUMN kcopy.offsets.leader_epoch IS 'the leader epoch of the record before next_offset, to notice a truncated log';
COMMENT ON COLUMN kcopy.offsets.rows IS 'the rows that were loaded so far';

CREATE TABLE IF NOT EXISTS kcopy.rejected (
    id        int8        GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target    regclass    NOT NULL,
    topic     text        NOT NULL,
    partition int4        NOT NULL,
    "offset"  int8        NOT NULL,
    key       bytea,
    value     bytea,
    reason    text        NOT NULL,
    at        timestamptz NOT NULL DEFAULT pg_catalog.now()
);

COMMENT ON TABLE kcopy.rejected IS 'records that were skipped because their table could not take them';

ALTER TABLE kcopy.offsets ENABLE ROW LEVEL SECURITY;
ALTER TABLE kcopy.rejected ENABLE ROW LEVEL SECURITY;

DROP POLICY IF EXISTS may_insert ON kcopy.offsets;
CREATE POLICY may_insert ON kcopy.offsets
    USING (pg_catalog.has_table_privilege(target, 'INSERT') IS NOT FALSE)
    WITH CHECK (pg_catalog.has_table_privilege(target, 'INSERT'));

DROP POLICY IF EXISTS may_insert ON kcopy.rejected;
CREATE POLICY may_insert ON kcopy.rejected
    USING (pg_catalog.has_table_privilege(target, 'INSERT'))
    WITH CHECK (pg_catalog.has_table_privilege(target, 'INSERT'));
