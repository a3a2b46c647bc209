
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
