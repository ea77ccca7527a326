// GET /credits/balance on Express, jsonwebtoken and pg, as their documentation has one write it.
//
// It does what Atelier's endpoint does: checks the token, that its session is live and its person active, counts the
// person's rate limit in Redis and tells it in the RateLimit headers, reads the wallet and the debt, with a request id,
// one JSON log line and one latency metric. For those it uses express-rate-limit with rate-limit-redis, pino-http and
// express-prom-bundle, as their documentation sets them up.
'use strict';

const { randomUUID } = require('node:crypto');
const { createRequire } = require('node:module');
const installed = createRequire(`${process.env.PACKAGES}/`);
const express = installed('express');
const jwt = installed('jsonwebtoken');
const { Pool } = installed('pg');
const { Redis } = installed('ioredis');
const { rateLimit } = installed('express-rate-limit');
const { RedisStore } = installed('rate-limit-redis');
const pinoHttp = installed('pino-http');
const promBundle = installed('express-prom-bundle');

const secret = process.env.JWT_SECRET;
const pool = new Pool({ host: process.env.PGHOST, user: process.env.PGUSER, database: process.env.PGDATABASE, max: 10 });

const SESSION = `
  SELECT s.id, s.last_seen_at, s.expires_at, s.ended_at,
         u.id AS user_id, u.email, u.first_name, u.last_name, u.status, u.epoch, u.verified_at, u.is_staff
  FROM accounts_session s JOIN accounts_user u ON u.id = s.user_id
  WHERE s.id = $1 AND u.id = $2`;

const BALANCE = `
  SELECT balance, held, frozen, coalesce((
    SELECT sum(remaining)::bigint FROM billing_debt WHERE user_id = $1 AND unit = 'CREDIT' AND remaining > 0), 0) AS debt
  FROM billing_wallet WHERE user_id = $1 AND kind = 'credits' AND unit = 'CREDIT'`;

async function authenticate(request, response, next) {
  let claims;
  try {
    const [scheme, token] = (request.headers.authorization || '').split(' ');
    if (scheme !== 'Bearer') throw new Error('no token');
    claims = jwt.verify(token, secret, { algorithms: ['HS256'], audience: process.env.JWT_AUDIENCE });
    if (claims.typ !== 'access') throw new Error('not an access token');
  } catch {
    return response.status(401).json({ error: 'token_invalid' });
  }
  const { rows } = await pool.query(SESSION, [claims.sid, claims.sub]);
  const session = rows[0];
  if (!session || session.ended_at || session.status !== 'active' || session.epoch !== claims.epo) {
    return response.status(401).json({ error: 'session_ended' });
  }
  request.user = session;
  next();
}

const redis = new Redis(process.env.REDIS_PATH, { db: Number(process.env.REDIS_DB) });
const limit = rateLimit({
  windowMs: 60_000,
  limit: Number(process.env.PER_MINUTE),
  standardHeaders: 'draft-8',
  legacyHeaders: false,
  keyGenerator: (request) => request.user.user_id,
  store: new RedisStore({ sendCommand: (command, ...rest) => redis.call(command, ...rest) }),
});

const app = express();
app.disable('x-powered-by');
app.set('trust proxy', 'loopback');
app.use(
  pinoHttp({
    genReqId(request, response) {
      const given = request.headers['x-request-id'] || '';
      const id = /^[A-Za-z0-9._:-]{8,64}$/.test(given) ? given : randomUUID();
      response.setHeader('X-Request-ID', id);
      return id;
    },
    quietReqLogger: true,
    serializers: { req: () => undefined, res: () => undefined },
    customAttributeKeys: { responseTime: 'ms' },
    customProps: (request, response) => ({
      actor: request.user?.user_id,
      method: request.method,
      path: request.path,
      status: response.statusCode,
    }),
  }),
);
app.use(
  promBundle({
    includeMethod: true,
    includePath: true,
    normalizePath: (request) => request.route?.path ?? 'unmatched',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  }),
);
app.use(express.json());

app.get('/api/v1/credits/balance', authenticate, limit, async (request, response) => {
  const { rows } = await pool.query(BALANCE, [request.user.user_id]);
  const balance = Number(rows[0].balance);
  const held = Number(rows[0].held);
  const frozen = Number(rows[0].frozen);
  const debt = Number(rows[0].debt);
  response.json({ balance, held, frozen, available: balance - held - frozen, debt });
});

app.listen(Number(process.env.PORT), '127.0.0.1');
