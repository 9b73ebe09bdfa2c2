-- Every statement the queue sends. Each is a transaction of its own and takes milliseconds;
-- none is open while a simulation runs. Times are the database's, so workers' clocks do not matter.
-- Rows are found by key with = ANY(...) rather than by a join: statistics know nothing of a project that
-- was registered a moment ago, and a planner that expects one row joins by scanning all of them.

-- name: find_project
SELECT id FROM stilt_project WHERE uri = %(uri)s

-- name: add_project
INSERT INTO stilt_project (uri) VALUES (%(uri)s) ON CONFLICT (uri) DO NOTHING

-- name: enqueue
-- A pending row keeps its place, a running one its worker; a done or failed one is asked for anew.
INSERT INTO stilt_simulation AS simulation
    (project, sim_id, scene, settings, priority, max_attempts)
SELECT %(project)s, wanted.sim_id, wanted.scene, %(settings)s, COALESCE(%(priority)s::integer, 0), %(max_attempts)s
FROM unnest(%(sim_ids)s::text[], %(scenes)s::text[]) AS wanted (sim_id, scene)
ON CONFLICT (project, sim_id) DO UPDATE SET
    status = CASE simulation.status WHEN 'running' THEN 'running' ELSE 'pending' END,
    settings = EXCLUDED.settings,
    scene = COALESCE(EXCLUDED.scene, simulation.scene),
    priority = COALESCE(%(priority)s::integer, simulation.priority),
    max_attempts = EXCLUDED.max_attempts,
    position = CASE WHEN simulation.status IN ('done', 'failed') THEN EXCLUDED.position
                    ELSE simulation.position END,
    attempts = CASE WHEN simulation.status IN ('done', 'failed') THEN 0 ELSE simulation.attempts END,
    asked_at = CASE WHEN simulation.status IN ('done', 'failed') THEN now() ELSE simulation.asked_at END,
    reason = CASE WHEN simulation.status IN ('done', 'failed') THEN NULL ELSE simulation.reason END,
    message = CASE WHEN simulation.status IN ('done', 'failed') THEN NULL ELSE simulation.message END,
    finished_at = NULL
WHERE simulation.status IN ('done', 'failed')
    OR simulation.settings <> EXCLUDED.settings
    OR simulation.scene IS DISTINCT FROM COALESCE(EXCLUDED.scene, simulation.scene)
    OR simulation.priority <> COALESCE(%(priority)s::integer, simulation.priority)

-- name: record_done
-- What a worker holds is left to that worker.
INSERT INTO stilt_simulation AS simulation (project, sim_id, scene, settings, status, finished_at)
SELECT %(project)s, wanted.sim_id, wanted.scene, %(settings)s, 'done', now()
FROM unnest(%(sim_ids)s::text[], %(scenes)s::text[]) AS wanted (sim_id, scene)
ON CONFLICT (project, sim_id) DO UPDATE SET
    status = 'done', settings = EXCLUDED.settings, scene = COALESCE(EXCLUDED.scene, simulation.scene),
    reason = NULL, message = NULL, finished_at = now()
WHERE simulation.status IN ('pending', 'failed')
    OR (simulation.status = 'done' AND (
        simulation.settings <> EXCLUDED.settings
        OR simulation.scene IS DISTINCT FROM COALESCE(EXCLUDED.scene, simulation.scene)))

-- name: notify
SELECT pg_notify('stilt_queue', %(project)s::text)

-- name: claim
-- In the index, taken rows lie before pending ones until a vacuum removes them, and each claim would step
-- over all of them (or visit them, while somebody's long transaction keeps the vacuum away). A worker that
-- has seen where pending rows begin starts there.
WITH next AS MATERIALIZED (
    SELECT sim_id FROM stilt_simulation
    WHERE project = %(project)s AND settings = %(settings)s AND status = 'pending'
        AND (-priority::bigint, position) >= (%(rank)s::bigint, %(position)s::bigint)
    ORDER BY -priority::bigint, position
    LIMIT %(rows)s
    FOR UPDATE SKIP LOCKED
)
UPDATE stilt_simulation AS simulation SET
    status = 'running', worker = %(worker)s, claimed_at = now(),
    lease_until = now() + make_interval(secs => %(lease)s),
    began_at = CASE WHEN %(begin)s THEN now() END,
    attempts = simulation.attempts + %(begin)s::integer
WHERE simulation.project = %(project)s AND simulation.sim_id = ANY(ARRAY(SELECT sim_id FROM next))
RETURNING simulation.sim_id, simulation.settings, simulation.scene, simulation.attempts,
    simulation.max_attempts, simulation.priority, simulation.position

-- name: claim_by_id
-- Whatever nobody else holds, whether it is pending, done, failed or was never asked for.
INSERT INTO stilt_simulation AS simulation
    (project, sim_id, settings, max_attempts, status, worker, claimed_at, lease_until)
SELECT %(project)s, wanted.sim_id, %(settings)s, %(max_attempts)s, 'running', %(worker)s, now(),
    now() + make_interval(secs => %(lease)s)
FROM unnest(%(sim_ids)s::text[]) AS wanted (sim_id)
ON CONFLICT (project, sim_id) DO UPDATE SET
    status = 'running', worker = EXCLUDED.worker, claimed_at = now(), settings = EXCLUDED.settings,
    lease_until = EXCLUDED.lease_until,
    began_at = NULL, reason = NULL, message = NULL, finished_at = NULL,
    attempts = CASE WHEN simulation.status IN ('done', 'failed') THEN 0 ELSE simulation.attempts END
WHERE simulation.status <> 'running' OR simulation.lease_until < now()
RETURNING simulation.sim_id, simulation.settings, simulation.scene, simulation.attempts,
    simulation.max_attempts

-- name: begin
UPDATE stilt_simulation SET
    began_at = now(), attempts = attempts + 1, lease_until = now() + make_interval(secs => %(lease)s)
WHERE project = %(project)s AND sim_id = %(sim_id)s AND status = 'running' AND worker = %(worker)s
    AND began_at IS NULL
RETURNING attempts

-- name: heartbeat
UPDATE stilt_simulation SET lease_until = now() + make_interval(secs => %(lease)s)
WHERE project = %(project)s AND sim_id = ANY(%(sim_ids)s::text[])
    AND status = 'running' AND worker = %(worker)s
RETURNING sim_id

-- name: done
-- Asked for under other settings meanwhile: what was made may not be all that is wanted now.
UPDATE stilt_simulation SET
    status = CASE WHEN settings = %(settings)s THEN 'done' ELSE 'pending' END,
    attempts = CASE WHEN settings = %(settings)s THEN attempts ELSE 0 END,
    worker = NULL, lease_until = NULL, began_at = NULL, reason = NULL, message = NULL, finished_at = now()
WHERE project = %(project)s AND sim_id = ANY(%(sim_ids)s::text[])
    AND status = 'running' AND worker = %(worker)s
RETURNING sim_id

-- name: failed
UPDATE stilt_simulation SET
    status = CASE WHEN settings <> %(settings)s OR (%(retry)s AND attempts < max_attempts)
                  THEN 'pending' ELSE 'failed' END,
    position = nextval('stilt_position'),
    worker = NULL, lease_until = NULL, began_at = NULL,
    reason = %(reason)s, message = %(message)s, finished_at = now()
WHERE project = %(project)s AND sim_id = %(sim_id)s AND status = 'running' AND worker = %(worker)s
RETURNING status

-- name: release
-- As if never claimed: an attempt that was given up on request does not count.
UPDATE stilt_simulation SET
    status = 'pending', attempts = attempts - (began_at IS NOT NULL)::integer,
    worker = NULL, lease_until = NULL, began_at = NULL
WHERE project = %(project)s AND sim_id = ANY(%(sim_ids)s::text[])
    AND status = 'running' AND worker = %(worker)s
RETURNING sim_id

-- name: reap
-- Rows whose worker has not been heard of. Only a simulation that had begun can have killed it:
-- that one goes to the end of the queue, or fails for good; the others of its batch lose nothing.
WITH gone AS MATERIALIZED (
    SELECT sim_id FROM stilt_simulation
    WHERE project = %(project)s AND status = 'running' AND lease_until < now()
    FOR UPDATE SKIP LOCKED
)
UPDATE stilt_simulation AS simulation SET
    status = CASE WHEN began_at IS NOT NULL AND attempts >= max_attempts THEN 'failed' ELSE 'pending' END,
    position = CASE WHEN began_at IS NOT NULL THEN nextval('stilt_position') ELSE position END,
    reason = CASE WHEN began_at IS NOT NULL THEN 'WORKER_DIED' ELSE reason END,
    message = CASE WHEN began_at IS NOT NULL
        THEN format('worker %%s was not heard of again in attempt %%s of %%s; it may have run out of memory '
                    'or been killed.', worker, attempts, max_attempts)
        ELSE message END,
    finished_at = CASE WHEN began_at IS NOT NULL AND attempts >= max_attempts THEN now() END,
    worker = NULL, lease_until = NULL, began_at = NULL
WHERE simulation.project = %(project)s AND simulation.sim_id = ANY(ARRAY(SELECT sim_id FROM gone))
RETURNING simulation.sim_id, simulation.status, simulation.reason, simulation.message, simulation.attempts

-- name: has_pending
SELECT EXISTS (SELECT 1 FROM stilt_simulation
    WHERE project = %(project)s AND settings = %(settings)s AND status = 'pending')

-- name: next_expiry
SELECT EXTRACT(EPOCH FROM min(lease_until) - now())::float8 FROM stilt_simulation
WHERE project = %(project)s AND status = 'running'

-- name: counts
-- A row whose lease is over counts as what the next worker will make of it.
SELECT scene, settings, CASE
        WHEN status <> 'running' OR lease_until >= now() THEN status
        WHEN began_at IS NOT NULL AND attempts >= max_attempts THEN 'failed'
        ELSE 'pending' END AS now_is, count(*)
FROM stilt_simulation WHERE project = %(project)s
GROUP BY scene, settings, now_is

-- name: watched
SELECT sim_id, status, worker, attempts, max_attempts, reason, message,
    EXTRACT(EPOCH FROM now() - claimed_at)::float8 AS seconds,
    status = 'running' AND lease_until < now() AS is_expired,
    began_at IS NOT NULL AS has_begun
FROM stilt_simulation
WHERE project = %(project)s AND status IN ('running', 'failed')
ORDER BY sim_id

-- name: waiting
SELECT sim_id FROM stilt_simulation
WHERE project = %(project)s AND sim_id = ANY(%(sim_ids)s::text[])
    AND (status = 'pending' OR (status = 'running' AND lease_until < now()
        AND (began_at IS NULL OR attempts < max_attempts)))

-- name: all_ids
SELECT sim_id FROM stilt_simulation WHERE project = %(project)s

-- name: remove
DELETE FROM stilt_simulation WHERE project = %(project)s AND sim_id = ANY(%(sim_ids)s::text[])
