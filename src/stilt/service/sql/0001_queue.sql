-- What workers are asked to do. Completion is read from the outputs, never from here.

CREATE TABLE stilt_project (
    id  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uri text NOT NULL UNIQUE                        -- address of the output root
);

CREATE SEQUENCE stilt_position;

CREATE TABLE stilt_simulation (
    project      integer NOT NULL REFERENCES stilt_project ON DELETE CASCADE,
    sim_id       text NOT NULL,
    status       text NOT NULL DEFAULT 'pending'
                 CHECK (status IN ('pending', 'running', 'done', 'failed')),
    settings     text NOT NULL,                     -- hash of the result-changing settings it was asked under
    priority     integer NOT NULL DEFAULT 0,        -- higher first
    position     bigint NOT NULL DEFAULT nextval('stilt_position'),  -- then in this order
    scene        text,
    attempts     integer NOT NULL DEFAULT 0,        -- begun since it was last asked for
    max_attempts integer NOT NULL DEFAULT 3,
    worker       text,                              -- who holds it, while running
    lease_until  timestamptz,                       -- until when, unless renewed
    claimed_at   timestamptz,
    began_at     timestamptz,                       -- set when the claimed simulation really begins
    reason       text,                              -- why the last attempt failed
    message      text,
    asked_at     timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    PRIMARY KEY (project, sim_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

-- One small index per question. lease_until is in none of them, so that a heartbeat touches no index.
CREATE INDEX stilt_simulation_pending ON stilt_simulation (project, settings, priority DESC, position)
    WHERE status = 'pending';
CREATE INDEX stilt_simulation_running ON stilt_simulation (project, sim_id) WHERE status = 'running';
CREATE INDEX stilt_simulation_failed ON stilt_simulation (project, sim_id) WHERE status = 'failed';

-- For autoscalers and dashboards.
CREATE VIEW stilt_depth AS
SELECT stilt_project.uri AS project,
       count(*) FILTER (WHERE status = 'pending') AS pending,
       count(*) FILTER (WHERE status = 'running') AS running
FROM stilt_project LEFT JOIN stilt_simulation
    ON stilt_simulation.project = stilt_project.id AND stilt_simulation.status IN ('pending', 'running')
GROUP BY stilt_project.uri;
