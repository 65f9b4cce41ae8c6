-- fence(R, T) ends the transaction of any tenure older than the latest that has
-- called it for R. Call it first in every transaction that writes: the row stays
-- locked until that commits, so that no later tenure writes in the midst of it.
CREATE TABLE fences (resource text PRIMARY KEY, token bigint NOT NULL);

CREATE FUNCTION fence(r text, t bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO fences AS f VALUES (r, t)
    ON CONFLICT (resource) DO UPDATE SET token = t WHERE f.token <= t;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'fencing token % for % is stale', t, r;
  END IF;
END $$;
