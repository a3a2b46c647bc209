-- How the rows of a stage come into the target, with the rights of the caller.

-- Brings the rows of a stage into the target. Rows that the target cannot take are found by halving, each in a
-- subtransaction of its own, and go to kcopy.rejected.
CREATE OR REPLACE FUNCTION kcopy.insert_or_reject(
    target regclass, topic text, stage text, statements text[], first_row int8, last_row int8
) RETURNS int4[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    statement text;
    rejected int4;
    middle int8 := first_row + (last_row - first_row) / 2;
BEGIN
    BEGIN
        FOREACH statement IN ARRAY statements LOOP
            EXECUTE statement USING first_row, last_row;
        END LOOP;
        RETURN '{}';
    EXCEPTION WHEN OTHERS OR assert_failure THEN
        IF kcopy.is_elsewhere(SQLSTATE) THEN
            RAISE;
        END IF;
        IF first_row = last_row THEN
            EXECUTE format('INSERT INTO kcopy.rejected (target, topic, partition, "offset", key, value, reason)'
                    ' SELECT $1, $2, kcopy_partition, kcopy_offset, kcopy_key, kcopy_value, $3 FROM pg_temp.%I'
                    ' WHERE kcopy_row = $4 RETURNING partition', stage)
                INTO rejected USING target, topic, SQLSTATE || ': ' || SQLERRM, first_row;
            RETURN ARRAY[rejected];
        END IF;
    END;
    -- Outside of the handler, so that what it holds does not pile up.
    RETURN kcopy.insert_or_reject(target, topic, stage, statements, first_row, middle)
        || kcopy.insert_or_reject(target, topic, stage, statements, middle + 1, last_row);
END
$body$;

-- The first row from `first_row` on that the target may refuse: with it a piece was refused. Those before it are in place.
CREATE OR REPLACE FUNCTION kcopy.first_refused(statements text[], first_row int8, last_row int8) RETURNS int8
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    middle int8;
    statement text;
BEGIN
    WHILE first_row < last_row LOOP
        middle := first_row + (last_row - first_row) / 2;
        BEGIN
            FOREACH statement IN ARRAY statements LOOP
                EXECUTE statement USING first_row, middle;
            END LOOP;
            first_row := middle + 1;
        EXCEPTION WHEN OTHERS OR assert_failure THEN
            IF kcopy.is_elsewhere(SQLSTATE) THEN
                RAISE;
            END IF;
            last_row := middle;
        END;
    END LOOP;
    RETURN first_row;
END
$body$;

-- Brings the rows of a stage into the target, all or none. INSERT does not say which row it refuses: it is looked for
-- with `counted`, the same statements for some of the rows. In their order they may all be right, as when a key gives a
-- value of another unique column free that a later one takes.
CREATE OR REPLACE FUNCTION kcopy.insert_or_fail(
    statements text[], counted text[], first_row int8, last_row int8, taken jsonb
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    statement text;
    refused int8 := first_row - 1;
    place text;
    state text;
    reason text;
    detail text;
    hint text;
    context text;
    wrong_column text;
    wrong_constraint text;
    wrong_type text;
    wrong_table text;
    wrong_schema text;
BEGIN
    FOREACH statement IN ARRAY statements LOOP
        EXECUTE statement USING first_row, last_row;
    END LOOP;
EXCEPTION WHEN OTHERS OR assert_failure THEN
    -- More rows would take too long to go through again.
    IF last_row < first_row OR last_row - first_row >= 1000000 OR kcopy.is_elsewhere(SQLSTATE) THEN
        RAISE;
    END IF;
    BEGIN
        -- What is refused without any row is no matter of one.
        FOREACH statement IN ARRAY counted LOOP
            EXECUTE statement USING 1::int8, 0::int8;
        END LOOP;
        WHILE refused < last_row LOOP
            refused := kcopy.first_refused(counted, refused + 1, last_row);
            place := kcopy.record_of(refused, taken);
            FOREACH statement IN ARRAY counted LOOP
                EXECUTE statement USING refused, refused;
            END LOOP;
        END LOOP;
        -- Only an upsert, which has several, says that they come one after the other.
        IF cardinality(statements) > 1 THEN
            RETURN;
        END IF;
        place := NULL;
    EXCEPTION WHEN OTHERS OR assert_failure THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, reason = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT, wrong_column = COLUMN_NAME, wrong_constraint = CONSTRAINT_NAME,
            wrong_type = PG_DATATYPE_NAME, wrong_table = TABLE_NAME, wrong_schema = SCHEMA_NAME;
    END;
    IF place IS NULL THEN
        RAISE;
    END IF;
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = reason,
        DETAIL = concat_ws('; ', place, nullif(detail, ''), kcopy.origin_of(context)),
        HINT = coalesce(nullif(hint, ''), 'on_error => ''skip'' puts such records into kcopy.rejected'),
        COLUMN = wrong_column, CONSTRAINT = wrong_constraint, DATATYPE = wrong_type,
        TABLE = wrong_table, SCHEMA = wrong_schema;
END
$body$;
