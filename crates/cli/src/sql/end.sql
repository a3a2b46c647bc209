
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

SET kcopy.done = 'yes';
COMMIT;
