-- The order of claims as one comparable pair, so that a claim can start where pending rows begin
-- and need not step over what was taken since the last vacuum; see `claim` in queries.sql.

DROP INDEX stilt_simulation_pending;
CREATE INDEX stilt_simulation_pending
    ON stilt_simulation (project, settings, (-priority::bigint), position)
    WHERE status = 'pending';
