//! What stands in both databases, how it is looked at afterwards, and how it is put back.

/// Everything that a session can reach.
pub const TABLES: &str = r#"
    CREATE TABLE parent (id int PRIMARY KEY);
    CREATE TABLE t (
        id int PRIMARY KEY,
        v text,
        n int CHECK (n < 1000),
        parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED
    );
    CREATE TABLE strict (id int PRIMARY KEY, parent int NOT NULL REFERENCES parent);
    CREATE TABLE ruled (id int PRIMARY KEY, v text);
    CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
    CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (100);
    CREATE TABLE audit (number serial PRIMARY KEY, what text, setting text DEFAULT current_setting('bemi.context', true));
    CREATE VIEW seen AS SELECT id, v FROM t WHERE id < 500;
    CREATE RULE also AS ON INSERT TO ruled DO ALSO INSERT INTO audit (what) VALUES ('ruled ' || NEW.id);
    CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP <> 'DELETE' AND NEW.v LIKE 'notice%' THEN
            RAISE NOTICE 'row % has %', NEW.id, NEW.v USING DETAIL = 'naïve', HINT = 'none';
        ELSIF TG_OP <> 'DELETE' AND NEW.v = 'boom' THEN
            RAISE EXCEPTION 'boom at %', NEW.id USING ERRCODE = 'P0B00', DETAIL = 'a trigger';
        END IF;
        INSERT INTO audit (what) VALUES (TG_OP || ' ' || CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END);
        RETURN NULL;
    END $$;
    CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION audit();
    CREATE FUNCTION writes(which int) RETURNS int LANGUAGE sql AS
        $$ INSERT INTO audit (what) VALUES ('function ' || which); SELECT which + 1 $$;
    CREATE PROCEDURE proc_writes(which int) LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO audit (what) VALUES ('procedure ' || which); RAISE NOTICE 'called with %', which; END $$;
    CREATE PROCEDURE proc_commits(which int) LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO audit (what) VALUES ('first ' || which); COMMIT; INSERT INTO audit (what) VALUES ('second ' || which); END $$;
    GRANT SELECT ON t TO twin_reader;
"#;

/// What the tables hold when a session begins.
const ROWS: &str = "
    INSERT INTO parent VALUES (1), (2), (3);
    SET session_replication_role = replica;
    INSERT INTO t (id, v, n) VALUES (1, 'one', 1), (2, 'two', 2), (3, 'drei', 3), (4, 'vier é', 4), (5, NULL, 5);
    RESET session_replication_role;
    INSERT INTO strict VALUES (1, 1);
    INSERT INTO parts VALUES (1, 'low');";

/// How many tables the log names when [`reset`] truncates: a partitioned one by its partition. No session truncates as
/// many at once.
pub const RESET_TABLES: usize = 6;

/// Puts everything back.
pub fn reset() -> String {
    format!(
        "DROP TABLE IF EXISTS made_1, made_2;
         TRUNCATE parent, t, strict, ruled, parts, audit RESTART IDENTITY;
         {ROWS}"
    )
}

/// Everything there is, as text, without what is another one each time.
pub const SNAPSHOT: &str = "
    SELECT 'parent ' || coalesce(string_agg(parent::text, ' ' ORDER BY id), '') FROM parent
    UNION ALL SELECT 't ' || coalesce(string_agg(t::text, ' ' ORDER BY id), '') FROM t
    UNION ALL SELECT 'strict ' || coalesce(string_agg(strict::text, ' ' ORDER BY id), '') FROM strict
    UNION ALL SELECT 'ruled ' || coalesce(string_agg(ruled::text, ' ' ORDER BY id), '') FROM ruled
    UNION ALL SELECT 'parts ' || coalesce(string_agg(parts::text, ' ' ORDER BY id), '') FROM parts
    UNION ALL SELECT 'audit ' || coalesce(string_agg(audit::text, ' ' ORDER BY number), '') FROM audit
    UNION ALL SELECT 'sequence ' || last_value || is_called FROM audit_number_seq
    UNION ALL SELECT 'relations ' || string_agg(relname || ' ' || relkind::text, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace";

/// Transactions that were prepared and left behind.
pub const PREPARED: &str =
    "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY gid";

/// Connections of clients.
pub const CLIENTS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database()
      AND backend_type IN ('client backend', 'walsender')";
