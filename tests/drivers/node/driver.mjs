// Runs one scenario with node's `pg` and prints what happened as JSON: { rows…, error }.
import { createRequire } from "node:module";
const require = createRequire(process.env.PENSTOCK_NODE_MODULES + "/x.js");
const pg = require("pg");

const client = new pg.Client({ connectionString: process.env.DSN, ssl: false });
const out = { notices: [] };
client.on("notice", (notice) => out.notices.push(notice.message));

async function attempt(name, work) {
  try {
    const result = await work();
    out[name] = result.rows ?? result;
  } catch (error) {
    out[name] = { code: error.code, message: error.message, hint: error.hint };
  }
}

await client.connect();
await attempt("simple", () => client.query("select 1 as one, 'x' as letter"));
await attempt("parameters", () => client.query("select $1::int + 1 as two, $2::text as told", [1, "hello"]));
await attempt("prepared", async () => {
  const rows = [];
  for (const id of [1, 2, 3]) {
    rows.push((await client.query({ name: "byId", text: "select id, name from products where id = $1", values: [id] })).rows[0]);
  }
  return rows;
});
await attempt("masked", () => client.query("select ssn, card_number from customers where id = $1", [1]));
await attempt("refused", () => client.query("drop table orders"));
await attempt("broken", () => client.query("select 1/0"));
await attempt("transaction", async () => {
  await client.query("begin");
  await client.query("select 1");
  return client.query("commit");
});
await attempt("arrays", () => client.query({ text: "select array[1,2] as list, now() is not null as now", rowMode: "array" }));
await attempt("after", () => client.query("select 'still here' as state"));
await client.end();
console.log(JSON.stringify(out));
