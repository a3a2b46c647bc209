-- What is known of a target, and what fills its columns.

-- Refuses targets whose rows a crash could take away while their positions stay.
CREATE OR REPLACE FUNCTION kcopy.check_target(target regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    wrong record;
BEGIN
    IF target IS NULL OR NOT EXISTS (SELECT FROM pg_class WHERE oid = target) THEN
        RAISE EXCEPTION 'the target is not there' USING ERRCODE = 'undefined_table';
    END IF;
    SELECT c.oid::regclass AS relation, c.relkind, c.relpersistence INTO wrong
      FROM (SELECT target AS relid UNION SELECT relid FROM pg_partition_tree(target)) part
      JOIN pg_class c ON c.oid = part.relid
     WHERE c.relkind NOT IN ('r', 'p') OR c.relpersistence <> 'p'
     ORDER BY c.oid <> target
     LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION '% is %', wrong.relation, CASE
                WHEN wrong.relpersistence = 'u' THEN 'unlogged'
                WHEN wrong.relpersistence = 't' THEN 'temporary'
                WHEN wrong.relkind = 'f' THEN 'a foreign table'
                ELSE 'no table' END
            USING ERRCODE = 'wrong_object_type',
                  DETAIL = 'after a crash its rows and its positions would part',
                  HINT = 'the target and all its partitions need to be ordinary, logged tables';
    END IF;
    IF NOT has_table_privilege(target, 'INSERT') THEN
        RAISE EXCEPTION 'permission denied for table %', target USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$body$;

-- The type below all domains.
CREATE OR REPLACE FUNCTION kcopy.base_type(type oid) RETURNS oid
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $body$
    WITH RECURSIVE below AS (
        SELECT type AS oid, 0 AS depth
        UNION ALL
        SELECT t.typbasetype, depth + 1 FROM below JOIN pg_type t ON t.oid = below.oid WHERE t.typtype = 'd'
    )
    SELECT oid FROM below ORDER BY depth DESC LIMIT 1
$body$;

-- What makes a column's type of the text that a stage has of it. The cast is to the type below all domains, without its
-- length: the INSERT adds both, as an assignment, which refuses what an explicit cast to them would cut to fit.
CREATE OR REPLACE FUNCTION kcopy.cast_to(type oid) RETURNS text
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT CASE
            WHEN element.typtype IS DISTINCT FROM 'd' THEN '::' || format_type(base.oid, -1)
            -- No type is an array of arrays: the whole is read as text, which cuts nothing either.
            WHEN (SELECT typcategory FROM pg_type WHERE oid = kcopy.base_type(element.oid)) = 'A'
                THEN '::text::' || format_type(base.oid, -1)
            ELSE '::' || format_type(kcopy.base_type(element.oid), -1) || '[]' END
      FROM pg_type base
      LEFT JOIN pg_type element ON element.oid = base.typelem AND base.typcategory = 'A'
     WHERE base.oid = kcopy.base_type(type)
$body$;

-- The length that a type below all domains has: a column's own, or that of its domain.
CREATE OR REPLACE FUNCTION kcopy.base_modifier(type oid, modifier int4) RETURNS int4
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $body$
    WITH RECURSIVE below AS (
        SELECT type AS oid, modifier AS modifier, 0 AS depth
        UNION ALL
        SELECT t.typbasetype, t.typtypmod, depth + 1 FROM below JOIN pg_type t ON t.oid = below.oid WHERE t.typtype = 'd'
    )
    SELECT modifier FROM below ORDER BY depth DESC LIMIT 1
$body$;

-- A value as its column stores it, so that it compares as it will there: with its length, rounded where the assignment
-- rounds and refused where that refuses, and with its collation. `value` is an expression of the type that cast_to makes.
CREATE OR REPLACE FUNCTION kcopy.as_stored(value text, relation oid, name text) RETURNS text
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    attribute record;
    base record;
    fit record;
    element oid;
    modifier int4;
BEGIN
    SELECT * INTO attribute FROM pg_attribute
     WHERE attrelid = relation AND attname = name AND attnum > 0 AND NOT attisdropped;
    SELECT * INTO base FROM pg_type WHERE oid = kcopy.base_type(attribute.atttypid);
    modifier := kcopy.base_modifier(attribute.atttypid, attribute.atttypmod);
    element := base.oid;
    IF base.typcategory = 'A' AND base.typelem <> 0 THEN
        element := kcopy.base_type(base.typelem);
        modifier := kcopy.base_modifier(base.typelem, modifier);
        -- Arrays of arrays are read as what they are.
        IF (SELECT typcategory FROM pg_type WHERE oid = element) = 'A' THEN
            modifier := -1;
        END IF;
    END IF;
    SELECT format('%I.%I', nspname, proname) AS function, pronargs = 3 AS may_cut INTO fit
      FROM pg_cast JOIN pg_proc ON pg_proc.oid = castfunc JOIN pg_namespace ON pg_namespace.oid = pronamespace
     WHERE castsource = element AND casttarget = element;
    IF modifier >= 0 AND FOUND THEN
        IF element = base.oid THEN
            value := format('%s(%s, %s%s)', fit.function, value, modifier, CASE WHEN fit.may_cut THEN ', false' ELSE '' END);
        ELSIF fit.may_cut THEN
            -- No cast of an array says that it is an assignment, but reading one is like it.
            value := format('array_in(array_out(%s), %s, %s)::text::%s[]', value, element, modifier, format_type(element, -1));
        ELSE
            value := format('(%s)::%s[]', value, format_type(element, modifier));
        END IF;
    END IF;
    RETURN value || coalesce((
        SELECT format(' COLLATE %I.%I', nspname, collname)
          FROM pg_collation c JOIN pg_namespace n ON n.oid = collnamespace WHERE c.oid = attribute.attcollation), '');
END
$body$;

-- The interval that a type is, or is made of, where a number without a unit is not of seconds: no cast of a text knows it.
CREATE OR REPLACE FUNCTION kcopy.interval_of_other_units(type oid, modifier int4) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    WITH RECURSIVE below AS (
        SELECT type AS id, modifier
        UNION ALL
        SELECT CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END,
               CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE modifier END
          FROM below JOIN pg_type t ON t.oid = below.id
         WHERE t.typtype = 'd' OR (t.typcategory = 'A' AND t.typelem <> 0)
    )
    SELECT format_type(id, modifier) FROM below
     WHERE id = 'interval'::regtype
       AND format_type(id, modifier) ~ '^interval (year|month|day|hour|minute)'
       AND format_type(id, modifier) !~ '^interval (day|hour) to second'
$body$;

-- The columns that are filled. `list` is what the program is told, in the same order, and `format` the fastest that
-- they can have.
--
-- Without a mapping these are the columns that the database does not fill by itself (generated, identity, with a
-- default), each by its name. A mapping names the columns that it fills; a type that it leaves out is the column's.
CREATE OR REPLACE FUNCTION kcopy.mapping(
    target regclass, columns text, OUT names text[], OUT types text[], OUT casts text[], OUT list text,
    OUT format text, OUT has_types boolean
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    item record;
    attribute record;
    read text := '';
    left_out text;
BEGIN
    names := '{}';
    types := '{}';
    casts := '{}';
    -- What a binary COPY brings is taken to be in the session's encoding, whatever ENCODING says.
    format := CASE WHEN pg_client_encoding() = 'UTF8' THEN 'binary' ELSE 'text' END;
    has_types := false;
    IF columns IS NULL THEN
        SELECT string_agg('"' || replace(attname, '"', '""') || '"', ', ' ORDER BY attnum) FILTER (WHERE NOT filled),
               string_agg(quote_ident(attname), ', ' ORDER BY attnum) FILTER (WHERE atthasdef AND attgenerated = '')
          INTO columns, left_out
          FROM (SELECT *, atthasdef OR attidentity <> '' AS filled FROM pg_attribute) a
         WHERE attrelid = target AND attnum > 0 AND NOT attisdropped;
        IF columns IS NULL THEN
            RAISE EXCEPTION '% has no column that is not filled by itself', target
                USING ERRCODE = 'undefined_column', HINT = 'columns => ''name, ...'' says which are filled';
        END IF;
        IF left_out IS NOT NULL THEN
            RAISE NOTICE 'the defaults of % fill %; columns => ... fills columns from the records instead', target, left_out;
        END IF;
    END IF;
    FOR item IN
        SELECT m[1] AS name, m[2] AS rest, m[3] AS ending, ordinality AS n
          FROM regexp_matches(columns,
            '[[:space:]]*("(?:[^"]|"")*"|[^][:space:],=."''[]+)((?:"(?:[^"]|"")*"|''(?:[^'']|'''')*''|[(][^()]*[)]|[^,"''()])*)(,|$)',
            'g') WITH ORDINALITY AS matches(m, ordinality)
    LOOP
        read := read || item.name || item.rest || item.ending;
        DECLARE
            name text := CASE WHEN left(item.name, 1) = '"'
                THEN replace(substr(item.name, 2, length(item.name) - 2), '""', '"') ELSE item.name END;
            base oid;
            restricted text;
        BEGIN
            SELECT a.*, t.typtype INTO attribute
              FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
             WHERE attrelid = target AND attname = name AND attnum > 0 AND NOT attisdropped;
            IF NOT FOUND OR left(item.rest, 1) IN ('.', '[') THEN
                RAISE EXCEPTION 'column % of % is not there', quote_ident(name), target
                    USING ERRCODE = 'undefined_column',
                          HINT = 'columns => ''NAME [TYPE] [= SOURCE], ...'' names the target''s columns, in their case';
            END IF;
            IF attribute.attgenerated <> '' OR attribute.attidentity = 'a' THEN
                RAISE EXCEPTION 'column % of % is always generated', quote_ident(name), target
                    USING ERRCODE = 'generated_always', HINT = 'leave it out of columns';
            END IF;
            restricted := kcopy.interval_of_other_units(attribute.atttypid, attribute.atttypmod);
            IF restricted IS NOT NULL THEN
                RAISE EXCEPTION 'column % of % is %, which kcopy.load does not fill', quote_ident(name), target, restricted
                    USING ERRCODE = 'feature_not_supported', HINT = 'make it an interval, or load it with kcopy load';
            END IF;
            IF name = ANY (names) THEN
                RAISE EXCEPTION 'column % is filled twice', quote_ident(name) USING ERRCODE = 'duplicate_column';
            END IF;
            base := kcopy.base_type(attribute.atttypid);
            names := names || name;
            -- Arrays of other types come as arrays of their text forms.
            types := types || coalesce(kcopy.plain_type(base), CASE
                WHEN (SELECT typcategory = 'A' FROM pg_type WHERE oid = base) THEN 'text[]' ELSE 'text' END);
            -- PostgreSQL's own types need no cast.
            casts := casts || CASE WHEN kcopy.plain_type(base) IS NULL THEN kcopy.cast_to(attribute.atttypid) ELSE '' END;
            -- Binary needs each type to be the very one of its column.
            has_types := has_types OR item.rest !~ '^[[:space:]]*(=|$)';
            IF has_types OR kcopy.plain_type(base) IS NULL THEN
                format := 'text';
            END IF;
            list := coalesce(list || ', ', '') || item.name
                || CASE WHEN item.rest ~ '^[[:space:]]*(=|$)' THEN ' ' || types[cardinality(types)] || ' ' ELSE '' END
                || item.rest;
        END;
    END LOOP;
    IF regexp_replace(read, '[[:space:]]', '', 'g') <> regexp_replace(columns, '[[:space:]]', '', 'g')
            OR cardinality(names) = 0 OR right(read, 1) = ',' THEN
        RAISE EXCEPTION 'the columns cannot be understood: %', columns
            USING ERRCODE = 'syntax_error', HINT = 'columns => ''NAME [TYPE] [= SOURCE], ...''';
    END IF;
END
$body$;

-- A column of a stage, as text or of its type.
CREATE OR REPLACE FUNCTION kcopy.staged(n int4, is_escaped boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    -- The program's escapes are those of decode, but for their first letter.
    SELECT CASE WHEN is_escaped
        THEN format('convert_from(decode(replace(replace(c%s, chr(92), chr(92) || chr(92)), ''%%'', chr(92)), ''escape''), ''UTF8'')', n)
        ELSE 'c' || n END
$body$;

-- The statements that bring the rows of a stage into the target, with the rights of the caller. $1 and $2 are the
-- first and the last row, where they are counted; `is_numbered` says that the stage has their numbers.
CREATE OR REPLACE FUNCTION kcopy.statements(
    target regclass, stage text, names text[], casts text[], mode text, counted boolean, is_escaped boolean, is_numbered boolean
) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    relation text;
    own_rows text;
    own_prefix text;
    attempt int4 := 0;
    source text;
    key_names text[];
    equals text[];
    key_casts text[];
    is_immediate boolean;
    missing text;
    range text := CASE WHEN counted THEN ' WHERE kcopy_row BETWEEN $1 AND $2' ELSE '' END;
    listed text;
    selected text;
    ordered text;
    assigned text;
BEGIN
    -- Children by inheritance are other tables, which no INSERT fills and no key is for; partitions are the table itself.
    SELECT format('%I.%I', nspname, relname), format(CASE relkind WHEN 'p' THEN '%I.%I' ELSE 'ONLY %I.%I' END, nspname, relname)
      INTO relation, own_rows
      FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = target;
    SELECT string_agg(quote_ident(names[n]), ', ' ORDER BY n),
           string_agg(format('%s%s AS %I', kcopy.staged(n, is_escaped), casts[n], names[n]), ', ' ORDER BY n)
      INTO listed, selected FROM generate_subscripts(names, 1) n;
    IF mode = 'append' THEN
        -- Rows come out of a new temporary table in the order in which they went in.
        RETURN ARRAY[format(CASE WHEN counted AND NOT is_numbered
                THEN 'INSERT INTO %s (%s) SELECT %s FROM (SELECT *, row_number() OVER () AS kcopy_row FROM pg_temp.%I) numbered%s'
                ELSE 'INSERT INTO %s (%s) SELECT %s FROM pg_temp.%I%s' END, relation, listed, selected, stage, range)];
    END IF;

    -- Equality as the primary key has it, whatever the search_path. Arrays of a domain equal only their like, so the
    -- target's lose it: the stage's could be cut by a cast.
    SELECT array_agg(a.attname::text ORDER BY k.n),
           array_agg(format('OPERATOR(%I.%s)', ns.nspname, o.oprname) ORDER BY k.n),
           array_agg(CASE WHEN EXISTS (SELECT FROM pg_type t JOIN pg_type e ON e.oid = t.typelem
                                        WHERE t.oid = kcopy.base_type(a.atttypid) AND t.typcategory = 'A' AND e.typtype = 'd')
                          THEN kcopy.cast_to(a.atttypid) ELSE '' END ORDER BY k.n),
           bool_and(i.indimmediate AND NOT i.indisexclusion)
      INTO key_names, equals, key_casts, is_immediate
      FROM pg_index i
      CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY k(attnum, opclass, n)
      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
      JOIN pg_opclass c ON c.oid = k.opclass
      JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
                    AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
      JOIN pg_operator o ON o.oid = m.amopopr
      JOIN pg_namespace ns ON ns.oid = o.oprnamespace
     WHERE i.indrelid = target AND i.indisprimary AND k.n <= i.indnkeyatts;
    IF key_names IS NULL THEN
        RAISE EXCEPTION '% has no primary key to upsert by', target USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT is_immediate THEN
        RAISE EXCEPTION 'the primary key of % is DEFERRABLE, or WITHOUT OVERLAPS, and nothing can be upserted by such a one', target
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT string_agg(quote_ident(name), ', ') INTO missing FROM unnest(key_names) name WHERE name <> ALL (names);
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'nothing fills % of the primary key of %', missing, target
            USING ERRCODE = 'invalid_parameter_value', HINT = 'columns => ''NAME = key, ...'' fills it from the records'' keys';
    END IF;
    SELECT string_agg(quote_ident(name), ', ') INTO ordered FROM unnest(key_names) name;
    -- Keys are equal, or not, as the table will have them.
    SELECT string_agg(format('%s AS %I', CASE WHEN names[n] = ANY (key_names)
               THEN kcopy.as_stored(kcopy.staged(n, is_escaped) || casts[n], target, names[n])
               ELSE kcopy.staged(n, is_escaped) || casts[n] END, names[n]), ', ' ORDER BY n)
      INTO selected FROM generate_subscripts(names, 1) n;
    SELECT string_agg(format('%1$I = excluded.%1$I', name), ', ') INTO assigned
      FROM unnest(names) name WHERE name <> ALL (key_names);
    -- Beside the target's columns stand ours, by names that it has not.
    LOOP
        own_prefix := 'kcopy' || attempt || '_';
        EXIT WHEN NOT EXISTS (SELECT FROM unnest(names) name WHERE starts_with(name, own_prefix));
        attempt := attempt + 1;
    END LOOP;
    source := format(
        'SELECT DISTINCT ON (%1$s) * FROM (SELECT %2$s, kcopy_partition AS %5$I, kcopy_offset AS %6$I, kcopy_value IS NULL AS %7$I'
        ' FROM pg_temp.%3$I%4$s) staged ORDER BY %1$s, %5$I DESC, %6$I DESC',
        ordered, selected, stage, range, own_prefix || 'partition', own_prefix || 'offset',
        own_prefix || 'tombstone');
    RETURN ARRAY[
        format('SELECT kcopy.check_keys(%s::pg_catalog.oid, %L, %L, $1, $2)', target::oid,
            -- The stage's names of the key.
            (SELECT string_agg('c' || array_position(names, name), ',') FROM unnest(key_names) name), stage),
        -- A key that comes again behind its tombstone is a new row.
        format('DELETE FROM %s AS target USING (SELECT %s FROM pg_temp.%I WHERE kcopy_value IS NULL%s) AS gone WHERE %s',
            own_rows, selected, stage, CASE WHEN counted THEN ' AND kcopy_row BETWEEN $1 AND $2' ELSE '' END,
            (SELECT string_agg(format('target.%1$I%3$s %2$s gone.%1$I', key_names[n], equals[n], key_casts[n]), ' AND ' ORDER BY n)
               FROM generate_subscripts(key_names, 1) n)),
        -- In the order of the offsets, for triggers.
        format('INSERT INTO %s (%s) SELECT %s FROM (%s) last WHERE NOT %I ORDER BY %I, %I ON CONFLICT (%s) DO %s', relation,
            listed, listed, source, own_prefix || 'tombstone', own_prefix || 'partition', own_prefix || 'offset', ordered,
            coalesce('UPDATE SET ' || assigned, 'NOTHING'))
    ];
END
$body$;

-- Whether what deletes a row of a target does more (foreign keys that delete or change rows with it, rules), or there are
-- triggers, which may do anything: so that rows depend on when others are deleted.
CREATE OR REPLACE FUNCTION kcopy.deletes_reach_further(target regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    WITH tables AS (SELECT target AS relid UNION SELECT relid FROM pg_partition_tree(target))
    SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confdeltype IN ('c', 'n', 'd')
                      AND confrelid IN (SELECT relid FROM tables))
        OR EXISTS (SELECT FROM pg_trigger WHERE tgenabled <> 'D' AND NOT tgisinternal
                      AND tgrelid IN (SELECT relid FROM tables))
        OR EXISTS (SELECT FROM pg_rewrite WHERE ev_class = target AND ev_type = '4')
$body$;

-- The rows of a stage in pieces, each from a first to a last row: all of them, or where it matters tombstones apart from
-- the records before and behind them.
CREATE OR REPLACE FUNCTION kcopy.pieces(target regclass, stage text, mode text, rows int8, OUT first_row int8, OUT last_row int8)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF mode = 'append' OR NOT kcopy.deletes_reach_further(target) THEN
        RETURN QUERY SELECT 1::int8, rows;
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT min(kcopy_row), max(kcopy_row) FROM ('
        'SELECT kcopy_row, kcopy_value IS NULL AS is_gone,'
        ' kcopy_row - row_number() OVER (PARTITION BY kcopy_value IS NULL ORDER BY kcopy_row) AS run FROM pg_temp.%I) stage'
        ' GROUP BY is_gone, run ORDER BY 1', stage);
END
$body$;

-- A tombstone says nothing but its key.
CREATE OR REPLACE FUNCTION kcopy.check_keys(target regclass, key_columns text, stage text, first_row int8, last_row int8) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    wrong record;
BEGIN
    EXECUTE format('SELECT kcopy_partition AS part, kcopy_offset AS at FROM pg_temp.%I'
            ' WHERE kcopy_value IS NULL AND num_nulls(%s) > 0 AND ($1 IS NULL OR kcopy_row BETWEEN $1 AND $2)'
            ' ORDER BY 1, 2 LIMIT 1',
            stage, (SELECT string_agg(quote_ident(name), ', ') FROM unnest(string_to_array(key_columns, ',')) name))
        INTO wrong USING first_row, last_row;
    IF wrong.at IS NOT NULL THEN
        RAISE EXCEPTION 'partition % offset %: a tombstone gives no primary key of %', wrong.part, wrong.at, target
            USING ERRCODE = 'not_null_violation',
                  HINT = 'fill the primary key from the records'' keys: columns => ''NAME = key, ...''';
    END IF;
END
$body$;

-- Casts for a stage that holds nothing but text.
CREATE OR REPLACE FUNCTION kcopy.all_casts(target regclass, names text[]) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT array_agg(kcopy.cast_to(atttypid) ORDER BY n)
      FROM unnest(names) WITH ORDINALITY wanted(name, n)
      JOIN pg_attribute ON attrelid = target AND attname = name AND NOT attisdropped
$body$;
