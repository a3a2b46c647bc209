-- How the program is run, and how it reports.

CREATE OR REPLACE FUNCTION kcopy.program() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$ SELECT {program}::text $body$;
COMMENT ON FUNCTION kcopy.program() IS 'the path of kcopy on the server''s machine';

CREATE OR REPLACE FUNCTION kcopy.version() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$ SELECT {version_literal}::text $body$;
COMMENT ON FUNCTION kcopy.version() IS 'the version of kcopy that these functions belong to';

-- Whether the database's encoding lacks characters that records, names and messages may have. SQL_ASCII takes all bytes.
CREATE OR REPLACE FUNCTION kcopy.is_narrow() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$ SELECT getdatabaseencoding() NOT IN ('UTF8', 'SQL_ASCII') $body$;

-- chr(92) is the backslash: what it means in a literal depends on the session. The program reads UTF-8, and a command
-- line is in the database's encoding: what is not ASCII is left to the shell's printf, byte by byte.
CREATE OR REPLACE FUNCTION kcopy.shell_quoted(word text) RETURNS text
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT CASE WHEN kcopy.is_narrow() AND octet_length(convert_to(word, 'UTF8')) > length(word)
        THEN '"$(printf ''' || (
            SELECT string_agg(chr(92) || (byte / 64) || (byte / 8 % 8) || (byte % 8), '' ORDER BY n)
              FROM (SELECT n, get_byte(convert_to(word, 'UTF8'), n) AS byte
                      FROM generate_series(0, octet_length(convert_to(word, 'UTF8')) - 1) n) bytes
        ) || ''')"'
        ELSE '''' || replace(word, '''', '''' || chr(92) || '''''') || '''' END
$body$;

-- The types that the program writes and that are PostgreSQL's own. All others travel as text.
CREATE OR REPLACE FUNCTION kcopy.plain_type(type oid) RETURNS text
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT CASE WHEN element.typname IS NULL THEN plain.typname ELSE element.typname || '[]' END
      FROM pg_type plain
      LEFT JOIN pg_type element ON element.oid = plain.typelem AND plain.typcategory = 'A'
     WHERE plain.oid = type
       AND plain.typnamespace = 'pg_catalog'::regnamespace
       AND coalesce(element.typname, plain.typname) = ANY ({types}::name[])
$body$;

-- Where the server's TMPDIR is of no use the reason of an error still gets through.
CREATE OR REPLACE FUNCTION kcopy.report_path(report uuid) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $body$ SELECT '"$(test -d "$TMPDIR" && test -w "$TMPDIR" && printf %s "$TMPDIR" || printf /tmp)/kcopy-' || report || '"' $body$;

-- Whether a stage holds text in ASCII alone: a row is to be skipped, and not the load to end, where the database's
-- encoding lacks a character.
CREATE OR REPLACE FUNCTION kcopy.escapes_bytes(on_error text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$ SELECT on_error = 'skip' AND kcopy.is_narrow() $body$;

-- The shell's command line. Each value is one word of it, whatever is in it.
CREATE OR REPLACE FUNCTION kcopy.consume_command(
    topic text, columns text, partitions int4[], starts text, first_start text, cluster_id text, on_error text,
    max_rows int8, max_bytes int8, max_ms int8, accept_loss boolean, dry_run boolean, format text, report uuid
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    command text;
BEGIN
    IF topic IS NULL OR topic !~ '^[A-Za-z0-9._-]{1,249}$' OR topic IN ('.', '..') THEN
        RAISE EXCEPTION '% is no name of a topic', coalesce(quote_literal(topic), 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'letters, digits, points, underscores and dashes, at most 249';
    END IF;
    IF first_start IN ('committed', 'stored') THEN
        RAISE EXCEPTION '"%" is a position of a consumer group, and here there is none', first_start
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'beginning, end, an offset, -N, @MILLISECONDS, -1h, or a time as 2026-01-31T12:00:00Z';
    END IF;
    command := 'unset {unset}; exec ' || kcopy.shell_quoted(kcopy.program()) || ' consume'
        || ' --isolation=read_committed'
        || ' ' || kcopy.shell_quoted('--format=' || format)
        || ' --invalid-text=error '
        || kcopy.shell_quoted('--columns=' || columns)
        || coalesce(' ' || kcopy.shell_quoted('--partitions=' || array_to_string(partitions, ',')), '')
        || ' ' || kcopy.shell_quoted('--start=' || starts)
        || ' ' || kcopy.shell_quoted('--from=' || first_start)
        || coalesce(' ' || kcopy.shell_quoted('--cluster-id=' || cluster_id), '')
        || ' ' || kcopy.shell_quoted('--on-error=' || on_error)
        || CASE WHEN kcopy.escapes_bytes(on_error) THEN ' --escape-bytes' ELSE '' END
        || coalesce(' --max-messages=' || max_rows, '')
        || coalesce(' --max-bytes=' || max_bytes, '')
        || coalesce(' --max-time=' || max_ms || 'ms', '')
        || CASE WHEN accept_loss THEN ' --accept-loss' ELSE '' END
        || CASE WHEN dry_run THEN ' --dry-run' ELSE '' END
        || ' --report=' || kcopy.report_path(report)
        || ' -- ' || kcopy.shell_quoted(topic);
    IF command IS NULL THEN
        RAISE EXCEPTION 'an argument is NULL that must not be' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    RETURN command;
END
$body$;

-- What the program reported, with the rights of the caller. NULL when it was killed before it could.
CREATE OR REPLACE FUNCTION kcopy.take_report(report uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    holder text := 'kcopy_report_' || replace(gen_random_uuid()::text, '-', '');
    taken text;
    parsed jsonb;
    escaped text;
BEGIN
    EXECUTE format('CREATE TEMPORARY TABLE %I (line text) ON COMMIT DROP', holder);
    EXECUTE format(
        'COPY pg_temp.%I FROM PROGRAM %L WITH (FORMAT text, ENCODING ''UTF8'')', holder,
        'exec ' || kcopy.shell_quoted(kcopy.program()) || ' report' || CASE WHEN kcopy.is_narrow() THEN ' --ascii' ELSE '' END
            || ' -- ' || kcopy.report_path(report)
    );
    EXECUTE format('SELECT line FROM pg_temp.%I', holder) INTO taken;
    IF kcopy.is_narrow() THEN
        -- What the encoding lacks stays as the escape that it is.
        FOR escaped IN SELECT DISTINCT m[1] FROM regexp_matches(taken,
                replace('(#u[dD][89abAB][0-9a-f]{2}#u[0-9a-f]{4}|#u[0-9a-f]{4})', '#', repeat(chr(92), 2)), 'g') m LOOP
            BEGIN
                PERFORM ('"' || escaped || '"')::jsonb;
            EXCEPTION WHEN untranslatable_character OR feature_not_supported THEN
                taken := replace(taken, escaped, replace(escaped, chr(92), chr(92) || 'u005c'));
            END;
        END LOOP;
    END IF;
    -- A long text is still in its table.
    parsed := taken::jsonb;
    EXECUTE format('DROP TABLE pg_temp.%I', holder);
    RETURN parsed;
END
$body$;

-- Whether an error is about the connection, the transaction or the server, so that no row could help it.
CREATE OR REPLACE FUNCTION kcopy.is_elsewhere(state text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$ SELECT left(state, 2) IN ('08', '25', '40', '53', '55', '57', '58', 'F0', 'XX') $body$;

-- Where an error that is raised again was raised first, if that was in code of the target's.
CREATE OR REPLACE FUNCTION kcopy.origin_of(context text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT line FROM split_part(context, chr(10), 1) line WHERE line <> '' AND line NOT LIKE 'COPY %' AND line NOT LIKE '%kcopy%'
$body$;

-- The record that a row was made of, as the report has it.
CREATE OR REPLACE FUNCTION kcopy.record_of("row" int8, taken jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT format('%s [%s] offset %s', run ->> 1, run ->> 2, (run ->> 3)::int8 + "row" - (run ->> 0)::int8)
      FROM jsonb_array_elements(taken -> 'written') run
     WHERE "row" - (run ->> 0)::int8 BETWEEN 0 AND (run ->> 4)::int8 - 1
     LIMIT 1
$body$;

-- The record that an error of COPY is about, and what of it: COPY counts rows. NULL where the error is about none. "line"
-- is a word of lc_messages, which only a superuser may set; the order is the same in all languages but two.
CREATE OR REPLACE FUNCTION kcopy.place_of(context text, taken jsonb, target regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT kcopy.record_of(found.line::int8, taken)
        || CASE WHEN a.attname IS NULL THEN coalesce(nullif(': ' || found.rest, ': '), '') ELSE
            format(': column %s of type %s', a.attname, format_type(a.atttypid, a.atttypmod))
            || substr(found.rest, length('column ' || a.attname) + 1) END
      FROM (SELECT m[1] AS line, m[2] AS rest
              FROM regexp_matches(context, '(?n)^COPY .*?, [^ ,]+ ([0-9]+)(?: ?[,:] )?(.*)$') m) found
      LEFT JOIN LATERAL (
        SELECT * FROM pg_attribute
         WHERE attrelid = target AND attnum > 0 AND NOT attisdropped
           AND (found.rest = 'column ' || attname OR starts_with(found.rest, 'column ' || attname || ': '))
         ORDER BY length(attname) DESC LIMIT 1
      ) a ON true
$body$;

-- The records that an error behind the last row is about: foreign keys are checked there, and COPY names no row. NULL where
-- the program did not come to its end, and where the error may be a statement trigger's, which is about no record.
CREATE OR REPLACE FUNCTION kcopy.span_of(taken jsonb, target regclass, wrong_constraint text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT CASE WHEN sum(records) = 1 THEN kcopy.record_of(1::int8, taken) ELSE
            'one of ' || string_agg(format('%s [%s] offsets %s to %s', topic, partition, "from", next_offset - 1), ', ' ORDER BY n)
                FILTER (WHERE n <= 4)
            || CASE WHEN count(*) > 4 THEN format(' and of %s more partitions', count(*) - 4) ELSE '' END END
      FROM (SELECT t ->> 'topic' AS topic, p.*, row_number() OVER (ORDER BY t ->> 'topic', p.partition) AS n
              FROM jsonb_array_elements(taken -> 'topics') t
              CROSS JOIN LATERAL jsonb_to_recordset(t -> 'partitions')
                AS p(partition int4, "from" int8, next_offset int8, records int8)
             WHERE taken ->> 'error' IS NULL AND p.records > 0) read
     WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = target AND tgtype & 5 = 4 AND tgenabled <> 'D')
        OR EXISTS (SELECT FROM pg_constraint
                    WHERE conname = wrong_constraint
                      AND conrelid IN (SELECT target UNION SELECT relid FROM pg_partition_tree(target)))
$body$;

-- Runs COPY and takes the report, with the rights of the caller. The program's reason becomes the error's.
CREATE OR REPLACE FUNCTION kcopy.copy_from(
    relation text, command text, format text, report uuid, target regclass, OUT copied int8, OUT taken jsonb
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    state text;
    detail text;
    unable text;
    hint text;
    context text;
    place text;
    reason text;
    wrong_column text;
    wrong_constraint text;
    wrong_type text;
    wrong_table text;
    wrong_schema text;
BEGIN
    BEGIN
        EXECUTE pg_catalog.format('COPY %s FROM PROGRAM %L WITH (FORMAT %I, ENCODING ''UTF8'')', relation, command, format);
        GET DIAGNOSTICS copied = ROW_COUNT;
    EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
            context = PG_EXCEPTION_CONTEXT, wrong_column = COLUMN_NAME, wrong_constraint = CONSTRAINT_NAME,
            wrong_type = PG_DATATYPE_NAME, wrong_table = TABLE_NAME, wrong_schema = SCHEMA_NAME;
        IF state = '42501' THEN
            RAISE;
        END IF;
        -- Taken in any case, so that it does not stay behind.
        BEGIN
            taken := kcopy.take_report(report);
        EXCEPTION WHEN OTHERS THEN
            -- Where the program cannot even do this, the first error is the one that tells.
            taken := NULL;
            GET STACKED DIAGNOSTICS unable = PG_EXCEPTION_DETAIL;
        END;
        -- 22P04 is what binary COPY says of a program that writes nothing.
        IF state NOT IN ('38000', '22P04') THEN
            place := coalesce(kcopy.place_of(context, taken, target), kcopy.span_of(taken, target, wrong_constraint));
            IF place IS NULL OR kcopy.is_elsewhere(state) THEN
                RAISE;
            END IF;
            RAISE EXCEPTION USING ERRCODE = state, MESSAGE = SQLERRM,
                DETAIL = concat_ws('; ', place, nullif(detail, ''), kcopy.origin_of(context)), HINT = coalesce(nullif(hint, ''), 'on_error => ''skip'' puts such records into kcopy.rejected'),
                COLUMN = wrong_column, CONSTRAINT = wrong_constraint, DATATYPE = wrong_type,
                TABLE = wrong_table, SCHEMA = wrong_schema;
        END IF;
        -- The caller named no option.
        reason := regexp_replace(taken ->> 'error', '^--(from|partitions): ', '');
        IF reason IS NOT NULL THEN
            IF (taken ->> 'is_gap')::boolean THEN
                RAISE EXCEPTION 'kcopy: %', reason USING
                    ERRCODE = 'external_routine_exception',
                    HINT = 'accept_loss => true goes on with what there is; kcopy.reset says where to go on';
            END IF;
            RAISE EXCEPTION 'kcopy: %', reason USING ERRCODE = 'external_routine_exception';
        END IF;
        -- What a shell says of a program that is not there, or that it may not run.
        IF unable ~ '(command not|could not be executed)' THEN
            RAISE EXCEPTION 'kcopy cannot be run: %', kcopy.program() USING
                ERRCODE = 'external_routine_exception', DETAIL = unable,
                HINT = 'the server''s operating-system user must be able to run it there; kcopy sql --program PATH | psql says where else it is';
        END IF;
        RAISE EXCEPTION 'kcopy failed and could not say why, as when it is killed: %', coalesce(nullif(detail, ''), SQLERRM) USING
            ERRCODE = 'external_routine_exception',
            DETAIL = SQLERRM,
            HINT = pg_catalog.format('the server''s log has what %s said; is it there, and of version %s?', kcopy.program(), kcopy.version());
    END;
    taken := kcopy.take_report(report);
    IF taken IS NULL OR taken ->> 'version' IS DISTINCT FROM kcopy.version() THEN
        RAISE EXCEPTION '% is of version %, and these functions are of %', kcopy.program(),
                coalesce(taken ->> 'version', 'unknown'), kcopy.version()
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'run: kcopy sql | psql';
    END IF;
END
$body$;

-- Event triggers run with the rights of whoever makes a table, which is stage's owner. What their functions name, and what
-- these call, may be the caller's: that none is no program can see, so a superuser has to say it.
CREATE OR REPLACE FUNCTION kcopy.check_event_triggers() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    untrusted text;
BEGIN
    SELECT string_agg(e.evtname, ', ' ORDER BY e.evtname) INTO untrusted
      FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid JOIN pg_language l ON l.oid = p.prolang
     WHERE e.evtenabled <> 'D' AND e.evtevent IN ('ddl_command_start', 'ddl_command_end', 'sql_drop')
       AND l.lanname NOT IN ('internal', 'c')
       AND NOT EXISTS (
        SELECT FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) setting
         WHERE s.setrole = to_regrole('kcopy_program') AND starts_with(setting, 'kcopy.trusted_event_triggers=')
           AND e.evtname = ANY (regexp_split_to_array(split_part(setting, '=', 2), ' *, *')));
    IF untrusted IS NOT NULL THEN
        RAISE EXCEPTION 'event triggers would run with the rights of kcopy_program: %', untrusted
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('ALTER ROLE kcopy_program SET kcopy.trusted_event_triggers = %L, once these and all that they '
                      'call name everything with its schema', untrusted);
    END IF;
END
$body$;

-- With unstage the only function with more rights than its caller. It reads a topic into a temporary table that it has just made
-- and that has only types of PostgreSQL's own: nothing of the caller is executed here. What the caller gets is to read
-- that table; to do something with it is left to his own rights. Here and below, arguments have the very types of the
-- functions' that are called: no overload fits better.
CREATE OR REPLACE FUNCTION kcopy.stage(
    reader text, columns text, types text[],
    topic text, partitions int4[], starts text, first_start text, cluster_id text, on_error text,
    max_rows int8, max_bytes int8, max_ms int8, accept_loss boolean, dry_run boolean, with_records boolean, format text,
    OUT stage text, OUT copied int8, OUT taken jsonb
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    report uuid := gen_random_uuid();
    relation text;
    command text;
    names text[] := '{}';
    defined text[] := '{}';
    type text;
BEGIN
    PERFORM kcopy.check_event_triggers();
    FOREACH type IN ARRAY types LOOP
        -- Looked up by its name in pg_catalog alone, and then judged.
        IF kcopy.plain_type(to_regtype('pg_catalog.' || quote_ident(replace(type, '[]', '')) ||
                CASE WHEN right(type, 2) = '[]' THEN '[]' ELSE '' END)::oid) IS DISTINCT FROM type THEN
            RAISE EXCEPTION '% is no type for a stage', coalesce(quote_literal(type), 'NULL')
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        names := names || ('c' || (cardinality(names) + 1));
        defined := defined || pg_catalog.format('c%s pg_catalog.%I%s', cardinality(names), replace(type, '[]', ''),
            CASE WHEN right(type, 2) = '[]' THEN '[]' ELSE '' END);
    END LOOP;
    -- Without these the rows of a stage go into a table of just their types as they are.
    IF with_records THEN
        columns := columns || ', kcopy_partition int4 = partition, kcopy_offset int8 = offset, kcopy_key bytea = key, kcopy_value bytea = value';
        names := names || ARRAY['kcopy_partition', 'kcopy_offset', 'kcopy_key', 'kcopy_value'];
        defined := defined || ARRAY['kcopy_partition int4', 'kcopy_offset int8', 'kcopy_key bytea', 'kcopy_value bytea',
            'kcopy_row int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY'];
    END IF;
    stage := 'kcopy_stage_' || replace(gen_random_uuid()::text, '-', '');
    EXECUTE pg_catalog.format('CREATE TEMPORARY TABLE %I (%s) ON COMMIT DROP', stage, array_to_string(defined, ', '));
    relation := pg_catalog.format('pg_temp.%I (%s)', stage, array_to_string(names, ', '));
    -- The arguments have values before the call: an error quotes the statement that it comes from.
    command := kcopy.consume_command(topic, columns, partitions, starts, first_start, cluster_id, on_error,
        max_rows, max_bytes, max_ms, accept_loss, dry_run, format, report);
    SELECT * INTO copied, taken FROM kcopy.copy_from(relation, command, format, report, NULL::regclass);
    EXECUTE pg_catalog.format('GRANT SELECT ON pg_temp.%I TO %I', stage, reader);
END
$body$;

-- Drops a stage: only tables of its own owner.
CREATE OR REPLACE FUNCTION kcopy.unstage(stage text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF stage !~ '^kcopy_stage_[0-9a-f]{32}$' THEN
        RAISE EXCEPTION '% is no stage', quote_literal(stage) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('DROP TABLE pg_temp.%I', stage);
END
$body$;
