-- Removes kcopy's functions, positions and rejected records from this database, and its roles where no other
-- database needs them. What depends on them is not dropped: it makes this fail.
SET kcopy.done = 'no';
BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;

{drop}
DROP TABLE IF EXISTS kcopy.rejected, kcopy.offsets;
DROP SCHEMA IF EXISTS kcopy;

DO $body$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['kcopy_program', 'kcopy_loader'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('DROP OWNED BY %I', role);
            BEGIN
                EXECUTE format('DROP ROLE %I', role);
            EXCEPTION WHEN dependent_objects_still_exist THEN
                RAISE WARNING 'role % stays: another database needs it', role;
            END;
        END IF;
    END LOOP;
END
$body$;
SET kcopy.done = 'yes';
COMMIT;
