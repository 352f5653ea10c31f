// A small Supabase for tests: @supabase/lite's Data API and Auth on the database that PGHOST, PGPORT, PGUSER and
// PGDATABASE name. Settings come as JSON in the first argument; prints {"port": ...} when it answers, ends with stdin.
import { AsyncLocalStorage } from "node:async_hooks";
import { createHmac } from "node:crypto";
import http from "node:http";
import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";

const settings = JSON.parse(process.argv[2]);

const connection = createPostgresConnection({
  postgresOptions: {
    max: 30,
    onnotice: () => {},
    types: {
      // Arguments of functions arrive as JSON text already; turned into JSON once more they would be strings.
      jsonb: { to: 3802, from: [3802], serialize: (v) => (typeof v === "string" ? v : JSON.stringify(v)), parse: JSON.parse },
      // The driver answers times as PostgreSQL prints them, which supabase-py cannot parse; Supabase answers ISO 8601.
      timestamptz: { to: 1184, from: [1184], serialize: (t) => t, parse: (t) => new Date(t).toISOString() },
    },
  },
});
// It would grant every table to every API role as soon as it sees row-level security; the grants of our migrations
// are what is tested here.
connection.rlsState = "active";

// It forgets code and detail of errors it does not know, such as our own; PostgREST hands them all on.
const requests = new AsyncLocalStorage();
const withContext = connection.withContext.bind(connection);
connection.withContext = async (...parts) => {
  try {
    return await withContext(...parts);
  } catch (error) {
    const request = requests.getStore();
    if (request) request.refusal = error;
    throw error;
  }
};

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
  const { code, message, detail = null, hint = null } = requests.getStore().refusal ?? {};
  if (!answer.ok && /^[0-9A-Z]{5}$/.test(code ?? "")) return JSON.stringify({ code, message, details: detail, hint });
  const givesTokens = answer.ok && /^\/auth\/v1\/(token|signup)\b/.test(url);
  return givesTokens ? JSON.stringify(withMetadata(await answer.json())) : Buffer.from(await answer.arrayBuffer());
}

async function serve(incoming, outgoing) {
  const chunks = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const body = chunks.length ? Buffer.concat(chunks) : undefined;
  const address = `http://${incoming.headers.host}${incoming.url}`;
  const request = new Request(address, { method: incoming.method, headers: incoming.headers, body });
  const answer = await app.fetch(request, { peerAddress: incoming.socket.remoteAddress ?? null });
  const { "content-length": _, ...headers } = Object.fromEntries(answer.headers);
  outgoing.writeHead(answer.status, headers).end(await bodyOf(answer, incoming.url));
}

const server = http.createServer((incoming, outgoing) => requests.run({}, serve, incoming, outgoing));
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.on("end", () => process.exit(0)).resume();
