// A small Supabase for tests: @supabase/lite's Data API and Auth on the database that PGHOST, PGPORT, PGUSER and
// PGDATABASE name. Settings come as JSON in the first argument; prints {"port": ...} when it answers, ends with stdin.
import { createHmac } from "node:crypto";
import http from "node:http";
import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";

const settings = JSON.parse(process.argv[2]);

const connection = createPostgresConnection({
  postgresOptions: {
    max: 30,
    onnotice: () => {},
    // The driver answers times as PostgreSQL prints them, which supabase-py cannot parse; Supabase answers ISO 8601.
    types: {
      timestamptz: { to: 1184, from: [1184], serialize: (t) => t, parse: (t) => new Date(t).toISOString() },
    },
  },
});
// It would grant every table to every API role as soon as it sees row-level security; the grants of our migrations
// are what is tested here.
connection.rlsState = "active";

const app = new App({
  connection,
  api: { schemas: ["credits"], max_rows: 1000 },
  auth: {
    enabled: true,
    jwt_secret: settings.jwt_secret,
    publishable_key: settings.anon_key,
    secret_key: settings.service_role_key,
    enable_signup: true,
    email: { enable_signup: true, enable_confirmations: false },
  },
});
await app.ensureSystemSchema();
await app.init();

// Access tokens of Supabase Auth carry both kinds of metadata; here they are added to the tokens it hands out.
const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
function withMetadata(session) {
  if (!session.access_token || !session.user) return session;
  const [head, claims] = session.access_token.split(".");
  const { app_metadata, user_metadata } = session.user;
  const all = { ...JSON.parse(Buffer.from(claims, "base64url")), app_metadata, user_metadata };
  const signed = `${head}.${encode(all)}`;
  const signature = createHmac("sha256", settings.jwt_secret).update(signed).digest("base64url");
  return { ...session, access_token: `${signed}.${signature}` };
}

async function bodyOf(answer, url) {
  const givesTokens = answer.ok && /^\/auth\/v1\/(token|signup)\b/.test(url);
  return givesTokens ? JSON.stringify(withMetadata(await answer.json())) : Buffer.from(await answer.arrayBuffer());
}

const server = http.createServer(async (incoming, outgoing) => {
  const chunks = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const body = chunks.length ? Buffer.concat(chunks) : undefined;
  const address = `http://${incoming.headers.host}${incoming.url}`;
  const request = new Request(address, { method: incoming.method, headers: incoming.headers, body });
  const answer = await app.fetch(request, { peerAddress: incoming.socket.remoteAddress ?? null });
  const { "content-length": _, ...headers } = Object.fromEntries(answer.headers);
  outgoing.writeHead(answer.status, headers).end(await bodyOf(answer, incoming.url));
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.on("end", () => process.exit(0)).resume();
