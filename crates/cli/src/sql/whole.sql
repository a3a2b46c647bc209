-- All of it or nothing: where each statement is in a savepoint of its own, an error would leave out what it is in, checks
-- among it, and the rest would be committed. The commit fails then, whatever comes before it.
DO $body$
BEGIN
    IF NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY') THEN
        RETURN;
    END IF;
    CREATE TEMPORARY TABLE kcopy_whole (
        twice int CONSTRAINT "each statement is in a savepoint of its own" UNIQUE DEFERRABLE INITIALLY DEFERRED
    ) ON COMMIT DROP;
    IF (SELECT xmin FROM pg_catalog.pg_class WHERE oid = 'pg_temp.kcopy_whole'::pg_catalog.regclass)
       = pg_catalog.pg_current_xact_id()::pg_catalog.xid THEN
        DROP TABLE pg_temp.kcopy_whole;
    ELSE
        INSERT INTO pg_temp.kcopy_whole VALUES (1), (1);
        RAISE WARNING 'nothing will be {done}: each statement is in a savepoint of its own, so that errors would be passed over'
            USING HINT = 'psql -v ON_ERROR_ROLLBACK=off';
    END IF;
END
$body$;

