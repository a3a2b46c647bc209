
-- Default privileges (ALTER DEFAULT PRIVILEGES) are not meant for what has just been made: TRIGGER on a table, CREATE on
-- the schema or EXECUTE on a function with other rights than its caller's make others run code, or programs.
DO $body$
DECLARE
    known CONSTANT text[] := string_to_array(current_setting('kcopy.known'), ' ');
    statement text;
BEGIN
    FOR statement IN
        SELECT DISTINCT format('REVOKE ALL ON %s FROM %s CASCADE', what,
                   CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
          FROM (
            SELECT tableoid || '.' || oid AS id, 'SCHEMA kcopy' AS what, nspowner AS owner, nspacl AS acl
              FROM pg_namespace WHERE nspname = 'kcopy'
            UNION ALL
            -- TABLE stands for views and sequences, too.
            SELECT tableoid || '.' || oid, format('TABLE kcopy.%I', relname), relowner, relacl
              FROM pg_class WHERE relnamespace = to_regnamespace('kcopy')
            UNION ALL
            SELECT tableoid || '.' || oid, 'ROUTINE ' || oid::regprocedure, proowner, proacl
              FROM pg_proc WHERE pronamespace = to_regnamespace('kcopy')
          ) there CROSS JOIN aclexplode(acl)
         WHERE grantee <> owner AND id <> ALL (known)
    LOOP
        EXECUTE statement;
    END LOOP;
END
$body$;
