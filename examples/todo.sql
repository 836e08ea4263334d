-- The table of all examples.
CREATE TABLE todo (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task text NOT NULL CHECK (task <> ''),
    done boolean NOT NULL DEFAULT false,
    -- Whose request made it.
    author int
);

-- Old values of every column in the log, not of the key alone.
ALTER TABLE todo REPLICA IDENTITY FULL;
