-- The functions that people call.

-- Makes callers of the same partitions wait for each other, or says that they would. Nobody but a caller for all
-- partitions has the topic for himself; one who does not wait takes those that are free.
CREATE OR REPLACE FUNCTION kcopy.lock_partitions(
    target regclass, topic text, wait boolean, INOUT partitions int4[], OUT is_locked boolean
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    whole int8 := hashtextextended(format('kcopy %s %s', target::oid, topic), 0);
    mine int8;
    locked int4[] := '{}';
    one int4;
BEGIN
    is_locked := true;
    IF partitions IS NULL THEN
        IF wait THEN
            PERFORM pg_advisory_xact_lock(whole);
            RETURN;
        ELSIF pg_try_advisory_xact_lock(whole) THEN
            RETURN;
        END IF;
    END IF;
    IF wait THEN
        PERFORM pg_advisory_xact_lock_shared(whole);
    ELSIF NOT pg_try_advisory_xact_lock_shared(whole) THEN
        is_locked := false;
        RETURN;
    END IF;
    IF partitions IS NULL THEN
        partitions := ARRAY(
            SELECT (p ->> 'partition')::int4
              FROM jsonb_array_elements(kcopy.look(lock_partitions.topic, NULL, '', 'end', false) -> 'topics') t,
                   jsonb_array_elements(t -> 'partitions') p);
    END IF;
    FOR one IN SELECT DISTINCT unnest(partitions) ORDER BY 1 LOOP
        mine := hashtextextended(format('kcopy %s %s %s', target::oid, topic, one), 0);
        IF wait THEN
            PERFORM pg_advisory_xact_lock(mine);
        ELSIF NOT pg_try_advisory_xact_lock(mine) THEN
            CONTINUE;
        END IF;
        locked := locked || one;
    END LOOP;
    partitions := locked;
    is_locked := cardinality(locked) > 0;
END
$body$;

-- Takes out positions of tables that are gone: a new table may get the number of such a one, and with it its positions.
-- What others are taking out is left to them.
CREATE OR REPLACE FUNCTION kcopy.sweep() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    DELETE FROM kcopy.offsets WHERE (target, topic, partition) IN (
        SELECT o.target, o.topic, o.partition FROM kcopy.offsets o
         WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = o.target)
           FOR UPDATE SKIP LOCKED);
EXCEPTION WHEN serialization_failure THEN
    NULL;
END
$body$;

-- Locks the rows of the positions in order and says what the program needs to know of them. `partitions` is given
-- where some of them are left to others.
CREATE OR REPLACE FUNCTION kcopy.known_positions(
    target regclass, topic text, wait boolean, INOUT partitions int4[], accept_loss boolean,
    OUT known int4[], OUT starts text, OUT cluster_id text
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    wanted_target CONSTANT regclass := target;
    wanted_topic CONSTANT text := topic;
    wanted CONSTANT int4[] := partitions;
    one record;
    existing int4[];
    has_unnamed boolean := false;
    other_id text;
BEGIN
    known := '{}';
    starts := '';
    FOR one IN EXECUTE 'SELECT * FROM kcopy.offsets WHERE target = $1 AND topic = $2 AND ($3 IS NULL OR partition = ANY ($3))'
            ' ORDER BY partition FOR UPDATE' || CASE WHEN wait THEN '' ELSE ' SKIP LOCKED' END
            USING target, topic, partitions LOOP
        known := known || one.partition;
        starts := starts || CASE WHEN starts = '' THEN '' ELSE ',' END
            || format('%s:%s:%s:%s', one.partition, one.next_offset, one.leader_epoch, one.topic_id);
        has_unnamed := has_unnamed OR one.topic_id IS NULL;
        IF cluster_id <> one.cluster_id THEN
            other_id := cluster_id;
        END IF;
        cluster_id := coalesce(one.cluster_id, cluster_id);
    END LOOP;
    IF other_id IS NOT NULL THEN
        -- With loss accepted some may be of the present cluster already: their topic ids tell which.
        IF NOT accept_loss OR has_unnamed THEN
            RAISE EXCEPTION 'the positions of topic % are of two clusters: % and %', topic, other_id, cluster_id
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = 'kcopy.reset gives partitions other positions';
        END IF;
        cluster_id := NULL;
    END IF;
    -- `start` is for the first load into the target. What has no position later may have been added since: to begin
    -- anywhere but at the beginning could pass records over.
    IF EXISTS (SELECT FROM kcopy.offsets o WHERE o.target = wanted_target AND o.topic = wanted_topic) THEN
        starts := concat_ws(',', '*', nullif(starts, ''));
    ELSE
        PERFORM kcopy.sweep();
    END IF;
    IF NOT wait THEN
        SELECT array_agg(o.partition) INTO existing FROM kcopy.offsets o
         WHERE o.target = wanted_target AND o.topic = wanted_topic AND (wanted IS NULL OR o.partition = ANY (wanted));
        IF NOT existing <@ known THEN
            partitions := CASE WHEN wanted IS NULL THEN known ELSE
                ARRAY(SELECT p FROM unnest(wanted) p WHERE p = ANY (known) OR p <> ALL (existing)) END;
        END IF;
    END IF;
END
$body$;

-- Moves the positions to where the program says that they are, and gives the result of a load.
CREATE OR REPLACE FUNCTION kcopy.move_positions(
    target regclass, topic text, taken jsonb, copied int8, is_straight boolean, known int4[], rejected_ones int4[],
    accept_loss boolean
) RETURNS TABLE (partition int4, rows int8, rejected int8, next_offset int8)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
#variable_conflict use_column
DECLARE
    moved_target CONSTANT regclass := target;
    moved_topic CONSTANT text := topic;
    ids jsonb;
    written int8;
    found_one record;
    other record;
BEGIN
    SELECT t INTO ids FROM jsonb_array_elements(taken -> 'topics') t WHERE t ->> 'topic' = moved_topic;
    SELECT coalesce(sum((p ->> 'records')::int8), 0) INTO written FROM jsonb_array_elements(ids -> 'partitions') p;
    -- Triggers may leave rows out; nothing may add any.
    IF written < copied OR (NOT is_straight AND written <> copied) THEN
        RAISE EXCEPTION 'the program wrote % rows, and % came', written, copied USING ERRCODE = 'internal_error';
    END IF;
    -- Positions that this call has nothing to do with tell as well that it is another log.
    SELECT o.partition, o.cluster_id, o.topic_id INTO other FROM kcopy.offsets o
     WHERE o.target = moved_target AND o.topic = moved_topic AND NOT accept_loss
       AND (o.cluster_id <> taken ->> 'cluster_id' OR o.topic_id <> ids ->> 'topic_id')
     ORDER BY 1 LIMIT 1;
    FOR found_one IN
        SELECT r.*, (SELECT count(*) FROM unnest(rejected_ones) x WHERE x = r.partition) AS refused
          FROM jsonb_to_recordset(ids -> 'partitions')
            AS r(partition int4, "from" int8, next_offset int8, leader_epoch int4, records int8, gap text)
         ORDER BY r.partition
    LOOP
        IF found_one.gap IS NOT NULL THEN
            RAISE WARNING '% [%] starts at offset %: %', moved_topic, found_one.partition, found_one."from", found_one.gap;
        END IF;
        IF found_one.partition = ANY (known) THEN
            UPDATE kcopy.offsets o
               SET next_offset = found_one.next_offset, leader_epoch = found_one.leader_epoch,
                   cluster_id = taken ->> 'cluster_id', topic_id = ids ->> 'topic_id',
                   rows = o.rows + found_one.records - found_one.refused, updated_at = clock_timestamp()
             WHERE o.target = moved_target AND o.topic = moved_topic AND o.partition = found_one.partition
               AND (o.next_offset = found_one."from" OR found_one.gap IS NOT NULL);
        ELSE
            IF other.partition IS NOT NULL THEN
                RAISE EXCEPTION '% [%] was never loaded, and the position of [%] is one of %', moved_topic, found_one.partition,
                    other.partition, CASE WHEN other.cluster_id <> taken ->> 'cluster_id'
                        THEN format('cluster %s, while this is cluster %s', other.cluster_id, taken ->> 'cluster_id')
                        ELSE format('the topic before it was deleted and made anew (id %s is %s now)', other.topic_id, ids ->> 'topic_id')
                    END
                    USING ERRCODE = 'object_not_in_prerequisite_state',
                          HINT = 'accept_loss => true loads it all the same; kcopy.reset gives partitions other positions';
            END IF;
            INSERT INTO kcopy.offsets AS o
                (target, topic, partition, cluster_id, topic_id, next_offset, leader_epoch, rows, updated_at)
            VALUES (moved_target, moved_topic, found_one.partition, taken ->> 'cluster_id', ids ->> 'topic_id',
                    found_one.next_offset, found_one.leader_epoch, found_one.records - found_one.refused, clock_timestamp())
            ON CONFLICT DO NOTHING;
        END IF;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the position of % [%] was moved by somebody else meanwhile', moved_topic, found_one.partition
                USING ERRCODE = 'serialization_failure', HINT = 'nothing was loaded: try again';
        END IF;
        partition := found_one.partition;
        rows := found_one.records - found_one.refused;
        rejected := found_one.refused + (SELECT count(*) FROM jsonb_array_elements(taken -> 'rejected') x
                                          WHERE (x ->> 'partition')::int4 = found_one.partition);
        next_offset := found_one.next_offset;
        RETURN NEXT;
    END LOOP;
END
$body$;

CREATE OR REPLACE FUNCTION kcopy.load(
    topic text,
    target regclass,
    columns text DEFAULT NULL,
    partitions int4[] DEFAULT NULL,
    start text DEFAULT 'beginning',
    mode text DEFAULT 'append',
    on_error text DEFAULT 'fail',
    max_rows int8 DEFAULT NULL,
    max_bytes int8 DEFAULT NULL,
    max_time interval DEFAULT NULL,
    wait boolean DEFAULT true,
    accept_loss boolean DEFAULT false
) RETURNS TABLE (partition int4, rows int8, rejected int8, next_offset int8)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = on
SET "DateStyle" = 'ISO, YMD' SET "IntervalStyle" = 'postgres' SET array_nulls = on
AS $body$
#variable_conflict use_column
DECLARE
    loaded_topic CONSTANT text := topic;
    loaded_target CONSTANT regclass := target;
    map record;
    named text;
    known record;
    gone record;
    taken jsonb;
    copied int8;
    command text;
    stage text;
    stage_types text[];
    stage_format text;
    with_records boolean;
    statements text[];
    counted text[];
    statement text;
    piece record;
    wanted int4[] := partitions;
    is_locked boolean;
    expected text[];
    relation text;
    report uuid := gen_random_uuid();
    max_ms int8 := ceil(extract(epoch FROM max_time) * 1000);
    is_straight boolean;
    rejected_ones int4[] := '{}';
BEGIN
    IF mode IS NULL OR mode NOT IN ('append', 'upsert') OR on_error IS NULL OR on_error NOT IN ('fail', 'skip') THEN
        RAISE EXCEPTION 'mode is append or upsert, and on_error is fail or skip, not % and %', mode, on_error
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF max_rows < 1 OR max_bytes < 1 OR max_ms < 1 THEN
        RAISE EXCEPTION 'a limit must allow something' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF cardinality(partitions) = 0 OR EXISTS (SELECT FROM unnest(partitions) p WHERE p IS NULL) THEN
        RAISE EXCEPTION 'partitions names no partition' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF wait IS NULL OR accept_loss IS NULL OR start IS NULL OR topic IS NULL THEN
        RAISE EXCEPTION 'an argument is NULL that must not be' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM kcopy.check_target(target);

    SELECT l.partitions, l.is_locked INTO wanted, is_locked
      FROM kcopy.lock_partitions(target, topic, wait, partitions) l;
    IF NOT is_locked THEN
        RETURN;
    END IF;
    -- Nothing can change its columns from here on: binary values mean what their types are.
    named := target::text;
    EXECUTE format('LOCK TABLE ONLY %s IN ROW EXCLUSIVE MODE', named);
    IF to_regclass(named) IS DISTINCT FROM loaded_target THEN
        RAISE EXCEPTION '% was renamed, or dropped, while the load waited for it', named
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    map := kcopy.mapping(target, columns);
    known := kcopy.known_positions(target, topic, wait, wanted, accept_loss);
    wanted := known.partitions;
    IF cardinality(wanted) = 0 THEN
        RETURN;
    END IF;

    is_straight := mode = 'append' AND on_error = 'fail'
        AND pg_has_role('pg_execute_server_program', 'USAGE')
        AND NOT row_security_active(target)
        AND NOT (SELECT relhasrules FROM pg_class WHERE oid = loaded_target);
    expected := map.names;
    IF is_straight THEN
        SELECT format('%I.%I (%s)', nspname, relname, (SELECT string_agg(quote_ident(name), ', ') FROM unnest(map.names) name))
          INTO relation
          FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = loaded_target;
        -- The arguments have values before the call: an error quotes the statement that it comes from.
        command := kcopy.consume_command(topic, map.list, wanted, known.starts, start, known.cluster_id, on_error,
            max_rows, max_bytes, max_ms, accept_loss, false, map.format, report);
        SELECT * INTO copied, taken FROM kcopy.copy_from(relation, command, map.format, report, loaded_target);
    ELSE
        with_records := mode = 'upsert' OR on_error = 'skip';
        -- What may be rejected is judged by the INSERT, one by one.
        stage_types := CASE WHEN on_error = 'skip' THEN array_fill('text'::text, ARRAY[cardinality(map.names)]) ELSE map.types END;
        stage_format := CASE WHEN on_error = 'skip' OR map.has_types OR pg_client_encoding() <> 'UTF8' THEN 'text' ELSE 'binary' END;
        SELECT * INTO stage, copied, taken FROM kcopy.stage(current_user::text, map.list, stage_types, topic, wanted, known.starts,
            start, known.cluster_id, on_error, max_rows, max_bytes, max_ms, accept_loss, false, with_records, stage_format);
        IF with_records THEN
            expected := expected || ARRAY['kcopy_partition', 'kcopy_offset', 'kcopy_key', 'kcopy_value'];
        END IF;
    END IF;
    IF (SELECT array_agg(name) FROM jsonb_array_elements_text(taken -> 'columns') name) IS DISTINCT FROM expected THEN
        RAISE EXCEPTION 'the columns were understood differently: % and %', taken -> 'columns', expected
            USING ERRCODE = 'internal_error';
    END IF;

    IF NOT is_straight THEN
        statements := kcopy.statements(target, stage, map.names,
            CASE WHEN on_error = 'skip' THEN kcopy.all_casts(target, map.names) ELSE map.casts END,
            mode, on_error = 'skip', kcopy.escapes_bytes(on_error), with_records);
        IF on_error = 'skip' AND copied > 0 THEN
            -- A right that is missing, or a cast, is no matter of single rows: planning finds it.
            FOREACH statement IN ARRAY statements LOOP
                EXECUTE 'EXPLAIN ' || statement USING 1::int8, copied;
            END LOOP;
            FOR piece IN SELECT * FROM kcopy.pieces(target, stage, mode, copied) LOOP
                rejected_ones := rejected_ones
                    || kcopy.insert_or_reject(target, topic, stage, statements, piece.first_row, piece.last_row);
            END LOOP;
        ELSIF on_error = 'fail' THEN
            counted := kcopy.statements(target, stage, map.names, map.casts, mode, true, false, with_records);
            FOR piece IN SELECT * FROM kcopy.pieces(target, stage, mode, copied) LOOP
                PERFORM kcopy.insert_or_fail(
                    CASE WHEN piece.last_row - piece.first_row + 1 = copied THEN statements ELSE counted END,
                    counted, piece.first_row, piece.last_row, taken);
            END LOOP;
        END IF;
        PERFORM kcopy.unstage(stage);
        INSERT INTO kcopy.rejected (target, topic, partition, "offset", key, value, reason)
        SELECT loaded_target, loaded_topic, r.partition, r."offset", decode(r.key, 'base64'), decode(r.value, 'base64'), r.reason
          FROM jsonb_to_recordset(taken -> 'rejected') AS r(partition int4, "offset" int8, key text, value text, reason text);
    END IF;
    -- Partitions may have been attached meanwhile; those that got rows stay as they are until the transaction ends.
    PERFORM kcopy.check_target(target);

    RETURN QUERY SELECT * FROM
        kcopy.move_positions(target, topic, taken, copied, is_straight, known.known, rejected_ones, accept_loss);
    IF accept_loss THEN
        -- Partitions that the topic no longer has are lost as well, and would be in the way of every load. With fewer of
        -- them it is another topic: of the same one, others may have begun with a partition that was added since.
        FOR gone IN
            DELETE FROM kcopy.offsets o
             USING jsonb_array_elements(taken -> 'topics') t
             WHERE o.target = loaded_target AND o.topic = loaded_topic AND o.partition = ANY (known.known)
               AND t ->> 'topic' = loaded_topic AND o.partition >= (t ->> 'partition_count')::int4
               AND (o.topic_id <> t ->> 'topic_id') IS NOT FALSE
            RETURNING o.partition, o.next_offset
        LOOP
            RAISE WARNING '% [%] is not there any more: its position % is given up', loaded_topic, gone.partition, gone.next_offset;
        END LOOP;
    END IF;
END
$body$;
COMMENT ON FUNCTION kcopy.load IS 'loads what is new in a topic into a table and moves its positions, in this transaction';

-- What the program knows of a topic without reading it: the places where `starts`, and else `start`, would begin, and
-- the ends.
CREATE OR REPLACE FUNCTION kcopy.look(topic text, partitions int4[], starts text, start text, accept_loss boolean)
RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    staged record;
BEGIN
    staged := kcopy.stage(current_user::text, 'value'::text, ARRAY['text'], topic, partitions, starts, start, NULL::text,
        'fail'::text, NULL::int8, NULL::int8, NULL::int8, accept_loss, true, false, 'text'::text);
    PERFORM kcopy.unstage(staged.stage);
    RETURN staged.taken;
END
$body$;

CREATE OR REPLACE FUNCTION kcopy.lag(
    INOUT topic text DEFAULT NULL, INOUT target regclass DEFAULT NULL,
    OUT partition int4, OUT next_offset int8, OUT log_start_offset int8, OUT end_offset int8, OUT lag int8, OUT problem text
) RETURNS SETOF record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = on
AS $body$
#variable_conflict use_column
DECLARE
    wanted_topic CONSTANT text := topic;
    wanted_target CONSTANT regclass := target;
    pair record;
    taken jsonb;
    trouble text;
BEGIN
    -- The positions are older than what is seen of the topics: none of them can be ahead of its log.
    FOR pair IN
        SELECT o.topic, o.target, jsonb_agg(to_jsonb(o)) AS held,
               string_agg(format('%s:%s:%s:%s', o.partition, o.next_offset, o.leader_epoch, o.topic_id), ','
                          ORDER BY o.partition) AS starts
          FROM kcopy.offsets o
         WHERE (wanted_topic IS NULL OR o.topic = wanted_topic) AND (wanted_target IS NULL OR o.target = wanted_target)
           AND EXISTS (SELECT FROM pg_class WHERE oid = o.target)
         GROUP BY 1, 2 ORDER BY 1, 2
    LOOP
        BEGIN
            trouble := NULL;
            taken := NULL;
            taken := kcopy.look(pair.topic, NULL, pair.starts, 'beginning', true);
        EXCEPTION WHEN external_routine_exception THEN
            -- One topic that is gone hides no other; a cluster that does not answer has nothing to say of any.
            IF strpos(SQLERRM, 'UNKNOWN_TOPIC_OR_PARTITION') = 0 THEN
                RAISE;
            END IF;
            trouble := 'the topic is not there';
        END;
        RETURN QUERY
            SELECT pair.topic, pair.target, compared.part, compared.next, compared.log_start, compared.log_end,
                   CASE WHEN NOT (compared.is_other OR coalesce(compared.next > compared.high, false) OR
                                  (compared.gap IS NOT NULL AND compared.next >= compared.log_start))
                        THEN compared.log_end - coalesce(compared.next, compared.log_start) END,
                   CASE WHEN trouble IS NOT NULL THEN trouble
                        WHEN compared.log_start IS NULL THEN 'the topic has no such partition any more'
                        WHEN compared.is_other THEN 'the position is one of another cluster, or of a topic that was deleted and made anew'
                        WHEN compared.next < compared.log_start THEN 'records are gone before they were loaded'
                        WHEN compared.next > compared.high OR compared.gap IS NOT NULL THEN 'the log was cut short' END
              FROM (
                SELECT coalesce(p.partition, o.partition) AS part, o.next_offset AS next, p.log_start_offset AS log_start,
                       p.last_stable_offset AS log_end, p.high_watermark AS high, p.gap,
                       coalesce(o.cluster_id <> taken ->> 'cluster_id' OR o.topic_id <> p.topic_id, false) AS is_other
                  FROM (SELECT q.*, t ->> 'topic_id' AS topic_id
                          FROM jsonb_array_elements(taken -> 'topics') t
                          CROSS JOIN LATERAL jsonb_to_recordset(t -> 'partitions')
                            AS q(partition int4, log_start_offset int8, last_stable_offset int8, high_watermark int8, gap text)
                         WHERE t ->> 'topic' = pair.topic) p
                  FULL JOIN jsonb_to_recordset(pair.held)
                            AS o(partition int4, next_offset int8, cluster_id text, topic_id text)
                    ON o.partition = p.partition
              ) compared
             ORDER BY compared.part;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION kcopy.lag IS 'how far positions are behind their topics; NULL, with the problem, where a position means nothing there';

CREATE OR REPLACE FUNCTION kcopy.reset(topic text, target regclass, "to" text, partitions int4[] DEFAULT NULL)
RETURNS TABLE (partition int4, old_offset int8, next_offset int8)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = on
AS $body$
#variable_conflict use_column
DECLARE
    moved_topic CONSTANT text := topic;
    moved_target CONSTANT regclass := target;
    held int4[];
    taken jsonb;
    ids jsonb;
    one record;
BEGIN
    IF topic IS NULL OR "to" IS NULL THEN
        RAISE EXCEPTION 'an argument is NULL that must not be' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM kcopy.check_target(target);
    PERFORM kcopy.lock_partitions(target, topic, true, partitions);
    -- Held before the topic is looked at: nobody may load beyond the end that is seen.
    held := ARRAY(
        SELECT o.partition FROM kcopy.offsets o
         WHERE o.target = moved_target AND o.topic = moved_topic AND (partitions IS NULL OR o.partition = ANY (partitions))
         ORDER BY o.partition FOR UPDATE);
    IF held = '{}' THEN
        PERFORM kcopy.sweep();
    END IF;
    taken := kcopy.look(topic, partitions, '', "to", false);
    SELECT t INTO ids FROM jsonb_array_elements(taken -> 'topics') t WHERE t ->> 'topic' = moved_topic;
    FOR one IN
        SELECT r.*, o.next_offset AS old
          FROM jsonb_to_recordset(ids -> 'partitions') AS r(partition int4, "from" int8, leader_epoch int4)
          LEFT JOIN kcopy.offsets o ON o.target = moved_target AND o.topic = moved_topic AND o.partition = r.partition
         ORDER BY r.partition
    LOOP
        INSERT INTO kcopy.offsets AS o
            (target, topic, partition, cluster_id, topic_id, next_offset, leader_epoch, updated_at)
        VALUES (moved_target, moved_topic, one.partition, taken ->> 'cluster_id', ids ->> 'topic_id', one."from",
                one.leader_epoch, clock_timestamp())
        ON CONFLICT ON CONSTRAINT offsets_pkey DO UPDATE SET
            cluster_id = excluded.cluster_id, topic_id = excluded.topic_id, next_offset = excluded.next_offset,
            leader_epoch = excluded.leader_epoch, updated_at = excluded.updated_at;
        partition := one.partition;
        old_offset := one.old;
        next_offset := one."from";
        RETURN NEXT;
    END LOOP;
    -- Partitions that another topic of the name had would be in the way of every load.
    IF partitions IS NULL THEN
        DELETE FROM kcopy.offsets o
         WHERE o.target = moved_target AND o.topic = moved_topic AND o.partition = ANY (held)
           AND o.partition NOT IN (SELECT (p ->> 'partition')::int4 FROM jsonb_array_elements(ids -> 'partitions') p)
           AND (o.topic_id <> ids ->> 'topic_id') IS NOT FALSE;
    END IF;
END
$body$;
COMMENT ON FUNCTION kcopy.reset IS 'moves positions: to beginning, end, an offset, -N (before the end) or a time';

-- Row security does not reach through a view of its owner's: the condition is here once more. It is replaced where it
-- is, like the functions: new columns come at its end.
CREATE OR REPLACE VIEW kcopy.progress WITH (security_barrier) AS
SELECT o.target, o.topic, o.partition, o.next_offset, o.rows, o.updated_at,
       pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) o.updated_at AS age,
       (SELECT pg_catalog.count(*) FROM kcopy.rejected r
         WHERE r.target OPERATOR(pg_catalog.=) o.target AND r.topic OPERATOR(pg_catalog.=) o.topic
           AND r.partition OPERATOR(pg_catalog.=) o.partition) AS rejected
  FROM kcopy.offsets o
 WHERE pg_catalog.has_table_privilege(o.target, 'INSERT');
COMMENT ON VIEW kcopy.progress IS 'where each partition stands, what it brought, and when it was last loaded';
