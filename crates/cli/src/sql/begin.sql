-- kcopy {version}: Kafka into tables, exactly once. Run it as a superuser, again for each new version of kcopy.
-- Everything below happens in one transaction.
SET kcopy.done = 'no';
BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;
SET LOCAL standard_conforming_strings = on;
SET LOCAL check_function_bodies = on;
-- The path of the program, as this script is written.
SET LOCAL client_encoding = 'UTF8';
-- What the catalog says of tables is compared as text.
SET LOCAL quote_all_identifiers = off;

{whole}DO $body$
DECLARE
    wrong text;
    role_name text;
BEGIN
    IF current_setting('server_version_num')::int < 130000 THEN
        RAISE EXCEPTION 'kcopy needs PostgreSQL 13 or later, this is %', current_setting('server_version');
    END IF;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'only a superuser can install functions that run a program'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'where nobody is one, "kcopy load" does the same over the wire';
    END IF;
    -- Roles belong to all databases, and so does this lock: installations wait for each other.
    LOCK TABLE pg_auth_members IN SHARE UPDATE EXCLUSIVE MODE;
    -- The owner of a schema can put functions of his own in place of those that a function with other rights calls.
    SELECT string_agg(what, ', ') INTO wrong FROM (
        SELECT 'the schema, of ' || quote_ident(pg_get_userbyid(nspowner)) AS what, nspowner AS owner
          FROM pg_namespace WHERE nspname = 'kcopy'
        UNION ALL
        SELECT format('%I, of %I', relname, pg_get_userbyid(relowner)), relowner
          FROM pg_class WHERE relnamespace = to_regnamespace('kcopy') AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        UNION ALL
        SELECT format('trigger %I on %I', tgname, relname), NULL
          FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
         WHERE relnamespace = to_regnamespace('kcopy') AND NOT tgisinternal
    ) found WHERE owner IS NULL OR owner NOT IN (SELECT oid FROM pg_roles WHERE rolsuper);
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'there is a schema kcopy already that is not only a superuser''s: %', wrong
            USING HINT = 'if you trust what is in it, make it and its tables yours (ALTER ... OWNER TO) and drop the triggers; what else is wrong with them is told then';
    END IF;
    -- Whoever is a member of the program's role runs programs.
    SELECT string_agg(quote_ident(member.rolname), ', ') INTO wrong
      FROM pg_auth_members JOIN pg_roles role ON role.oid = roleid JOIN pg_roles member ON member.oid = member
     WHERE role.rolname = 'kcopy_program' AND NOT member.rolsuper;
    IF wrong IS NOT NULL OR EXISTS (
        SELECT FROM pg_roles WHERE rolname = 'kcopy_program' AND (rolcanlogin OR rolsuper OR rolcreaterole)
    ) THEN
        RAISE EXCEPTION 'there is a role kcopy_program already that others can use%', coalesce(': ' || wrong, '')
            USING HINT = 'it may run programs on the server, so it needs to be NOLOGIN and without members';
    END IF;
    FOREACH role_name IN ARRAY ARRAY['kcopy_program', 'kcopy_loader'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            END IF;
        EXCEPTION WHEN unique_violation THEN
            -- Roles belong to all databases: another installation was faster.
            NULL;
        END;
    END LOOP;
    IF NOT pg_has_role('kcopy_program', 'pg_execute_server_program', 'MEMBER') THEN
        GRANT pg_execute_server_program TO kcopy_program;
    END IF;
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO kcopy_program', current_database());
END
$body$;

