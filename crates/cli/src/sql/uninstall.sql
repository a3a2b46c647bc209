-- Removes kcopy's functions, positions and rejected records from this database, and its roles where nothing else needs
-- them: another database, or what they were granted besides. What depends on the rest is not dropped: it makes this fail.
SET kcopy.done = 'no';
BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;

{whole}DO $body$
BEGIN
    -- As an installation does. Whoever is no superuser removes no roles.
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        LOCK TABLE pg_auth_members IN SHARE UPDATE EXCLUSIVE MODE;
    END IF;
END
$body$;

-- The functions, and what is made of them.
DROP VIEW IF EXISTS kcopy.progress;
DO $body$
DECLARE
    routine text;
BEGIN
    FOR routine IN SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = to_regnamespace('kcopy') LOOP
        EXECUTE 'DROP ROUTINE ' || routine;
    END LOOP;
END
$body$;

DROP TABLE IF EXISTS kcopy.rejected, kcopy.offsets;
DROP SCHEMA IF EXISTS kcopy;

DO $body$
DECLARE
    role text;
    needing text;
BEGIN
    -- No DROP OWNED: it takes what others granted on other databases, and tables that the roles own.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'kcopy_program') THEN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM kcopy_program', current_database());
    END IF;
    FOREACH role IN ARRAY ARRAY['kcopy_program', 'kcopy_loader'] LOOP
        BEGIN
            EXECUTE format('DROP ROLE IF EXISTS %I', role);
        EXCEPTION WHEN dependent_objects_still_exist THEN
            GET STACKED DIAGNOSTICS needing = PG_EXCEPTION_DETAIL;
            RAISE WARNING 'role % stays: others need it', role USING DETAIL = needing;
        END;
    END LOOP;
END
$body$;
SET kcopy.done = 'yes';
COMMIT;
