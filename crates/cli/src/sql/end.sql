
-- What functions had that had to be made anew.
DO $body$ BEGIN EXECUTE current_setting('kcopy.grants'); END $body$;

-- Whoever calls these by himself reads any topic: they are for the two roles alone, whatever others were granted before.
DO $body$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT p.oid::regprocedure AS routine, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS grantee,
               bool_and(grantee NOT IN (0, 'kcopy_loader'::regrole, 'kcopy_program'::regrole)) AS is_other
          FROM pg_proc p CROSS JOIN aclexplode(proacl)
         WHERE pronamespace = 'kcopy'::regnamespace AND proname IN ('stage', 'unstage', 'copy_from') AND grantee <> proowner
         GROUP BY 1, 2
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s CASCADE', one.routine, one.grantee);
        IF one.is_other THEN
            RAISE WARNING '% may not execute % any more', one.grantee, one.routine
                USING HINT = 'members of kcopy_loader may load';
        END IF;
    END LOOP;
END
$body$;

-- Nobody but the members of kcopy_loader may use any of this.
REVOKE ALL ON SCHEMA kcopy FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA kcopy FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA kcopy FROM PUBLIC;
GRANT USAGE ON SCHEMA kcopy TO kcopy_loader, kcopy_program;
GRANT SELECT, INSERT, UPDATE, DELETE ON kcopy.offsets, kcopy.rejected TO kcopy_loader;
GRANT SELECT ON kcopy.progress TO kcopy_loader;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA kcopy TO kcopy_loader, kcopy_program;
-- The two functions with other rights than their caller's.
ALTER FUNCTION kcopy.stage(text, text, text[], text, int4[], text, text, text, text, int8, int8, int8, boolean, boolean, boolean, text)
    OWNER TO kcopy_program;
ALTER FUNCTION kcopy.unstage(text) OWNER TO kcopy_program;
REVOKE ALL ON FUNCTION
    kcopy.stage(text, text, text[], text, int4[], text, text, text, text, int8, int8, int8, boolean, boolean, boolean, text),
    kcopy.unstage(text) FROM PUBLIC;

DO $body$
DECLARE
    advice text;
BEGIN
    PERFORM kcopy.check_event_triggers();
EXCEPTION WHEN object_not_in_prerequisite_state THEN
    GET STACKED DIAGNOSTICS advice = PG_EXCEPTION_HINT;
    RAISE WARNING '%', SQLERRM USING HINT = advice, DETAIL = 'kcopy.load fails until then for all who may not run programs';
END
$body$;

-- It may come later, so this is no error.
DO $body$
BEGIN
    IF (pg_stat_file(kcopy.program(), true)).size IS NULL THEN
        RAISE WARNING 'there is no % on the server''s machine: kcopy.load fails until it is there', kcopy.program()
            USING HINT = '"kcopy sql --program PATH" names another place';
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'kcopy.load fails until the server can run %: %', kcopy.program(), SQLERRM;
END
$body$;

SET kcopy.done = 'yes';
COMMIT;
