-- Tables that are there already, perhaps because somebody prepared them, must be those of offsets.sql: nothing may hang
-- on them that is executed with the rights of whoever loads, and nothing may be missing that positions rely on.
DO $body$
DECLARE
    wrong text;
BEGIN
    WITH made (relname, attname, type, is_needed, identity, filled) AS (VALUES
        ('offsets', 'target', 'regclass'::regtype, true, '', NULL),
        ('offsets', 'topic', 'text', true, '', NULL),
        ('offsets', 'partition', 'int4', true, '', NULL),
        ('offsets', 'cluster_id', 'text', false, '', NULL),
        ('offsets', 'topic_id', 'text', false, '', NULL),
        ('offsets', 'next_offset', 'int8', true, '', NULL),
        ('offsets', 'leader_epoch', 'int4', false, '', NULL),
        ('offsets', 'rows', 'int8', true, '', '0'),
        ('offsets', 'updated_at', 'timestamptz', true, '', 'now()'),
        ('rejected', 'id', 'int8', true, 'a', NULL),
        ('rejected', 'target', 'regclass', true, '', NULL),
        ('rejected', 'topic', 'text', true, '', NULL),
        ('rejected', 'partition', 'int4', true, '', NULL),
        ('rejected', 'offset', 'int8', true, '', NULL),
        ('rejected', 'key', 'bytea', false, '', NULL),
        ('rejected', 'value', 'bytea', false, '', NULL),
        ('rejected', 'reason', 'text', true, '', NULL),
        ('rejected', 'at', 'timestamptz', true, '', 'now()')
    ), there AS (
        SELECT oid AS relid, * FROM pg_class
         WHERE relnamespace = to_regnamespace('kcopy') AND relname IN ('offsets', 'rejected')
    )
    SELECT string_agg(relname || ' ' || what, ', ') INTO wrong FROM (
        SELECT relname, 'is no ordinary, logged table' AS what FROM there
         WHERE relkind <> 'r' OR relpersistence <> 'p' OR relispartition OR reloftype <> 0
        UNION ALL
        SELECT relname, 'inherits, or is inherited from' FROM there
         WHERE EXISTS (SELECT FROM pg_inherits WHERE relid IN (inhrelid, inhparent))
        UNION ALL
        SELECT relname, format('lacks the column %I %s%s', attname, type, CASE WHEN is_needed THEN ' NOT NULL' ELSE '' END)
          FROM there JOIN made USING (relname)
         WHERE NOT EXISTS (
            SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
             WHERE attrelid = relid AND a.attname = made.attname AND NOT attisdropped AND atttypid = type
               AND attnotnull = is_needed AND attcollation = typcollation AND attidentity = identity)
        UNION ALL
        SELECT relname, format('has a default, or NOT NULL, on its column %I', a.attname)
          FROM there JOIN pg_attribute a ON attrelid = relid
          LEFT JOIN pg_attrdef ON adrelid = relid AND adnum = attnum
          LEFT JOIN made USING (relname, attname)
         WHERE attnum > 0 AND NOT attisdropped AND (pg_get_expr(adbin, adrelid) IS DISTINCT FROM filled
            OR attgenerated <> '' OR made.type IS NULL AND (attnotnull OR attidentity <> ''))
        UNION ALL
        SELECT relname, format('lacks its primary key, %I (%s)', pkey, columns)
          FROM there JOIN (VALUES ('offsets', 'offsets_pkey', 'target, topic, partition'), ('rejected', 'rejected_pkey', 'id'))
            AS keys(relname, pkey, columns) USING (relname)
         WHERE NOT EXISTS (
            SELECT FROM pg_constraint c
             WHERE conrelid = relid AND conname = pkey AND pg_get_constraintdef(c.oid) = format('PRIMARY KEY (%s)', columns))
        UNION ALL
        SELECT relname, format('has the constraint %I', conname) FROM there JOIN pg_constraint c ON conrelid = relid
         WHERE contype NOT IN ('p', 'u', 'n') AND pg_get_constraintdef(c.oid)
            NOT IN ('CHECK ((partition >= 0))', 'CHECK ((next_offset >= 0))')
        UNION ALL
        SELECT relname, 'has the index ' || indexrelid::regclass FROM there JOIN pg_index ON indrelid = relid
         WHERE indexprs IS NOT NULL OR indpred IS NOT NULL
        UNION ALL
        SELECT relname, format('has the statistics %I', stxname) FROM there JOIN pg_statistic_ext ON stxrelid = relid
        UNION ALL
        SELECT relname, format('has the rule %I', rulename) FROM there JOIN pg_rewrite ON ev_class = relid
        UNION ALL
        SELECT relname, format('has the policy %I', polname) FROM there JOIN pg_policy ON polrelid = relid
         WHERE polname <> 'may_insert'
        UNION ALL
        -- Who may make triggers, or functions that are taken for ours, makes others run them.
        SELECT relname, 'gives TRIGGER to ' || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
          FROM there CROSS JOIN aclexplode(relacl)
         WHERE privilege_type = 'TRIGGER' AND grantee NOT IN (SELECT oid FROM pg_roles WHERE rolsuper)
        UNION ALL
        SELECT 'the schema', 'gives CREATE to ' || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
          FROM pg_namespace CROSS JOIN aclexplode(nspacl)
         WHERE nspname = 'kcopy' AND privilege_type = 'CREATE' AND grantee NOT IN (SELECT oid FROM pg_roles WHERE rolsuper)
    ) found;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'there are tables in the schema kcopy already that are not as kcopy makes them: %', wrong
            USING HINT = 'drop or revoke what they have, add what they lack (as "CREATE TABLE kcopy.offsets" of "kcopy sql" has it), or drop them, with their positions';
    END IF;
END
$body$;

